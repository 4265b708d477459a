/**
 * Attacks that need no certificate: packets from addresses that are not the sender's, handshakes
 * that are begun and left, certificates of somebody else.
 */
import { randomBytes } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import {
  createAuthority,
  issueCertificate,
} from '../../../src/collector/cli/development-certificates.ts';
import { type Attack, type AttackTask, pause, turn } from '../attack.ts';
import { buildInitial, captureClientHello, readRetry } from './initial-packets.ts';
import { connectPeer } from './peer.ts';

const SPOOFED_INITIALS = 50_000;
const ADDRESSES = 200;
const DATAGRAMS_PER_TURN = 20;
const NO_TOKEN = Buffer.alloc(0);

/** 50,000 genuine ClientHellos, spread over the time, from 200 addresses that never answer. */
export const spoofedInitials: Attack = {
  name: 'spoofed-initials',
  what: '50,000 Initial packets with a genuine ClientHello from 200 addresses that never answer',
  settings: {},
  nodes: 0,
  async run({ remote, seconds }) {
    const hello = captureClientHello();
    const sockets = await bindSockets(ADDRESSES);
    const endMs = performance.now() + seconds * 1000;
    let sent = 0;
    for (; sent < SPOOFED_INITIALS; sent += 1) {
      const socket = sockets[sent % sockets.length];
      socket?.send(buildInitial(hello, randomBytes(8), NO_TOKEN), remote.port, remote.host);
      if (sent % DATAGRAMS_PER_TURN !== 0) continue;
      const dueMs = endMs - (seconds * 1000 * (SPOOFED_INITIALS - sent)) / SPOOFED_INITIALS;
      if (performance.now() < dueMs) await pause(dueMs - performance.now());
      else await turn();
    }
    for (const socket of sockets) socket.close();
    return { initials: sent };
  },
};

/** Proves its address where asked to, and leaves every handshake after the first packet. */
export const halfOpenHandshakes: Attack = {
  name: 'half-open',
  what: 'handshakes that prove their address and then say nothing, 1000 a second',
  settings: {},
  nodes: 0,
  async run({ remote, seconds }) {
    const hello = captureClientHello();
    const sockets = await bindSockets(ADDRESSES);
    let retried = 0;
    for (const socket of sockets) {
      socket.on('message', (datagram) => {
        const retry = readRetry(datagram);
        if (retry === undefined) return;
        retried += 1;
        socket.send(buildInitial(hello, retry.id, retry.token), remote.port, remote.host);
      });
    }
    let begun = 0;
    const endMs = performance.now() + seconds * 1000;
    while (performance.now() < endMs) {
      for (let burst = 0; burst < 10; burst += 1) {
        const socket = sockets[begun % sockets.length];
        socket?.send(buildInitial(hello, randomBytes(8), NO_TOKEN), remote.port, remote.host);
        begun += 1;
      }
      await pause(10);
    }
    for (const socket of sockets) socket.close();
    return { handshakes: begun, retried };
  },
};

/** Whole handshakes with a certificate that nobody trusts. */
export const foreignCertificates: Attack = {
  name: 'foreign-certificates',
  what: 'handshakes with a certificate of another authority, eight at a time',
  settings: {},
  nodes: 1,
  async run(task) {
    const stranger = await createAuthority('Somebody else');
    const pair = await issueCertificate(stranger, { commonName: 'x', dnsNames: ['neighbour'] });
    const caPem = task.credentials[0]?.caPem ?? '';
    return churn(task, () => ({ ...pair, caPem }));
  },
};

/** Connects and leaves at once, with a good certificate. */
export const connectionChurn: Attack = {
  name: 'connection-churn',
  what: 'connect and disconnect with a good certificate, eight at a time',
  settings: {},
  nodes: 4,
  run: (task) => churn(task, (turns) => task.credentials[turns % task.credentials.length]),
};

async function churn(
  task: AttackTask,
  credentialsOf: (turns: number) => AttackTask['credentials'][number] | undefined,
) {
  const endMs = performance.now() + task.seconds * 1000;
  const counts = { connects: 0, accepted: 0 };
  const one = async () => {
    while (performance.now() < endMs) {
      const credentials = credentialsOf(counts.connects);
      if (credentials === undefined) return;
      counts.connects += 1;
      const peer = await connectPeer(task, credentials);
      await Promise.race([peer.greeted, peer.closed]);
      if (peer.isGreeted) counts.accepted += 1;
      await peer.leave();
    }
  };
  await Promise.all(Array.from({ length: 8 }, one));
  return counts;
}

/** Sockets at different addresses of the loopback network, which take what comes and drop it. */
async function bindSockets(count: number): Promise<dgram.Socket[]> {
  const sockets: dgram.Socket[] = [];
  for (let index = 0; index < count; index += 1) {
    const socket = dgram.createSocket('udp4');
    socket.bind(0, `127.1.${Math.floor(index / 200)}.${1 + (index % 200)}`);
    await once(socket, 'listening');
    socket.on('message', () => {});
    sockets.push(socket);
  }
  return sockets;
}
