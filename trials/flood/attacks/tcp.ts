/**
 * Attacks on TLS over TCP: sockets that say nothing, handshakes that are begun and left or that
 * come byte by byte, versions of TLS that can be renegotiated, and a peer with a certificate that
 * dribbles or pings without end.
 */
import { once } from 'node:events';
import net from 'node:net';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import { ALPN_PROTOCOL } from '../../../src/domain/telemetry.ts';
import type { QuicAddress } from '../../../src/transport/quic-endpoint.ts';
import { tlsStack } from '../../../src/transport/tls/tls-endpoint.ts';
import { type Attack, type AttackTask, pause, turn } from '../attack.ts';
import { connectPeer, REFUSED_FRAME } from './peer.ts';

const SILENT_SOCKETS = 5000;
const SLOW_SOCKETS = 500;
const SLOW_STEP_MS = 100;
const HALF_OPEN_PER_ROUND = 10;
const ROUND_MS = 10;
const AT_ONCE = 8;
/** An idle turn between pings would make them pauses. */
const PINGS_PER_TURN = 200;

/** Connects and never sends a byte; what is dropped connects again. */
const silentSockets: Attack = {
  name: 'tcp-silent',
  what: '5,000 TCP connections that never say a word, and come again when they are dropped',
  settings: {},
  nodes: 0,
  overTls: true,
  run: (task) => keepOpen(task, SILENT_SOCKETS, () => {}),
};

/** A genuine ClientHello, and nothing after it. */
const halfOpen: Attack = {
  name: 'tcp-half-open',
  what: 'TLS handshakes that are begun and left, 1000 a second',
  settings: {},
  nodes: 0,
  overTls: true,
  async run({ remote, seconds }) {
    const hello = await clientHello();
    const counts = { handshakes: 0, dropped: 0 };
    const sockets = new Set<net.Socket>();
    const endMs = performance.now() + seconds * 1000;
    while (performance.now() < endMs) {
      for (let begun = 0; begun < HALF_OPEN_PER_ROUND; begun += 1) {
        const socket = openSocket(remote);
        sockets.add(socket);
        socket.write(hello);
        counts.handshakes += 1;
        socket.on('close', () => {
          sockets.delete(socket);
          counts.dropped += 1;
        });
      }
      await pause(ROUND_MS);
    }
    for (const socket of sockets) socket.destroy();
    return counts;
  },
};

/** A ClientHello of which a byte comes now and then. */
const slowHandshakes: Attack = {
  name: 'tcp-slow-handshakes',
  what: '500 TLS handshakes of which ten bytes come in a second',
  settings: {},
  nodes: 0,
  overTls: true,
  async run(task) {
    const hello = await clientHello();
    return keepOpen(task, SLOW_SOCKETS, (socket) => {
      let sent = 0;
      const timer = setInterval(() => {
        socket.write(hello.subarray(sent, sent + 1));
        sent += 1;
      }, SLOW_STEP_MS);
      socket.once('close', () => clearInterval(timer));
    });
  },
};

