/**
 * An HTTP server that stands in for InfluxDB where a test needs it to misbehave: it answers by
 * script, and parses and keeps the lines of requests that it accepts.
 */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import zlib from 'node:zlib';
import { onTestFinished } from 'vitest';
import { type ParsedLine, parseLines } from './line-protocol.ts';

export type Answer =
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }
  /** Reads the request and never answers. */
  | 'hang'
  /** Closes the connection in the middle of the request. */
  | 'reset'
  /** Announces more of an answer than it sends. */
  | 'truncated';

export interface StandInRequest {
  readonly url: URL;
  readonly headers: http.IncomingHttpHeaders;
  readonly lines: readonly string[];
}

export class InfluxStandIn {
  readonly requests: StandInRequest[] = [];
  /** Lines of accepted requests, in order. */
  readonly accepted: ParsedLine[] = [];
  /** Decides on each request; the default accepts. */
  answer: (request: StandInRequest) => Answer = () => ({ status: 204 });
  readonly #server: http.Server;

  private constructor() {
    this.#server = http.createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => this.#receive(request, response, Buffer.concat(chunks)));
      request.on('error', () => {});
    });
  }

  /** Listens on a free port until the current test ends. */
  static async start(): Promise<InfluxStandIn> {
    const standIn = new InfluxStandIn();
    await new Promise<void>((resolve) => standIn.#server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => standIn.close());
    return standIn;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Connections that clients hold open. */
  openConnections(): Promise<number> {
    return new Promise((resolve, reject) =>
      this.#server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
    );
  }

  /** Every accepted value: `measurement,tags field @timestamp` → the value that came last. */
  points(): Map<string, number | string> {
    const points = new Map<string, number | string>();
    for (const { measurement, tags, fields, timestamp } of this.accepted) {
      const sorted = Object.entries(tags).sort();
      for (const [field, value] of Object.entries(fields)) {
        points.set(JSON.stringify([measurement, sorted, field, timestamp]), value);
      }
    }
    return points;
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #receive(message: http.IncomingMessage, response: http.ServerResponse, raw: Buffer): void {
    const isGzip = message.headers['content-encoding'] === 'gzip';
    const text = (isGzip ? zlib.gunzipSync(raw) : raw).toString('utf8');
    const request: StandInRequest = {
      url: new URL(message.url ?? '', this.url),
      headers: message.headers,
      lines: text.split('\n').filter((line) => line !== ''),
    };
    this.requests.push(request);
    const answer = this.answer(request);
    if (answer === 'hang') return;
    if (answer === 'reset') {
      message.socket.resetAndDestroy();
      return;
    }
    if (answer === 'truncated') {
      response.writeHead(200, { 'content-length': '1000' });
      response.write('only this', () => message.socket.destroy());
      return;
    }
    if (answer.status < 300) this.accepted.push(...parseLines(text));
    response.writeHead(answer.status, answer.headers);
    response.end(answer.body);
  }
}
