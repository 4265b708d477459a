/**
 * The InfluxDB side: an HTTP server that keeps every point it accepts, and misbehaves on demand.
 */
import { once } from 'node:events';
import http from 'node:http';
import type { Socket } from 'node:net';
import zlib from 'node:zlib';
import { freePort } from '../harness/free-port.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { HOUR_MS } from './samples.ts';
import { isBadRound, roundOfLine, SinkStore, timeOfLine } from './sink-store.ts';

/**
 * - `refused`: nothing listens. `reset`: the connection breaks in a request. `hang`: no answer.
 * - `drip`: the answer comes a byte at a time. `truncated`: less of an answer than announced.
 * - `refuses_lines`: 400 for whole requests that hold a bad line, which is bad by its time.
 *   `partial`: 422, all lines are kept but those of which one field has another type there.
 * - `kept_then_500`, `kept_then_reset`: the points are kept and the answer says that they are not.
 * - `old_hours`: a short retention: the third of the lines that is oldest is dropped, the others
 *   kept. `busy_partial`, `busy_old_hours`: a part of the requests is answered 429 or 503 besides,
 *   so that a search for bad lines never runs through undisturbed.
 *
 * Refusals are worded as InfluxDB 2.7 words them.
 */
export const SINK_MODES = [
  'refused',
  'reset',
  'hang',
  'drip',
  'truncated',
  '429',
  '500',
  '503',
  '401',
  'refuses_lines',
  'partial',
  'kept_then_500',
  'kept_then_reset',
] as const;
/** Refusals at length: of a family of their own. */
export const REFUSAL_MODES = ['old_hours', 'busy_partial', 'busy_old_hours'] as const;
export type SinkMode = (typeof SINK_MODES)[number] | (typeof REFUSAL_MODES)[number] | 'well';

const DRIP_MS = 400;
/** A busy server turns away every so many requests. */
const BUSY_EVERY = 12;
const CONFLICT_FIELD = 'torture_05';
const JSON_HEADERS = { 'content-type': 'application/json; charset=utf-8' };

export class SinkServer {
  readonly store: SinkStore;
  /** Samples of every line that was ever refused. */
  readonly refused: SinkStore;
  requests = 0;
  readonly #port: number;
  readonly #baseMs: number;
  readonly #clock: Clock;
  readonly #server: http.Server;
  readonly #sockets = new Set<Socket>();
  #mode: SinkMode = 'well';

