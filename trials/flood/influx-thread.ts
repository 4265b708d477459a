/**
 * An InfluxDB that takes every write and keeps of it only the newest round of the neighbour. A
 * thread of its own: reading the attacker's lines must not delay the neighbour.
 */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { parentPort, workerData } from 'node:worker_threads';
import zlib from 'node:zlib';

const gunzip = promisify(zlib.gunzip);
/** Of one Int32: the newest round. */
const newest = new Int32Array(workerData as SharedArrayBuffer);
const FIELD = 'neighbour_0=';
const DIGITS_MAX = 10;

function noteRounds(lines: Buffer): void {
  for (let at = lines.indexOf(FIELD); at >= 0; at = lines.indexOf(FIELD, at + 1)) {
    const from = at + FIELD.length;
    const round = Number.parseInt(lines.toString('latin1', from, from + DIGITS_MAX), 10);
    if (round > Atomics.load(newest, 0)) Atomics.store(newest, 0, round);
  }
}

const server = http.createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const isGzip = request.headers['content-encoding'] === 'gzip';
    noteRounds(isGzip ? await gunzip(body) : body);
    response.writeHead(204).end();
  } catch {
    // The daemon is killed at the end, perhaps in the middle of a request.
    response.destroy();
  }
});
server.listen(0, '127.0.0.1', () => {
  parentPort?.postMessage((server.address() as AddressInfo).port);
});
