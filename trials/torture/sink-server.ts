/**
 * The InfluxDB side: an HTTP server that keeps every point it accepts, and misbehaves on demand.
 */
import { once } from 'node:events';
import http from 'node:http';
import type { Socket } from 'node:net';
import zlib from 'node:zlib';
import { freePort } from '../harness/free-port.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { isBadRound, roundOfLine, type SinkStore } from './sink-store.ts';

/**
 * - `refused`: nothing listens. `reset`: the connection breaks in a request. `hang`: no answer.
 * - `drip`: the answer comes a byte at a time. `truncated`: less of an answer than announced.
 * - `refuses_lines`: 400 for whole requests that hold a bad line. `partial`: as well, but the good
 *   lines are kept. Bad is a line by its time, so it stays bad as long as the mode lasts.
 * - `kept_then_500`, `kept_then_reset`: the points are kept and the answer says that they are not.
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
export type SinkMode = (typeof SINK_MODES)[number] | 'well';

const DRIP_MS = 400;

export class SinkServer {
  readonly store: SinkStore;
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
      case 'partial':
        this.#refuseBad(lines, end);
        return;
      default:
        this.#keep(lines);
        end(204);
    }
  }

  #keep(lines: readonly string[]): void {
    for (const line of lines) this.store.addLine(line);
  }

  #refuseBad(
    lines: readonly string[],
    end: (status: number, headers?: http.OutgoingHttpHeaders, body?: string) => void,
  ): void {
    const bad = lines.filter((line) => isBadRound(roundOfLine(this.#baseMs, line)));
    if (bad.length === 0 || this.#mode === 'partial') {
      const refused = new Set(bad);
      this.#keep(lines.filter((line) => !refused.has(line)));
    }
    if (bad.length === 0) end(204);
    else end(400, {}, `{"code":"invalid","message":"${bad.length} lines refused by script"}`);
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
