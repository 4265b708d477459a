/**
 * An InfluxDB that takes every write and keeps nothing, as a process of its own. Prints its port.
 */
import http from 'node:http';
import type { AddressInfo } from 'node:net';

let requests = 0;
let bytes = 0;
const server = http.createServer((request, response) => {
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  request.on('end', () => {
    requests += 1;
    response.writeHead(request.url === '/figures' ? 200 : 204);
    response.end(request.url === '/figures' ? JSON.stringify({ requests, bytes }) : undefined);
  });
});
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
