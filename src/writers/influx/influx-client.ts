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
import type { InfluxConfig } from '../../config/schema.ts';
import { errorCode, errorMessage } from '../../lib/errors.ts';
import type { WriterDeps } from '../writer.ts';
import { judgeAnswer, type WriteOutcome } from './write-outcome.ts';

/** Answers that are kept for a message; the rest is read and thrown away. */
const MAX_BODY_BYTES = 4096;
/** Requests below this are not worth compressing. */
const MIN_GZIP_BYTES = 1024;

export interface InfluxClient {
  /**
   * Sends `lines` and waits for the answer. Never rejects. The bytes must not change until then.
   * `sentBytes` is what went over the wire, headers apart.
   */
  write(lines: Uint8Array): Promise<{ outcome: WriteOutcome; sentBytes: number }>;
  /** Ends requests under way, which then fail, and closes the connections. */
  close(): void;
}

/** Opens a client; no request is made yet. Timestamps are in milliseconds. */
export function openInfluxClient(
  settings: InfluxConfig,
  { clock, log, signal }: Pick<WriterDeps, 'clock' | 'log' | 'signal'>,
): InfluxClient {
  const { url, org, bucket, token } = settings;
  setLogger({ warn: (text) => log('warn', text), error: (text) => log('warn', text) });
  const Agent = url.startsWith('https:') ? https.Agent : http.Agent;
  const agent = new Agent({ keepAlive: true, maxSockets: 2 });
  // No inactivity timeout of its own: the client would report it but leave the socket open.
  const { transport } = new InfluxDB({ url, token, timeout: 0, transportOptions: { agent } });
  const query = new URLSearchParams({ org, bucket, precision: 'ms' });
  const path = `/api/v2/write?${query}`;
  const underWay = new Set<AbortController>();

  async function write(lines: Uint8Array): Promise<{ outcome: WriteOutcome; sentBytes: number }> {
    const compress = settings.gzip && lines.length >= MIN_GZIP_BYTES;
    const body = compress ? await gzip(lines, { level: 1 }) : lines;
    const controller = new AbortController();
    underWay.add(controller);
    let timedOut = false;
    const cancel = clock.after(settings.timeout_secs * 1000, () => {
      timedOut = true;
      controller.abort();
    });
    const headers: Record<string, string> = { 'content-type': 'text/plain; charset=utf-8' };
    if (compress) headers['content-encoding'] = 'gzip';
    try {
      const answer = await request(body, headers, controller.signal);
      const outcome = judgeAnswer(answer.status, answer.body, answer.retryAfter, clock.nowMs());
      return { outcome: withoutSecret(outcome, token), sentBytes: body.length };
    } catch (error) {
      const message = timedOut
        ? `no answer within ${settings.timeout_secs} s`
        : `${errorCode(error)} ${errorMessage(error)}`.trim();
      const reason = timedOut ? 'timeout' : 'network';
      const outcome = { kind: 'failed', reason, status: 0, message, retryAfterMs: 0 } as const;
      return { outcome: withoutSecret(outcome, token), sentBytes: body.length };
    } finally {
      cancel();
      underWay.delete(controller);
    }
  }

  function request(
    body: Uint8Array,
    headers: Record<string, string>,
    signal: AbortSignal,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      let status = 0;
      let text = '';
      // The transport hands the body to Buffer.from, which takes bytes as well as the string it is
      // declared as.
      transport.send(
        path,
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

  function close(): void {
    for (const controller of underWay) controller.abort();
    agent.destroy();
    signal?.removeEventListener('abort', close);
  }
  signal?.addEventListener('abort', close);

  return { write, close };
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly retryAfter: string | undefined;
}

const gzip = promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.gzip);

/** The client reads Retry-After as a bare number only, so the header itself is taken. */
function answerOf(error: HttpError): Answer {
  const retryAfter = error.headers?.['retry-after'];
  return {
    status: error.statusCode,
    body: (error.body ?? '').slice(0, MAX_BODY_BYTES),
    retryAfter: typeof retryAfter === 'string' ? retryAfter : undefined,
  };
}

/** A server or proxy may quote the request; the token must not reach a log or a dead letter. */
function withoutSecret(outcome: WriteOutcome, token: string): WriteOutcome {
  if (outcome.kind === 'written' || token === '') return outcome;
  return { ...outcome, message: outcome.message.replaceAll(token, '***') };
}
