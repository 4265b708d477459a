/** Datagrams that no honest peer sends. */
import dgram from 'node:dgram';
import { once } from 'node:events';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { QuicAddress, QuicStack } from '../../../src/transport/quic-endpoint.ts';
import { quicheStack } from '../../../src/transport/quiche/quiche-endpoint.ts';
import { eventually } from '../../helpers/eventually.ts';
import { QuicTestBed, type TestServer } from '../../helpers/quic-pair.ts';
import { type SeededRandom, seededRandom } from '../../helpers/seeded-random.ts';
import { createTestAuthorities, type TestAuthorities } from '../../helpers/test-credentials.ts';
import { UdpProxy } from '../../helpers/udp-proxy.ts';

const SEED = Number(process.env.SEED ?? 20_251_121);
const FUZZ_DATAGRAMS = 6000;

/** The suite, over a stack. */
export function hostileDatagramsSuite(stack: QuicStack): void {
  describe('an endpoint that anybody can send to', () => {
    const bed = new QuicTestBed(stack);
    const eager = new QuicTestBed(quicheStack);
    let authorities: TestAuthorities;

    beforeAll(async () => {
      authorities = await createTestAuthorities();
    });
    afterEach(async () => {
      await eager.close();
      await bed.close();
    });

    /** A new client gets through and its data arrives. */
    async function expectAlive(server: TestServer): Promise<void> {
      const before = server.recorder.bytes;
      const client = await bed.client(server.endpoint.address, await authorities.agent('honest'));
      await eventually('an honest client connects', () => client.recorder.connected.length === 1);
      const streamId = client.connection.openStream('bidi')!;
      client.connection.write(streamId, Buffer.from('still here'), true);
      await eventually('its data arrives', () => server.recorder.bytes === before + 10);
      expect(server.errors).toEqual([]);
      expect(server.refusals).not.toContain('internal_error');
    }

    test('drops a 0-RTT packet for an unknown connection and counts it', async () => {
      const server = await bed.server(authorities.server);
      const zeroRtt = Buffer.alloc(1200, 0x41);
      zeroRtt.set([
        0xd3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 7, 6, 5, 4, 3, 2, 1, 0x44, 0x90,
      ]);
      await sendAll(server.endpoint.address, [zeroRtt]);
      await eventually('it is counted', () => server.refusals.includes('bad_packet'));
      expect(server.endpoint.connections).toBe(0);
      await expectAlive(server);
    });

    test.each(['bidi', 'uni'] as const)(
      'delivers %s stream data that comes in the same datagram as the Finished',
      async (kind) => {
        const server = await bed.server(authorities.server);
        const proxy = await UdpProxy.open(server.endpoint.address);
        // What does not travel beside a handshake packet is lost for good.
        proxy.filter = (datagram) => (datagram[0]! & 0x80) !== 0;
        // Of quiche, which sends so.
        const client = await eager.client(proxy.address, await authorities.agent('gpu-001'));
        client.recorder.react = {
          onConnected(connection) {
            connection.write(connection.openStream(kind)!, Buffer.from('early'), true);
          },
        };
        await eventually('the data arrives', () => server.recorder.bytes === 5);
        expect(server.recorder.connected).toHaveLength(1);
        expect([...server.recorder.streams.values()][0]!.fin).toBe(true);
        proxy.close();
      },
    );

    test('opens no connection for an Initial packet that is too short', async () => {
      const { server, initial } = await recordHandshake();
      const before = server.refusals.length;
      const short = Buffer.from(initial.subarray(0, 1199));
      short[6]! ^= 1;
      await sendAll(server.endpoint.address, [short]);
      await eventually('it is counted', () => server.refusals.length > before);
      expect(server.refusals.at(-1)).toBe('bad_packet');
    });

    test('answers an unknown version with version negotiation', async () => {
      const { server, initial } = await recordHandshake();
      const unknown = Buffer.from(initial);
      unknown.writeUInt32BE(0x0a0a0a0a, 1);
      unknown[6]! ^= 1;
      const socket = dgram.createSocket('udp4');
      socket.send(unknown, server.endpoint.address.port, server.endpoint.address.host);
      const [answer] = (await once(socket, 'message')) as [Buffer];
      socket.close();
      expect(answer.readUInt32BE(1)).toBe(0);
      expect(answer.readUInt32BE(answer.length - 4)).toBe(1);
      expect(server.refusals).toContain('version');
    });

    test(`survives garbage, truncated and mutated datagrams (SEED=${SEED})`, async () => {
      const { server, datagrams } = await recordHandshake();
      const random = seededRandom(SEED);
      for (let sent = 0; sent < FUZZ_DATAGRAMS; sent += 200) {
        const batch = Array.from({ length: 200 }, () => hostile(random, datagrams));
        const before = server.endpoint.counters.datagramsReceived;
        await sendAll(server.endpoint.address, batch);
        await eventually('most of them arrive', () => {
          return server.endpoint.counters.datagramsReceived >= before + 150;
        });
      }
      expect(server.recorder.connected).toHaveLength(1);
      await expectAlive(server);
    });

    test('a connection survives mutated packets that carry its id', async () => {
      const { server, client, proxy } = await recordHandshake();
      const random = seededRandom(SEED);
      // The first packets may travel in one datagram with the last of the handshake.
      let live: Buffer[] = [];
      await eventually('a packet of its own leaves', () => {
        client.connection.ping();
        live = proxy.fromClient.filter((datagram) => (datagram[0]! & 0x80) === 0);
        return live.length > 0;
      });
      for (let i = 0; i < 500; i += 1) {
        const datagram = Buffer.from(live[random.below(live.length)]!);
        datagram[21 + random.below(datagram.length - 21)]! ^= 1 + random.below(255);
        proxy.inject(datagram);
      }
      const streamId = client.connection.openStream('bidi')!;
      client.connection.write(streamId, Buffer.from('after'), true);
      await eventually('the data arrives', () => server.recorder.bytes === 15);
      expect(server.recorder.closed).toHaveLength(0);
      proxy.close();
    });

    /** A server, and what an honest client sent it over a whole short connection. */
    async function recordHandshake() {
      const server = await bed.server(authorities.server);
      const proxy = await UdpProxy.open(server.endpoint.address);
      proxy.records = true;
      const client = await bed.client(proxy.address, await authorities.agent('gpu-001'));
      await eventually('it connects', () => client.recorder.connected.length === 1);
      client.connection.write(
        client.connection.openStream('bidi')!,
        Buffer.from('0123456789'),
        true,
      );
      await eventually('its data arrives', () => server.recorder.bytes === 10);
      const datagrams = proxy.fromClient;
      return { server, client, proxy, datagrams, initial: datagrams[0]! };
    }
  });
}

async function sendAll(to: QuicAddress, datagrams: readonly Buffer[]): Promise<void> {
  const socket = dgram.createSocket('udp4');
  for (const datagram of datagrams) {
    await new Promise((resolve) => socket.send(datagram, to.port, to.host, resolve));
  }
  socket.close();
}

function randomBytes(random: SeededRandom, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(256)));
}

function hostile(random: SeededRandom, genuine: readonly Buffer[]): Buffer {
  const kind = random.below(5);
  if (kind === 0) return randomBytes(random, random.below(1400));
  const datagram = Buffer.from(genuine[random.below(genuine.length)]!);
  if (kind === 1) return datagram.subarray(0, random.below(datagram.length));
  if (kind === 2) {
    // A long header with wild lengths.
    const wild = randomBytes(random, 1200 + random.below(200));
    wild.writeUInt32BE(random.next() < 0.8 ? 1 : random.below(2 ** 32), 1);
    wild[0] = 0xc0 | random.below(64);
    return wild;
  }
  const headerOnly = kind === 3;
  for (let flips = 1 + random.below(8); flips > 0; flips -= 1) {
    const at = random.below(headerOnly ? Math.min(64, datagram.length) : datagram.length);
    datagram[at] = random.below(256);
  }
  return datagram;
}
