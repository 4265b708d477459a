/**
 * Attacks on the HTTP side, which many can reach.
 */
import net from 'node:net';
import { type Attack, type AttackTask, pause, turn } from '../attack.ts';

/** Connections that begin a request and never end it. */
export const httpSlowClients: Attack = {
  name: 'http-slow-clients',
  what: '1000 HTTP connections that send a byte of a header every half second',
  settings: {},
  nodes: 0,
  async run(task) {
    const counts = { connects: 0, ended: 0, bytes: 0 };
    const sockets = new Set<net.Socket>();
    const endMs = performance.now() + task.seconds * 1000;
    while (performance.now() < endMs) {
      while (sockets.size < 1000) {
        const socket = open(task);
        counts.connects += 1;
        sockets.add(socket);
        socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ');
        socket.on('close', () => {
          counts.ended += 1;
          sockets.delete(socket);
        });
        if (counts.connects % 50 === 0) await turn();
      }
      for (const socket of sockets) {
        if (socket.writable) socket.write('a');
        counts.bytes += 1;
      }
      await pause(500);
    }
    for (const socket of sockets) socket.destroy();
    return counts;
  },
};

/** Connections without end. */
export const httpConnections: Attack = {
  name: 'http-connections',
  what: 'HTTP connections opened with one request each, 64 at a time',
  settings: {},
  nodes: 0,
  async run(task) {
    const counts = { connects: 0, answered: 0 };
    await inParallel(task, 64, async () => {
      counts.connects += 1;
      const answer = await exchange(task, 'GET /healthz HTTP/1.0\r\n\r\n');
      if (answer.startsWith('HTTP/1.1 200')) counts.answered += 1;
    });
    return counts;
  },
};

/** Everything a request should not be. Each must be refused or answered, and none may hang. */
export const ODD_REQUESTS: readonly (readonly [what: string, request: string])[] = [
  ['an unknown method', 'FROB / HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['a method that changes things', 'DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['a tunnel', 'CONNECT internal:22 HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['TRACE', 'TRACE / HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['path traversal', 'GET /../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['path traversal in code', 'GET /%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['broken percent encoding', 'GET /%zz%c0%af HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['a NUL in the path', 'GET /metrics%00.html HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['a prototype key as a page', 'GET /__proto__ HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['another prototype key', 'GET /constructor HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['a path of 100 kB', `GET /${'a'.repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`],
  ['a header of 1 MB', `GET / HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(1_000_000)}\r\n\r\n`],
  ['10,000 headers', `GET / HTTP/1.1\r\nHost: x\r\n${'X: a\r\n'.repeat(10_000)}\r\n`],
  [
    'a body of 1 MB',
    `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n${'a'.repeat(1e6)}`,
  ],
  ['a body that is never sent', 'POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 9e9\r\n\r\n'],
  ['two lengths', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na'],
  [
    'length and chunks',
    'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  [
    'a chunk of 2^64 bytes',
    'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n',
  ],
  ['an upgrade', 'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ['noise', '\x00\xff\r\n\r\n\x80'],
];

/** Odd requests in turn. */
export const httpOddRequests: Attack = {
  name: 'http-odd-requests',
  what: 'bad methods, path traversal, header bombs, wrong lengths, 16 at a time',
  settings: {},
  nodes: 0,
  async run(task) {
    const counts = { requests: 0 };
    await inParallel(task, 16, async () => {
      const [, request] = ODD_REQUESTS[counts.requests % ODD_REQUESTS.length] ?? ['', ''];
      counts.requests += 1;
      await exchange(task, request);
    });
    return counts;
  },
};

/** Asks for the longest page thousands of times and reads nothing. */
export const httpUnreadPages: Attack = {
  name: 'http-unread-pages',
  what: '200 HTTP connections that ask for /metrics 1000 times each and read nothing',
  settings: {},
  nodes: 0,
  async run(task) {
    const sockets = Array.from({ length: 200 }, () => open(task).pause());
    const request = 'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1000);
    for (const socket of sockets) socket.write(request);
    await pause(task.seconds * 1000);
    for (const socket of sockets) socket.destroy();
    return { connections: sockets.length, requests: 1000 * sockets.length };
  },
};

/** Sends `request` and returns what comes until the other side or, after a while, we end it. */
export function exchange(task: Pick<AttackTask, 'metricsUrl'>, request: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = open(task);
    let answer = '';
    socket.setTimeout(500, () => socket.destroy());
    socket.on('data', (bytes) => {
      answer += bytes.toString('latin1').slice(0, 1000);
    });
    socket.on('close', () => resolve(answer));
    socket.write(Buffer.from(request, 'latin1'));
  });
}

function open({ metricsUrl }: Pick<AttackTask, 'metricsUrl'>): net.Socket {
  const { hostname, port } = new URL(metricsUrl);
  const socket = net.connect(Number(port), hostname);
  // Refused, reset, broken: all are answers.
  socket.on('error', () => {});
  return socket;
}

async function inParallel(task: AttackTask, count: number, once: () => Promise<void>) {
  const endMs = performance.now() + task.seconds * 1000;
  const one = async () => {
    while (performance.now() < endMs) await once();
  };
  await Promise.all(Array.from({ length: count }, one));
}
