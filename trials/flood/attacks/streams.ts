/**
 * Attacks with a certificate on what a connection costs: streams, frames that never end, answers
 * that are never read.
 */
import { type Attack, type AttackTask, NEWCOMER, pause, turn } from '../attack.ts';
import { smallBatchFrame } from './hostile-batches.ts';
import { type AttackPeer, connectPeer, REFUSED_FRAME, untilTaken } from './peer.ts';

const MIB = 1024 * 1024;
/** The default of `server.max_connections_per_node`. */
const CONNECTIONS_PER_NODE = 8;
const CONNECT_TRIES_MAX = 100;
/** An idle connection keeps its place for this long against a new one of its node. */
const REPLACEABLE_AFTER_MS = 10_000;

/** Every stream that every connection of eight nodes may have, each with a frame that crawls. */
export const slowStreams: Attack = {
  name: 'slow-streams',
  what: 'slow loris: 64 connections with 16 streams, each a byte of a 1 MiB frame every 200 ms',
  settings: {},
  nodes: 8,
  async run(task) {
    const peers = await connectAll(task, 8);
    const streams = peers.flatMap((peer) =>
      Array.from({ length: 16 }, () => ({ peer, id: peer.connection.openStream('bidi') })),
    );
    const header = Buffer.alloc(5);
    header.writeUInt32BE(MIB);
    for (const { peer, id } of streams) if (id !== undefined) peer.connection.write(id, header);
    let bytes = 0;
    for (const endMs = endOf(task); performance.now() < endMs; await pause(200)) {
      for (const { peer, id } of streams) {
        if (id === undefined || !peer.isOpen) continue;
        peer.connection.write(id, Buffer.from([1]));
        bytes += 1;
      }
    }
    const open = streams.filter(({ id }) => id !== undefined).length;
    await leaveAll(peers);
    return { connections: peers.length, streams: open, bytes };
  },
};

/** A good frame, one byte to a datagram. */
export const dribbledFrame: Attack = {
  name: 'dribbled-frame',
  what: 'frames sent one byte at a time, each byte a datagram of its own',
  settings: {},
  nodes: 1,
  async run(task) {
    const [peer] = await connectAll(task, 1);
    const streamId = peer?.connection.openStream('bidi');
    if (peer === undefined || streamId === undefined) return { bytes: 0 };
    let bytes = 0;
    const frame = smallBatchFrame();
    for (const endMs = endOf(task); performance.now() < endMs && peer.isOpen; ) {
      for (let at = 0; at < frame.length; at += 1) {
        peer.connection.write(streamId, frame.subarray(at, at + 1));
        bytes += 1;
        await turn();
      }
      await untilTaken(peer, 1024);
    }
    await peer.leave();
    return { bytes, frames: Math.floor(bytes / frame.length) };
  },
};

/** Announces the largest frame that there is, again and again. */
export const giantLength: Attack = {
  name: 'giant-length',
  what: 'frames that announce 4 GiB, on a new connection each time',
  settings: {},
  nodes: 4,
  async run(task) {
    const counts = { connects: 0, refused: 0 };
    const endMs = endOf(task);
    const announce = async (index: number) => {
      while (performance.now() < endMs) {
        counts.connects += 1;
        const credentials = task.credentials[index % task.credentials.length];
        if (credentials === undefined) return;
        const peer = await connectPeer(task, credentials, {
          isSilent: true,
          onConnected(connection) {
            const streamId = connection.openStream('bidi');
            const bytes = Buffer.alloc(64 * 1024, 0xff);
            if (streamId !== undefined) connection.write(streamId, bytes);
          },
        });
        const reason = await peer.closed;
        if (reason.isApplication && reason.code === 0x1001) counts.refused += 1;
        await peer.leave();
      }
    };
    await Promise.all(Array.from({ length: 4 }, (_, index) => announce(index)));
    return counts;
  },
};

