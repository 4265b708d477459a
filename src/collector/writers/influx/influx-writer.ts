/**
 * Journal records → InfluxDB. Each call encodes its records into chunks of at most
 * `max_batch_bytes` and sends them in order, one request under way while the next chunk is encoded.
 * The journal is the only buffer: a call that fails is repeated by the loop, and writing a point
 * again changes nothing.
 *
 *     records ─ encoder ─► chunk A ─► gzip ─► POST /api/v2/write
 *                          chunk B  (being filled meanwhile)
 */
import type { InfluxConfig } from '../../../config/schema.ts';
import { errorMessage } from '../../../lib/errors.ts';
import { WeightedCache } from '../weighted-cache.ts';
import { WriteFault } from '../write-fault.ts';
import type { DeadLetter, Writer, WriterDeps, WriterProgress, WriterRecord } from '../writer.ts';
import { InfluxClient } from './influx-client.ts';
import { LineChunk } from './line-chunk.ts';
import { type PointRules, pointRules } from './point.ts';
import { type RefusedLines, searchPoison } from './poison-search.ts';
import { RecordEncoder } from './record-encoder.ts';
import { buildTablePlan, type TablePlan } from './table-plan.ts';
import type { WriteOutcome } from './write-outcome.ts';

/**
 * Plans of series tables; one of 300 series takes about 18 kB, so this is room for 10,000 nodes.
 */
const PLAN_CACHE_BYTES = 192 * 1024 * 1024;
/** Requests spent on finding the refused lines of one chunk: enough for some hundred of them. */
const MAX_SEARCH_REQUESTS = 2000;
/** A server that refuses bodies for their size is not sent smaller limits than this. */
const MIN_CHUNK_BYTES = 16 * 1024;
const NOTHING = new Uint8Array(0);

/** Opens the writer; no request is made yet. */
export function openInfluxWriter(settings: InfluxConfig, deps: WriterDeps): Writer {
  return new InfluxWriter(settings, deps, new InfluxClient(settings, deps));
}

