/**
 * One write request to the InfluxDB v2 API, over the transport of @influxdata/influxdb-client.
 *
 * The client's WriteApi is a buffer with retries on a timer, for programs that have no buffer of
 * their own. Here the journal is the buffer and a request must be answered for before the cursor
 * moves, so requests go through the layer below it (`InfluxDB.transport`), which WriteApi uses too.
 * That also lets bytes be sent as they are (WriteApi takes strings and measures each character), be
 * compressed at level 1, and end at one deadline for the whole request with its socket closed.
 */
import http from 'node:http';
import https from 'node:https';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { HttpError, InfluxDB, setLogger } from '@influxdata/influxdb-client';
import type { InfluxConfig } from '../../../config/schema.ts';
import type { Clock } from '../../../lib/clock.ts';
import { errorCode, errorMessage } from '../../../lib/errors.ts';
import type { WriterDeps } from '../writer.ts';
import { judgeAnswer, type WriteOutcome } from './write-outcome.ts';

/** What is kept of an answer, which may name every line it refuses; the rest is thrown away. */
const MAX_BODY_BYTES = 64 * 1024;
/** Requests below this are not worth compressing. */
const MIN_GZIP_BYTES = 1024;

export interface SentRequest {
  readonly outcome: WriteOutcome;
  /** What went over the wire, headers apart. */
  readonly sentBytes: number;
}

type ClientDeps = Pick<WriterDeps, 'clock' | 'log' | 'signal'>;

/** Timestamps are in milliseconds. No request is made before the first `write`. */
export class InfluxClient {
  readonly #settings: InfluxConfig;
  readonly #clock: Clock;
  readonly #signal: AbortSignal | undefined;
  readonly #agent: http.Agent;
  readonly #transport: InfluxDB['transport'];
  readonly #path: string;
  readonly #underWay = new Set<AbortController>();

  constructor(settings: InfluxConfig, { clock, log, signal }: ClientDeps) {
    const { url, org, bucket, token } = settings;
    // Otherwise the client writes to the console.
    setLogger({ warn: (text) => log('warn', text), error: (text) => log('warn', text) });
    const Agent = url.startsWith('https:') ? https.Agent : http.Agent;
    const agent = new Agent({ keepAlive: true, maxSockets: 2 });
    // No inactivity timeout of its own: the client would report it but leave the socket open.
    const influx = new InfluxDB({ url, token, timeout: 0, transportOptions: { agent } });
    this.#settings = settings;
    this.#clock = clock;
    this.#signal = signal;
    this.#agent = agent;
    this.#transport = influx.transport;
    this.#path = `/api/v2/write?${new URLSearchParams({ org, bucket, precision: 'ms' })}`;
    signal?.addEventListener('abort', this.close);
  }

  /**
   * Sends `lines` and waits for the answer. Never rejects. The bytes must not change until then.
   */
  async write(lines: Uint8Array): Promise<SentRequest> {
    const { gzip, timeout_secs, token } = this.#settings;
    const headers: Record<string, string> = { 'content-type': 'text/plain; charset=utf-8' };
    let body = lines;
    if (gzip && lines.length >= MIN_GZIP_BYTES) {
      body = await compress(lines, { level: 1 });
      headers['content-encoding'] = 'gzip';
    }
    const controller = new AbortController();
    this.#underWay.add(controller);
    let isTimedOut = false;
    const cancel = this.#clock.after(timeout_secs * 1000, () => {
      isTimedOut = true;
      controller.abort();
    });
    let outcome: WriteOutcome;
    try {
      const answer = await this.#request(body, headers, controller.signal);
      outcome = judgeAnswer(answer.status, answer.body, answer.retryAfter, this.#clock.nowMs());
    } catch (error) {
      const why = `${errorCode(error)} ${errorMessage(error)}`.trim();
      outcome = isTimedOut
        ? noAnswer('timeout', `no answer within ${timeout_secs} s`)
        : noAnswer('network', why);
    } finally {
      cancel();
      this.#underWay.delete(controller);
    }
    return { outcome: withoutSecret(outcome, token), sentBytes: body.length };
  }

  /** Ends requests under way, which then fail, and closes the connections. Idempotent. */
  readonly close = (): void => {
    for (const controller of this.#underWay) controller.abort();
    this.#agent.destroy();
    this.#signal?.removeEventListener('abort', this.close);
  };

  #request(
    body: Uint8Array,
    headers: Record<string, string>,
    signal: AbortSignal,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      let status = 0;
      let text = '';
      // The transport hands the body to Buffer.from, which takes bytes as well as the string it is
      // declared as.
      this.#transport.send(
        this.#path,
        body as unknown as string,
        { method: 'POST', headers, signal },
        {
          responseStarted(_headers, statusCode) {
            status = statusCode ?? 0;
          },
          next(data: Uint8Array) {
            if (text.length < MAX_BODY_BYTES) text += Buffer.from(data).toString('utf8');
          },
          complete: () => resolve({ status, body: text, retryAfter: undefined }),
          error(error) {
            if (error instanceof HttpError) resolve(answerOf(error));
            else reject(error);
          },
        },
      );
    });
  }
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly retryAfter: string | undefined;
}

const compress = promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.gzip);

/** The client reads Retry-After as a bare number only, so the header itself is taken. */
function answerOf(error: HttpError): Answer {
  const retryAfter = error.headers?.['retry-after'];
  return {
    status: error.statusCode,
    body: (error.body ?? '').slice(0, MAX_BODY_BYTES),
    retryAfter: typeof retryAfter === 'string' ? retryAfter : undefined,
  };
}

function noAnswer(reason: 'timeout' | 'network', message: string): WriteOutcome {
  return { kind: 'failed', reason, status: 0, message, retryAfterMs: 0 };
}

/** A server or proxy may quote the request; the token must not reach a log or a dead letter. */
function withoutSecret(outcome: WriteOutcome, token: string): WriteOutcome {
  if (outcome.kind === 'written' || token === '') return outcome;
  return { ...outcome, message: outcome.message.replaceAll(token, '***') };
}