  private constructor(port: number, store: SinkStore, baseMs: number, clock: Clock) {
    this.#port = port;
    this.store = store;
    this.refused = new SinkStore(baseMs);
    this.#baseMs = baseMs;
    this.#clock = clock;
    this.#server = http.createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => this.#answer(request, response, Buffer.concat(chunks)));
      request.on('error', () => {});
      response.on('error', () => {});
    });
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(store: SinkStore, baseMs: number, clock: Clock): Promise<SinkServer> {
    const sink = new SinkServer(await freePort(), store, baseMs, clock);
    await sink.#listen();
    return sink;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get mode(): SinkMode {
    return this.#mode;
  }

  async setMode(mode: SinkMode): Promise<void> {
    const wasRefused = this.#mode === 'refused';
    this.#mode = mode;
    if (mode === 'refused') await this.#hangUp();
    else if (wasRefused) await this.#listen();
    // Requests that were left hanging end with the fault.
    if (mode === 'well') for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    if (this.#mode !== 'refused') await this.#hangUp();
  }

  async #listen(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  #hangUp(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #answer(request: http.IncomingMessage, response: http.ServerResponse, raw: Buffer): void {
    this.requests += 1;
    const isGzip = request.headers['content-encoding'] === 'gzip';
    const text = (isGzip ? zlib.gunzipSync(raw) : raw).toString('utf8');
    const lines = text.split('\n').filter((line) => line !== '');
    const end = (status: number, headers: http.OutgoingHttpHeaders = {}, body = '') => {
      response.writeHead(status, headers);
      response.end(body);
    };
    switch (this.#mode) {
      case 'reset':
        request.socket.resetAndDestroy();
        return;
      case 'hang':
        return;
      case 'drip':
        this.#keep(lines);
        this.#drip(request.socket);
        return;
      case 'truncated':
        response.writeHead(200, { 'content-length': '1000' });
        response.write('only this', () => request.socket.destroy());
        return;
      case '429':
      case '503':
        end(Number(this.#mode), { 'retry-after': '1' }, '{"message":"too much"}');
        return;
      case '500':
      case '401':
        end(Number(this.#mode), {}, '{"message":"by script"}');
        return;
      case 'kept_then_500':
        this.#keep(lines);
        end(500);
        return;
      case 'kept_then_reset':
        this.#keep(lines);
        request.socket.resetAndDestroy();
        return;
      case 'refuses_lines':
        this.#refuseAll(lines, end);
        return;
      case 'partial':
        this.#refuseType(lines, (line) => isBadRound(roundOfLine(this.#baseMs, line)), end);
        return;
      case 'old_hours':
        this.#refuseOld(lines, end);
        return;
      case 'busy_partial':
      case 'busy_old_hours':
        if (this.requests % BUSY_EVERY === 0) this.#turnAway(end);
        else if (this.#mode === 'busy_old_hours') this.#refuseOld(lines, end);
        else this.#refuseType(lines, (line) => timeOfLine(line) < this.#baseMs + HOUR_MS, end);
        return;
      default:
        this.#keep(lines);
        end(204);
    }
  }

  #keep(lines: readonly string[]): void {
    for (const line of lines) this.store.addLine(line);
  }

  #turnAway(end: End): void {
    const status = this.requests % (2 * BUSY_EVERY) === 0 ? 429 : 503;
    const code = status === 429 ? 'too many requests' : 'unavailable';
    end(status, { ...JSON_HEADERS, 'retry-after': '1' }, JSON.stringify({ code, message: 'busy' }));
  }

  /** Cannot read some lines and takes none, as InfluxDB 2 does. */
  #refuseAll(lines: readonly string[], end: End): void {
    const bad = lines.filter((line) => isBadRound(roundOfLine(this.#baseMs, line)));
    if (bad.length === 0) {
      this.#keep(lines);
      end(204);
      return;
    }
    this.#refuse(bad);
    const message = bad.map((line) => `unable to parse '${line}': bad timestamp`).join('\n');
    end(400, JSON_HEADERS, JSON.stringify({ code: 'invalid', message }));
  }

  /** Takes the lines but for those with a field whose type is another there. */
  #refuseType(lines: readonly string[], isConflict: (line: string) => boolean, end: End): void {
    const bad = lines.filter((line) => line.includes(`${CONFLICT_FIELD}=`) && isConflict(line));
    this.#keepAllBut(lines, bad);
    this.#partialWrite(
      bad,
      `field type conflict: input field "${CONFLICT_FIELD}" on measurement "gpu" is type float, ` +
        'already exists as type string',
      end,
    );
  }

  /** Drops lines before a time. */
  #refuseOld(lines: readonly string[], end: End): void {
    const boundMs = this.#baseMs + HOUR_MS;
    const old = lines.filter((line) => timeOfLine(line) < boundMs);
    old.sort((a, b) => timeOfLine(a) - timeOfLine(b));
    this.#keepAllBut(lines, old);
    const told = (line = '') =>
      `point ${line.split(' ')[0]} at ${new Date(timeOfLine(line)).toISOString()} dropped ` +
      `because it violates a Retention Policy Lower Bound at ${new Date(boundMs).toISOString()}`;
    this.#partialWrite(
      old,
      old.length === 0
        ? ''
        : `dropped ${old.length} points outside retention policy of duration 3h0m0s - ` +
            `oldest ${told(old[0])}, newest ${told(old.at(-1))}`,
      end,
    );
  }

  /** The answer of InfluxDB 2 to a request of which it has kept all but `bad`. */
  #partialWrite(bad: readonly string[], why: string, end: End): void {
    if (bad.length === 0) {
      end(204);
      return;
    }
    this.#refuse(bad);
    const message =
      `failure writing points to database: partial write: ${why} dropped=${bad.length} ` +
      'for database: 9f282d63c7d3a5c0 for retention policy: autogen';
    end(422, JSON_HEADERS, JSON.stringify({ code: 'unprocessable entity', message }));
  }

  #refuse(lines: readonly string[]): void {
    for (const line of lines) this.refused.addLine(line);
  }

  #keepAllBut(lines: readonly string[], refused: readonly string[]): void {
    const without = new Set(refused);
    this.#keep(lines.filter((line) => !without.has(line)));
  }

  /** One byte of the answer after the other, until the client has had enough. */
  #drip(socket: Socket): void {
    let left = 'HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n';
    const next = () => {
      if (socket.destroyed || left === '') return;
      socket.write(left.slice(0, 1));
      left = left.slice(1);
      this.#clock.after(DRIP_MS, next);
    };
    next();
  }
}

type End = (status: number, headers?: http.OutgoingHttpHeaders, body?: string) => void;