/** Asks all the time and has no room for an answer. */
export const unreadAcks: Attack = {
  name: 'unread-acks',
  what: '16 peers that send refused frames at full speed and never read an answer',
  settings: {},
  nodes: 2,
  async run(task) {
    const counts = { frames: 0, closed: 0 };
    const endMs = endOf(task);
    const chunk = Buffer.alloc(REFUSED_FRAME.length * 1000, REFUSED_FRAME);
    const ask = async (index: number) => {
      while (performance.now() < endMs) {
        const credentials = task.credentials[index % task.credentials.length];
        if (credentials === undefined) return;
        const peer = await connectPeer(task, credentials, {
          transport: { streamWindowBytes: 1, connectionWindowBytes: 1 },
          onConnected: (connection) => connection.pauseReading(),
        });
        await connectedOrClosed(peer);
        const streamId = peer.connection.openStream('bidi');
        while (streamId !== undefined && peer.isOpen && performance.now() < endMs) {
          peer.connection.write(streamId, chunk);
          counts.frames += 1000;
          while (peer.isOpen && peer.connection.queuedBytes > MIB && performance.now() < endMs) {
            await pause(5);
          }
          await turn();
        }
        if (!peer.isOpen) counts.closed += 1;
        await peer.leave();
      }
    };
    await Promise.all(Array.from({ length: 16 }, (_, index) => ask(index)));
    return counts;
  },
};

/** A stream for every batch, as many as there is room for. */
export const manyStreams: Attack = {
  name: 'many-streams',
  what: 'a stream for every batch of one sample, opened and ended as fast as allowed',
  settings: {},
  nodes: 2,
  async run(task) {
    const peers = await connectAll(task, 2);
    const frame = smallBatchFrame();
    const endMs = endOf(task);
    let streams = 0;
    const open = async (peer: AttackPeer) => {
      while (performance.now() < endMs && peer.isOpen) {
        for (const kind of ['bidi', 'uni'] as const) {
          for (let id = peer.connection.openStream(kind); id !== undefined; ) {
            peer.connection.write(id, frame, true);
            streams += 1;
            id = peer.connection.openStream(kind);
          }
        }
        await turn();
      }
    };
    await Promise.all(peers.map(open));
    await leaveAll(peers);
    return { streams };
  },
};

/** Until the node whose certificate was stolen may take a place again, there is nothing to see. */
export const idleConnections: Attack = {
  name: 'idle-connections',
  what: 'all the connections that a node may have, idle, with the stolen certificate of the newcomer',
  settings: {},
  nodes: 1,
  stolenFrom: NEWCOMER,
  async run(task) {
    const peers: AttackPeer[] = [];
    const open = () => peers.filter(({ isOpen }) => isOpen).length;
    // The newcomer has a place for itself now and then.
    for (let tries = 0; open() < CONNECTIONS_PER_NODE && tries < CONNECT_TRIES_MAX; tries += 1) {
      peers.push(...(await connectAll(task, 1)));
    }
    const connections = open();
    await pause(REPLACEABLE_AFTER_MS + task.seconds * 1000);
    const replaced = connections - open();
    await leaveAll(peers);
    return { connections, replaced };
  },
};

function endOf(task: AttackTask): number {
  return performance.now() + task.seconds * 1000;
}

/** So many connections for each node that the attacker is. */
export async function connectAll(task: AttackTask, each: number): Promise<AttackPeer[]> {
  const peers: AttackPeer[] = [];
  for (const credentials of task.credentials) {
    for (let count = 0; count < each; count += 1) {
      const peer = await connectPeer(task, credentials);
      await Promise.race([peer.greeted, peer.closed]);
      peers.push(peer);
    }
  }
  return peers;
}

export async function leaveAll(peers: readonly AttackPeer[]): Promise<void> {
  await Promise.all(peers.map((peer) => peer.leave()));
}

/** For a peer that reads nothing, and so is never greeted. */
async function connectedOrClosed(peer: AttackPeer): Promise<void> {
  while (peer.isOpen && peer.connection.openStream('uni') === undefined) await pause(1);
}
