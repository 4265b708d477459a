/**
 * An InfluxDB that keeps to the letter: it refuses what the real one refuses, with its status and
 * its words. The answers of 1.8 were taken from 1.8.10, those of 2 from its documentation and from
 * logs of 2.7. For tests of the writer and for torture; it has no opinion about names and values.
 *
 * Like the real one it writes the good points of a request and complains of the others, names only
 * the first of several causes, and says nothing of points that are too old where fields conflict.
 */
import { readLine, type ReadLine } from './line-reader.ts';

export interface StrictInfluxOptions {
  readonly version: '1.8' | '2';
  /** Points older than this are dropped; absent: all are kept. */
  readonly retentionMs?: number;
  /** Types that fields have already, by `measurement field`; others become floats. */
  readonly types?: Readonly<Record<string, string>>;
  readonly maxBodyBytes?: number;
  /** 1.8's `max-values-per-tag`. */
  readonly valuesPerTagMax?: number;
  /** Asked before each request; true: it is answered 503, or 429 with Retry-After. */
  readonly isBusy?: () => 503 | 429 | false;
}

export interface StrictAnswer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

export class StrictInflux {
  /** By measurement, tags, field and time: the value that came last. */
  readonly points = new Map<string, number>();
  readonly #options: StrictInfluxOptions;
  readonly #nowMs: () => number;
  readonly #tagValues = new Map<string, Set<string>>();

  constructor(options: StrictInfluxOptions, nowMs: () => number) {
    this.#options = options;
    this.#nowMs = nowMs;
  }

  /** Takes one write request and answers it. */
  write(texts: readonly string[]): StrictAnswer {
    const { version, isBusy, maxBodyBytes = Infinity } = this.#options;
    const busy = isBusy?.() ?? false;
    if (busy === 503) return json(503, { code: 'unavailable', message: 'engine is busy' });
    if (busy === 429) {
      const body = { code: 'too many requests', message: 'org exceeded its write limit' };
      return { ...json(429, body), headers: { 'retry-after': '1' } };
    }
    const bytes = texts.reduce((sum, text) => sum + text.length + 1, 0);
    if (bytes > maxBodyBytes) {
      return json(413, { code: 'request too large', message: 'points batch is too large' });
    }
    if (texts.length === 0) {
      const message = 'writing requires points';
      return version === '2' ? json(400, { code: 'invalid', message }) : { status: 204 };
    }
    const lines = texts.map((text) => ({ text, line: readLine(text) }));
    const unreadable = lines.flatMap(({ text, line }) =>
      line === undefined ? [`unable to parse '${text}': missing fields`] : [],
    );
    // Version 2 writes nothing of a request with a line that it cannot read.
    if (unreadable.length > 0 && version === '2') {
      return json(400, { code: 'invalid', message: unreadable.join('\n') });
    }
    const complaint = this.#keep(lines.flatMap(({ line }) => (line === undefined ? [] : [line])));
    if (unreadable.length > 0) return this.#partial(`${unreadable.join('\n')} dropped=0`);
    return complaint === '' ? { status: 204 } : this.#partial(complaint);
  }

  /** Keeps what can be kept; the complaint about the rest, '' where there is none. */
  #keep(lines: readonly ReadLine[]): string {
    const { retentionMs = Infinity } = this.#options;
    const oldestMs = this.#nowMs() - retentionMs;
    const old = lines.filter(({ timeMs }) => timeMs < oldestMs);
    let [refusal, dropped] = ['', 0];
    for (const line of lines) {
      if (line.timeMs < oldestMs) continue;
      const why = this.#refusal(line);
      if (why === '') this.#store(line);
      else {
        refusal ||= why;
        dropped += 1;
      }
    }
    if (refusal !== '') return `${refusal} dropped=${dropped}`;
    return old.length === 0 ? '' : this.#retentionComplaint(old, oldestMs);
  }

  #refusal({ measurement, fields, tags }: ReadLine): string {
    for (const field of fields.keys()) {
      const type = this.#options.types?.[`${measurement} ${field}`] ?? 'float';
      if (type !== 'float') {
        return (
          `field type conflict: input field "${field}" on measurement "${measurement}" ` +
          `is type float, already exists as type ${type}`
        );
      }
    }
    const { valuesPerTagMax = Infinity } = this.#options;
    for (const [tag, value] of tags) {
      const key = `${measurement} ${tag}`;
      const values = this.#tagValues.get(key) ?? new Set();
      this.#tagValues.set(key, values);
      if (!values.has(value) && values.size >= valuesPerTagMax) {
        return (
          `max-values-per-tag limit exceeded (${values.size}/${valuesPerTagMax}): ` +
          `measurement="${measurement}" tag="${tag}" value="${value}"`
        );
      }
      values.add(value);
    }
    return '';
  }

  #retentionComplaint(old: readonly ReadLine[], oldestMs: number): string {
    const dropped = old.length;
    if (this.#options.version === '1.8') return `points beyond retention policy dropped=${dropped}`;
    const times = old.map(({ timeMs }) => timeMs).sort((a, b) => a - b);
    const point = (timeMs: number) =>
      `${old[0]!.measurement} at ${time(timeMs)} dropped because it violates a ` +
      `Retention Policy Lower Bound at ${time(oldestMs)}`;
    return (
      `dropped ${dropped} points outside retention policy of duration 1h0m0s - ` +
      `oldest point ${point(times[0]!)}, newest point ${point(times.at(-1)!)} ` +
      `dropped=${dropped} for database: 9f282d63c7d3a5c0 for retention policy: autogen`
    );
  }

  #store({ measurement, tags, fields, timeMs }: ReadLine): void {
    const sorted = [...tags].sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [field, value] of fields) {
      this.points.set(JSON.stringify([measurement, sorted, field, timeMs]), value);
    }
  }

  #partial(complaint: string): StrictAnswer {
    if (this.#options.version === '1.8') return json(400, { error: `partial write: ${complaint}` });
    const message = `failure writing points to database: partial write: ${complaint}`;
    return json(422, { code: 'unprocessable entity', message });
  }
}

function json(status: number, body: object): StrictAnswer {
  const headers = { 'content-type': 'application/json; charset=utf-8' };
  return { status, headers, body: JSON.stringify(body) };
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