class InfluxWriter implements Writer {
  readonly #deps: WriterDeps;
  readonly #client: InfluxClient;
  readonly #rules: PointRules;
  readonly #plans = new WeightedCache<TablePlan>(PLAN_CACHE_BYTES);
  readonly #encoder = new RecordEncoder();
  #spare = [new LineChunk(), new LineChunk()];
  /** `max_batch_bytes`, or less once the server found that too large. */
  #maxChunkBytes: number;
  /** The server has taken something since this writer was opened: its 400s are about lines. */
  #hasAccepted = false;
  readonly #stats = {
    requests_total: 0,
    lines_total: 0,
    fields_total: 0,
    line_bytes_total: 0,
    sent_bytes_total: 0,
    refused_lines_total: 0,
    searches_total: 0,
    plan_cache_bytes: 0,
    max_chunk_bytes: 0,
  };

  constructor(settings: InfluxConfig, deps: WriterDeps, client: InfluxClient) {
    this.#deps = deps;
    this.#client = client;
    this.#rules = pointRules(settings);
    this.#maxChunkBytes = settings.max_batch_bytes;
  }

  async write(records: readonly WriterRecord[]): Promise<WriterProgress | undefined> {
    const call = new Call();
    let sending: Promise<void> = Promise.resolve();
    try {
      for (const chunk of this.#encode(records, call)) {
        await sending;
        sending = this.#sendChunk(chunk, call).finally(() => this.#spare.push(chunk));
        // Its failure is met at the next await; until then it must not count as unhandled.
        sending.catch(() => {});
      }
      await sending;
    } catch (error) {
      await sending.catch(() => {});
      throw faultOf(error, call.progress());
    }
    return call.progress();
  }

  async tick(): Promise<undefined> {}

  async flush(): Promise<undefined> {}

  async close(): Promise<void> {
    this.#client.close();
  }

  stats(): Record<string, number> {
    this.#stats.plan_cache_bytes = this.#plans.weight;
    this.#stats.max_chunk_bytes = this.#maxChunkBytes;
    return { ...this.#stats };
  }

  /** Yields filled chunks. A chunk is the receiver's until it is back among the spare ones. */
  *#encode(records: readonly WriterRecord[], call: Call): Generator<LineChunk> {
    let chunk = this.#takeChunk();
    for (const record of records) {
      this.#encoder.start(record, this.#plan(record.tableId));
      while (!this.#encoder.encodeInto(chunk, this.#maxChunkBytes)) {
        yield chunk;
        chunk = this.#takeChunk();
      }
      if (this.#encoder.notFinite > 0) this.#dropNotFinite(record, this.#encoder.notFinite, call);
    }
    yield chunk;
  }

  #takeChunk(): LineChunk {
    const chunk = this.#spare.pop() ?? new LineChunk();
    chunk.reset();
    return chunk;
  }

  #plan(tableId: string): TablePlan {
    const known = this.#plans.find(tableId);
    if (known !== undefined) return known;
    const plan = buildTablePlan(this.#deps.table(tableId), this.#rules);
    this.#plans.add(tableId, plan, plan.weight);
    return plan;
  }

  async #sendChunk(chunk: LineChunk, call: Call): Promise<void> {
    if (chunk.lines > 0) {
      const outcome = await this.#send(chunk, 0, chunk.lines, call);
      if (outcome.kind === 'failed') throw failureFault(outcome);
      if (outcome.kind !== 'written') await this.#sendRefused(chunk, outcome, call);
    } else {
      await this.#ask();
    }
    call.complete(chunk.completeSeq);
  }

  /**
   * Records without samples leave nothing to write, but a canary wants to know whether writing
   * would work: an empty request goes all the way to the bucket. That it holds no points (400) is
   * an answer, too.
   */
  async #ask(): Promise<void> {
    const { outcome } = await this.#client.write(NOTHING);
    this.#stats.requests_total += 1;
    if (outcome.kind === 'failed') throw failureFault(outcome);
  }

  async #send(chunk: LineChunk, from: number, to: number, call: Call): Promise<WriteOutcome> {
    const lines = chunk.view(from, to);
    const { outcome, sentBytes } = await this.#client.write(lines);
    this.#stats.requests_total += 1;
    this.#stats.sent_bytes_total += sentBytes;
    if (outcome.kind === 'written') {
      this.#hasAccepted = true;
      this.#stats.lines_total += to - from;
      this.#stats.line_bytes_total += lines.length;
      this.#stats.fields_total += call.wrote(chunk, from, to);
    }
    if (outcome.kind === 'too_large' && to - from > 1) this.#shrinkChunks(lines.length);
    return outcome;
  }

  #shrinkChunks(refusedBytes: number): void {
    const bytes = Math.max(MIN_CHUNK_BYTES, Math.floor(refusedBytes / 2));
    if (bytes >= this.#maxChunkBytes) return;
    this.#maxChunkBytes = bytes;
    this.#deps.log('warn', 'the server finds requests too large; sending smaller ones', {
      refusedBytes,
      maxBatchBytes: bytes,
    });
  }

  /** Finds the lines that the server refuses, keeps them as dead letters and writes the rest. */
  async #sendRefused(
    chunk: LineChunk,
    first: Extract<WriteOutcome, { kind: 'poison' | 'too_large' }>,
    call: Call,
  ): Promise<void> {
    this.#stats.searches_total += 1;
    const send = (from: number, to: number) => this.#send(chunk, from, to, call);
    const result = await searchPoison(chunk.lines, first, send, MAX_SEARCH_REQUESTS);
    if (result.failure !== undefined) throw failureFault(result.failure);
    if (!this.#hasAccepted) {
      throw new WriteFault(`cannot write to InfluxDB: every line is refused: ${first.message}`, {
        reason: 'refused',
        status: first.status,
      });
    }
    this.#buryLines(chunk, result.refused, call);
  }

  #buryLines(chunk: LineChunk, refused: readonly RefusedLines[], call: Call): void {
    const letters: DeadLetter[] = [];
    for (const { from, to, status, reason } of refused) {
      for (let line = from; line < to; line++) {
        const { seq, nodeId } = chunk.records[chunk.lineRecord[line]!]!;
        const samples = chunk.lineSamples[line]!;
        const text = Buffer.from(chunk.view(line, line + 1))
          .toString('utf8')
          .trimEnd();
        letters.push({ reason, status, nodeId, seq, samples, line: text });
      }
    }
    this.#bury(letters, call);
    this.#stats.refused_lines_total += letters.length;
    const worst = refused[0];
    if (worst === undefined) return;
    this.#deps.log('warn', 'InfluxDB refuses lines; they are kept as dead letters', {
      lines: letters.length,
      status: worst.status,
      reason: worst.reason,
    });
  }

  /** Admission lets no such value pass, so this is for journals written by something else. */
  #dropNotFinite(record: WriterRecord, samples: number, call: Call): void {
    const { seq, nodeId } = record;
    const reason = 'values that are not finite numbers';
    this.#bury([{ reason, status: 0, nodeId, seq, samples, line: '' }], call);
  }

  #bury(letters: readonly DeadLetter[], call: Call): void {
    try {
      this.#deps.deadLetter(letters);
    } catch (error) {
      throw new WriteFault(errorMessage(error), { reason: 'dead_letter', cause: error });
    }
    for (const { seq, samples } of letters) call.bury(seq, samples);
  }
}

