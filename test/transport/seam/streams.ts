/** Streams: order, flow control, resets, closes, and fairness between connections. */
import { createHash, randomBytes } from 'node:crypto';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { QuicConnection, QuicStack } from '../../../src/transport/quic-endpoint.ts';
import { BareClient } from '../../helpers/bare-client.ts';
import { eventually } from '../../helpers/eventually.ts';
import { QuicTestBed, type TestClientOptions } from '../../helpers/quic-pair.ts';
import { createTestAuthorities, type TestAuthorities } from '../../helpers/test-credentials.ts';
import { UdpProxy } from '../../helpers/udp-proxy.ts';

const KIB = 1024;
const SHUTDOWN_READ = 0;
const SHUTDOWN_WRITE = 1;
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const settle = () => new Promise((resolve) => setTimeout(resolve, 150));

/** The suite, over a stack. */
export function streamsSuite(stack: QuicStack): void {
  describe('streams', () => {
    const bed = new QuicTestBed(stack);
    let authorities: TestAuthorities;

    beforeAll(async () => {
      authorities = await createTestAuthorities();
    });
    afterEach(() => bed.close());

    async function connectedPair(options: TestClientOptions = {}) {
      const transport = { streamWindowBytes: 256 * KIB, connectionWindowBytes: 512 * KIB };
      const server = await bed.server(authorities.server, { transport });
      const client = await bed.client(
        server.endpoint.address,
        await authorities.agent('gpu-001'),
        options,
      );
      await eventually('both are connected', () => {
        return server.recorder.connected.length === 1 && client.recorder.connected.length === 1;
      });
      return { server, client, atServer: server.recorder.connected[0]! };
    }

    test('arrive whole over a network that drops, doubles and reorders', async () => {
      const server = await bed.server(authorities.server);
      const proxy = await UdpProxy.open(server.endpoint.address, {
        seed: 7,
        dropChance: 0.03,
        duplicateChance: 0.03,
        reorderChance: 0.03,
      });
      server.recorder.react = {
        onData: (connection, streamId, bytes, fin) => connection.write(streamId, bytes, fin),
      };
      const client = await bed.client(proxy.address, await authorities.agent('gpu-001'));
      await eventually('it connects', () => client.recorder.connected.length === 1);
      const sent = randomBytes(300_000);
      const streamId = client.connection.openStream('bidi')!;
      client.connection.write(streamId, sent, true);
      const echo = client.recorder.stream(client.connection, streamId);
      await eventually('the echo is complete', () => echo.fin, 50_000);
      expect(sha256(Buffer.concat(echo.chunks))).toBe(sha256(sent));
      proxy.close();
    });

    test('a server that does not read holds the client at the stream window', async () => {
      const { server, client, atServer } = await connectedPair();
      atServer.pauseReading();
      const sent = randomBytes(1000 * KIB);
      const streamId = client.connection.openStream('bidi')!;
      client.connection.write(streamId, sent, true);
      await settle();
      expect(server.recorder.bytes).toBe(0);
      expect(client.connection.queuedBytes).toBe((1000 - 256) * KIB);
      expect(client.recorder.drained).toBe(0);
      atServer.resumeReading();
      const stream = server.recorder.stream(atServer, streamId);
      await eventually('everything arrives after all', () => stream.fin);
      expect(sha256(Buffer.concat(stream.chunks))).toBe(sha256(sent));
      expect(client.connection.queuedBytes).toBe(0);
      expect(client.recorder.drained).toBe(1);
    });

    test('unread streams together hold the client at the connection window', async () => {
      const { server, client, atServer } = await connectedPair();
      atServer.pauseReading();
      for (let i = 0; i < 4; i += 1) {
        client.connection.write(client.connection.openStream('uni')!, randomBytes(300 * KIB), true);
      }
      await settle();
      expect(client.connection.queuedBytes).toBeGreaterThanOrEqual((1200 - 512) * KIB);
      atServer.resumeReading();
      await eventually('everything arrives after all', () => server.recorder.bytes === 1200 * KIB);
    });

    test('a window does not grow while its owner reads fast', async () => {
      const { server, client, atServer } = await connectedPair();
      server.recorder.keepsBytes = false;
      const streamId = client.connection.openStream('uni')!;
      client.connection.write(streamId, randomBytes(12_000 * KIB));
      await eventually('the fast part is over', () => server.recorder.bytes === 12_000 * KIB);
      atServer.pauseReading();
      client.connection.write(streamId, randomBytes(2000 * KIB));
      await settle();
      expect(client.connection.queuedBytes).toBeGreaterThanOrEqual((2000 - 256) * KIB);
    });

    test('pausing inside a handler takes effect at once', async () => {
      const { server, client, atServer } = await connectedPair();
      server.recorder.react = { onData: (connection) => connection.pauseReading() };
      const streams = [0, 1, 2].map(() => client.connection.openStream('uni')!);
      for (const streamId of streams) client.connection.write(streamId, Buffer.from('x'), true);
      for (let arrived = 1; arrived <= 3; arrived += 1) {
        await eventually('one more arrives', () => server.recorder.bytes >= arrived);
        await settle();
        expect(server.recorder.bytes).toBe(arrived);
        atServer.resumeReading();
      }
    });

    test('give their place back when both ends are done, many times over', async () => {
      const { server, client } = await connectedPair();
      server.recorder.react = {
        onData(connection, streamId, _bytes, fin) {
          if (fin && streamId % 4 === 0) connection.write(streamId, Buffer.from('done'), true);
        },
      };
      for (let round = 0; round < 20; round += 1) {
        for (const kind of ['bidi', 'uni'] as const) {
          for (let i = 0; i < 16; i += 1) {
            await openWhenAllowed(client.connection, kind, Buffer.from('0123456789'));
          }
        }
      }
      const all = () => [...server.recorder.streams.values()];
      await eventually('all have ended', () => all().filter(({ fin }) => fin).length === 640);
    });

    test('no more are opened than the peer allows', async () => {
      const { server, client } = await connectedPair();
      const opened = Array.from({ length: 20 }, () => client.connection.openStream('bidi'));
      expect(opened.filter((streamId) => streamId !== undefined)).toHaveLength(16);
      expect(server.recorder.connected[0]!.openStream('bidi')).toBe(1);
      expect(server.recorder.connected[0]!.openStream('uni')).toBe(3);
    });

    test('small writes keep their order with large ones', async () => {
      const { server, client, atServer } = await connectedPair();
      const streamId = client.connection.openStream('uni')!;
      const parts = Array.from({ length: 3000 }, (_, i) =>
        randomBytes(i % 7 === 0 ? 5000 : i % 50),
      );
      for (const part of parts) client.connection.write(streamId, part);
      client.connection.write(streamId, Buffer.alloc(0), true);
      const stream = server.recorder.stream(atServer, streamId);
      await eventually('everything arrives', () => stream.fin);
      expect(sha256(Buffer.concat(stream.chunks))).toBe(sha256(Buffer.concat(parts)));
    });

    test('what was written just before a close still arrives', async () => {
      const { server, client, atServer } = await connectedPair();
      const streamId = client.connection.openStream('uni')!;
      client.connection.write(streamId, Buffer.from('last words'), true);
      client.connection.close(0x2000, 'bye');
      await eventually('the server hears of the close', () => server.recorder.closed.length === 1);
      expect(Buffer.concat(server.recorder.stream(atServer, streamId).chunks).toString()).toBe(
        'last words',
      );
      expect(server.recorder.lastReason).toMatchObject({ by: 'peer', code: 0x2000, reason: 'bye' });
    });

    test('a close while the congestion window is full still reaches the peer', async () => {
      const { server, client } = await connectedPair();
      const streamId = client.connection.openStream('uni')!;
      client.connection.write(streamId, randomBytes(2000 * KIB));
      client.connection.close(0x2001, 'in a hurry');
      await eventually('both are closed', () => {
        return server.recorder.closed.length === 1 && client.recorder.closed.length === 1;
      });
      expect(server.recorder.lastReason).toMatchObject({ by: 'peer', code: 0x2001 });
      expect(client.recorder.lastReason).toMatchObject({ by: 'local', code: 0x2001 });
    });

    test('what is written on a stream that is over is dropped', async () => {
      const { server, client, atServer } = await connectedPair();
      const streamId = client.connection.openStream('bidi')!;
      client.connection.write(streamId, Buffer.from('question'), true);
      await eventually('it arrives', () => server.recorder.stream(atServer, streamId).fin);
      atServer.write(streamId, Buffer.from('answer'), true);
      await eventually('so does the answer', () => {
        return client.recorder.stream(client.connection, streamId).fin;
      });
      await settle();
      atServer.write(streamId, Buffer.from('too late'));
      client.connection.write(streamId, Buffer.from('too late'));
      await eventually('nothing stays queued', () => {
        return atServer.queuedBytes + client.connection.queuedBytes === 0;
      });
      expect(server.recorder.closed).toHaveLength(0);
    });

    test('a stream that the peer resets is reported, and the others go on', async () => {
      const { server, bare } = await barePair();
      bare.quiche.streamSend(0, Buffer.from('half a fra'), false);
      bare.quiche.streamSend(4, Buffer.from('other'), false);
      bare.flush();
      await eventually('both arrive', () => server.recorder.bytes === 15);
      bare.quiche.streamShutdown(0, SHUTDOWN_WRITE, 7);
      bare.flush();
      const connection = server.recorder.connected[0]!;
      await eventually('the reset arrives', () => server.recorder.stream(connection, 0).reset);
      bare.quiche.streamSend(4, Buffer.from('more'), true);
      bare.flush();
      await eventually('the other ends', () => server.recorder.stream(connection, 4).fin);
      expect(server.recorder.closed).toHaveLength(0);
      bare.close();
    });

    test('answers on a stream that the peer does not want any more are dropped', async () => {
      const { server, bare } = await barePair();
      bare.quiche.streamSend(0, Buffer.from('question'), false);
      bare.flush();
      await eventually('it arrives', () => server.recorder.bytes === 8);
      const connection = server.recorder.connected[0]!;
      connection.write(0, randomBytes(3000 * KIB));
      expect(connection.queuedBytes).toBeGreaterThan(0);
      bare.quiche.streamShutdown(0, SHUTDOWN_READ, 9);
      bare.flush();
      await eventually('nothing is queued', () => connection.queuedBytes === 0);
      for (let i = 0; i < 100; i += 1) connection.write(0, randomBytes(100 * KIB));
      bare.quiche.streamSend(0, Buffer.alloc(0), true);
      bare.flush();
      await eventually('the question ends', () => server.recorder.stream(connection, 0).fin);
      await settle();
      for (let i = 0; i < 100; i += 1) connection.write(0, randomBytes(100 * KIB));
      await eventually('still nothing is queued', () => connection.queuedBytes === 0);
      expect(server.recorder.closed).toHaveLength(0);
      bare.close();
    });

    async function barePair() {
      const server = await bed.server(authorities.server);
      const pair = await authorities.agent('gpu-001');
      const bare = await BareClient.connect(server.endpoint.address, { caPem: pair.caPem, pair });
      await eventually('it connects', () => server.recorder.connected.length === 1);
      return { server, bare };
    }

    test('writing after a close does nothing', async () => {
      const { client } = await connectedPair();
      const streamId = client.connection.openStream('uni')!;
      client.connection.close(0x2000, 'bye');
      client.connection.close(0x2001, 'twice');
      client.connection.write(streamId, Buffer.from('late'));
      expect(client.connection.queuedBytes).toBe(0);
      expect(client.connection.openStream('uni')).toBeUndefined();
      await eventually('it is closed', () => client.recorder.closed.length === 1);
      client.connection.write(streamId, Buffer.from('later'));
      client.connection.ping();
      client.connection.resumeReading();
      expect(client.recorder.closed).toHaveLength(1);
      expect(client.recorder.lastReason?.code).toBe(0x2000);
    });

    test('a busy connection does not keep another one waiting', async () => {
      const { server, client } = await connectedPair();
      server.recorder.keepsBytes = false;
      const busy = client.connection.openStream('uni')!;
      client.connection.write(busy, randomBytes(20_000 * KIB), true);
      const other = await bed.client(server.endpoint.address, await authorities.agent('gpu-002'));
      await eventually('the other connects', () => server.recorder.connected.length === 2);
      other.connection.write(other.connection.openStream('uni')!, Buffer.from('me too'), true);
      const second = server.recorder.connected[1]!;
      await eventually('it gets through', () => server.recorder.stream(second, 2).fin);
      await eventually('so does the busy one', () => server.recorder.bytes > 20_000 * KIB);
    });

    test('a handler that throws costs its own connection only', async () => {
      const { server, client } = await connectedPair();
      const other = await bed.client(server.endpoint.address, await authorities.agent('gpu-002'));
      await eventually('the other connects', () => server.recorder.connected.length === 2);
      server.recorder.react = {
        onData(connection) {
          if (connection === server.recorder.connected[0]) throw new Error('BUG: on purpose');
        },
      };
      client.connection.write(client.connection.openStream('uni')!, Buffer.from('trip'), true);
      await eventually('its client hears of it', () => client.recorder.closed.length === 1);
      expect(client.recorder.lastReason).toMatchObject({ by: 'peer', code: 1 });
      expect(server.errors).toHaveLength(1);
      expect(server.refusals).toEqual(['internal_error']);
      other.connection.write(other.connection.openStream('uni')!, Buffer.from('fine'), true);
      await eventually('the other goes on', () => server.recorder.bytes === 8);
    });
  });
}

async function openWhenAllowed(connection: QuicConnection, kind: 'bidi' | 'uni', bytes: Buffer) {
  let streamId: number | undefined;
  await eventually(`a ${kind} stream is allowed`, () => {
    streamId = connection.openStream(kind);
    return streamId !== undefined;
  });
  connection.write(streamId!, bytes, true);
}
