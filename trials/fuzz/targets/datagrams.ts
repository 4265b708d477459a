/**
 * Datagrams of anybody, at a real listener with a neighbour on it. Damaged are the datagrams of a
 * genuine client: its first packet, its handshake, its data and the end.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import type { QuicAddress } from '../../../src/transport/quic-endpoint.ts';
import type { FuzzTarget } from '../fuzz-target.ts';
import { ListenerUnderFire, sendBatch, until } from '../listener-under-fire.ts';

const DATAGRAMS_IN_FLIGHT = 64;
const DATAGRAM_BYTES_MAX = 1500;

/** Sends each input as one datagram. */
export async function datagramTarget(): Promise<FuzzTarget> {
  const fire = await ListenerUnderFire.open();
  const seeds = await recordClient(fire);
  const socket = dgram.createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  // Answers are taken from the socket and dropped.
  socket.on('message', () => {});
  let expected = 0;
  return {
    name: 'datagrams',
    what: 'UDP datagrams at a real listener',
    seeds,
    tokens: [
      Buffer.from([0, 0, 0, 1]),
      Buffer.alloc(20, 7),
      Buffer.alloc(1200),
      Buffer.from([0x40]),
    ],
    async run(input) {
      const datagram = input.subarray(0, DATAGRAM_BYTES_MAX);
      if (expected === 0) expected = fire.datagramsReceived;
      expected += 1;
      socket.send(datagram, fire.address.port, fire.address.host);
      if (expected % DATAGRAMS_IN_FLIGHT !== 0) return;
      await fire.caughtUp(expected);
      expected = fire.datagramsReceived;
    },
    check: () => fire.assertWell(),
    async close() {
      socket.close();
      await fire.close();
    },
  };
}

/** What a client sends from its first packet to its close. */
async function recordClient(fire: ListenerUnderFire): Promise<Buffer[]> {
  const relay = await RecordingRelay.open(fire.address);
  const client = await fire.connect('recorded', undefined, relay.address);
  sendBatch(client.connection);
  await until('its data has gone', () => client.connection.queuedBytes === 0);
  await client.endpoint.close(7, 'done');
  relay.close();
  return relay.recorded;
}

class RecordingRelay {
  readonly recorded: Buffer[] = [];
  readonly #front = dgram.createSocket('udp4');
  readonly #back = dgram.createSocket('udp4');

  static async open(server: QuicAddress): Promise<RecordingRelay> {
    const relay = new RecordingRelay();
    for (const socket of [relay.#front, relay.#back]) {
      socket.bind(0, '127.0.0.1');
      await once(socket, 'listening');
    }
    relay.#front.on('message', (datagram, client) => {
      relay.recorded.push(datagram);
      relay.#back.removeAllListeners('message');
      relay.#back.on('message', (answer) => relay.#front.send(answer, client.port));
      relay.#back.send(datagram, server.port, server.host);
    });
    return relay;
  }

  get address(): QuicAddress {
    return { host: '127.0.0.1', port: this.#front.address().port };
  }

  close(): void {
    this.#front.close();
    this.#back.close();
  }
}