/** TLS 1.2 and its renegotiation are not spoken: every handshake is refused. */
const oldVersions: Attack = {
  name: 'tcp-old-versions',
  what: 'handshakes of TLS 1.2, which could be renegotiated, eight at a time',
  settings: {},
  nodes: 1,
  overTls: true,
  async run({ remote, seconds, credentials }) {
    const [own] = credentials;
    const counts = { handshakes: 0, refused: 0 };
    const endMs = performance.now() + seconds * 1000;
    const one = async () => {
      while (performance.now() < endMs) {
        counts.handshakes += 1;
        const socket = tls.connect({
          ...{ host: remote.host, port: remote.port, maxVersion: 'TLSv1.2' },
          ...{ cert: own?.certPem, key: own?.keyPem, ca: own?.caPem, servername: 'localhost' },
          ALPNProtocols: [ALPN_PROTOCOL],
        });
        socket.once('error', () => {
          counts.refused += 1;
        });
        socket.once('secureConnect', () => socket.renegotiate({}, () => socket.destroy()));
        await new Promise((resolve) => socket.once('close', resolve));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
    return counts;
  },
};

/** Frames in TLS records of a single byte. */
const dribbledRecords: Attack = {
  name: 'tcp-dribbled',
  what: 'frames in TLS records of one byte each',
  settings: {},
  nodes: 1,
  overTls: true,
  run: (task) =>
    asPeer(task, async (socket, counts) => {
      for (const byte of REFUSED_FRAME) {
        socket.write(Buffer.from([byte]));
        counts.records += 1;
      }
    }),
};

/** Each ping wants an answer. */
const pings: Attack = {
  name: 'tcp-pings',
  what: 'control records that ask for an answer, as fast as they are taken, none of which is read',
  settings: {},
  nodes: 1,
  overTls: true,
  run: (task) =>
    asPeer(task, async (socket, counts) => {
      socket.pause();
      const ping = Buffer.from([0xff, 0xff, 0xff, 0xff, 2]);
      for (let sent = 0; sent < PINGS_PER_TURN; sent += 1) socket.write(ping);
      counts.records += PINGS_PER_TURN;
    }),
};

/** Connects and leaves at once, with a good certificate. */
const churn: Attack = {
  name: 'tcp-churn',
  what: 'connect over TLS and leave with a good certificate, eight at a time',
  settings: {},
  nodes: 4,
  overTls: true,
  async run(task) {
    const endMs = performance.now() + task.seconds * 1000;
    const counts = { connects: 0, accepted: 0 };
    const one = async () => {
      while (performance.now() < endMs) {
        const credentials = task.credentials[counts.connects % task.credentials.length];
        if (credentials === undefined) return;
        counts.connects += 1;
        const peer = await connectPeer(task, credentials, { stack: tlsStack });
        await Promise.race([peer.greeted, peer.closed]);
        if (peer.isGreeted) counts.accepted += 1;
        await peer.leave();
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
    return counts;
  },
};

export const HOSTILE_TCP: readonly Attack[] = [
  ...[silentSockets, halfOpen, slowHandshakes, oldVersions, churn, dribbledRecords, pings],
];

/** Keeps `count` sockets open, each of which does `then` once it is connected. */
async function keepOpen(
  { remote, seconds }: AttackTask,
  count: number,
  then: (socket: net.Socket) => void,
) {
  const counts = { connects: 0, dropped: 0 };
  const sockets = new Set<net.Socket>();
  const endMs = performance.now() + seconds * 1000;
  while (performance.now() < endMs) {
    for (let added = 0; added < 50 && sockets.size < count; added += 1) {
      const socket = openSocket(remote);
      sockets.add(socket);
      counts.connects += 1;
      socket.once('connect', () => then(socket));
      socket.once('close', () => {
        sockets.delete(socket);
        counts.dropped += 1;
      });
    }
    await pause(ROUND_MS);
  }
  for (const socket of sockets) socket.destroy();
  return counts;
}

/** Repeats `work` on a connection that was greeted, and on a new one when that is closed. */
async function asPeer(
  { remote, seconds, credentials }: AttackTask,
  work: (socket: tls.TLSSocket, counts: { records: number }) => Promise<void>,
) {
  const [own] = credentials;
  const counts = { connects: 0, records: 0 };
  const endMs = performance.now() + seconds * 1000;
  while (performance.now() < endMs) {
    counts.connects += 1;
    const socket = tls.connect({
      ...{ host: remote.host, port: remote.port, servername: 'localhost' },
      ...{ cert: own?.certPem, key: own?.keyPem, ca: own?.caPem },
      ALPNProtocols: [ALPN_PROTOCOL],
    });
    socket.on('error', () => {});
    socket.resume();
    const closed = once(socket, 'close');
    await Promise.race([once(socket, 'secureConnect').catch(() => {}), closed]);
    while (!socket.destroyed && performance.now() < endMs) {
      await work(socket, counts);
      // What the peer does not take is waited for, as long as it may last.
      if (socket.writableNeedDrain) await Promise.race([drained(socket, endMs), closed]);
      else await turn();
    }
    socket.destroy();
  }
  return counts;
}

function drained(socket: tls.TLSSocket, endMs: number): Promise<void> {
  return new Promise((resolve) => {
    socket.once('drain', resolve);
    setTimeout(resolve, Math.max(0, endMs - performance.now()));
  });
}

function openSocket({ host, port }: QuicAddress): net.Socket {
  const socket = net.connect(port, host);
  socket.on('error', () => {});
  socket.resume();
  return socket;
}

/** What a client says first. */
function clientHello(): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({
      read() {},
      write(bytes: Buffer, _encoding, done) {
        resolve(bytes);
        done();
      },
    });
    const names = { servername: 'localhost', ALPNProtocols: [ALPN_PROTOCOL] };
    const socket = tls.connect({ socket: wire, minVersion: 'TLSv1.3', ...names });
    socket.on('error', () => {});
  });
}