/** What one call of `write` has achieved so far. */
class Call {
  #cursor = 0;
  /** By record, what became of its samples. */
  readonly #written = new Map<number, number>();
  readonly #buried = new Map<number, number>();

  /** All records up to `seq` are safe; 0 says nothing new. */
  complete(seq: number): void {
    if (seq > this.#cursor) this.#cursor = seq;
  }

  /** The server took these lines. Returns their samples. */
  wrote(chunk: LineChunk, from: number, to: number): number {
    let all = 0;
    for (let line = from; line < to; ) {
      const index = chunk.lineRecord[line]!;
      let samples = 0;
      for (; line < to && chunk.lineRecord[line] === index; line++) {
        samples += chunk.lineSamples[line]!;
      }
      addTo(this.#written, chunk.records[index]!.seq, samples);
      all += samples;
    }
    return all;
  }

  bury(seq: number, samples: number): void {
    addTo(this.#buried, seq, samples);
  }

  /** What happened to a record that is not complete waits for it: it will be sent again. */
  progress(): WriterProgress | undefined {
    if (this.#cursor === 0) return undefined;
    return {
      cursor: this.#cursor,
      writtenSamples: sumUpTo(this.#written, this.#cursor),
      deadLetteredSamples: sumUpTo(this.#buried, this.#cursor),
    };
  }
}

function addTo(bySeq: Map<number, number>, seq: number, samples: number): void {
  bySeq.set(seq, (bySeq.get(seq) ?? 0) + samples);
}

function sumUpTo(bySeq: ReadonlyMap<number, number>, lastSeq: number): number {
  let sum = 0;
  for (const [seq, samples] of bySeq) {
    if (seq <= lastSeq) sum += samples;
  }
  return sum;
}

function failureFault(outcome: Extract<WriteOutcome, { kind: 'failed' }>): WriteFault {
  const { reason, status, retryAfterMs } = outcome;
  const what = status === 0 ? outcome.message : `HTTP ${status}: ${outcome.message}`;
  return new WriteFault(`cannot write to InfluxDB: ${what}`, { reason, status, retryAfterMs });
}

/** The same fault with what the call achieved before it. */
function faultOf(error: unknown, progress: WriterProgress | undefined): WriteFault {
  const fault = error instanceof WriteFault ? error : undefined;
  return new WriteFault(errorMessage(error), {
    reason: fault?.reason ?? 'local',
    status: fault?.status ?? 0,
    retryAfterMs: fault?.retryAfterMs ?? 0,
    progress,
    cause: fault?.cause ?? error,
  });
}
