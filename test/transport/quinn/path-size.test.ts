/** How large datagrams become: as large as both ends allow and the path carries, found out. */
import { afterEach, expect, test } from 'vitest';
import { quinnStack } from '../../../src/transport/quinn/quinn-endpoint.ts';
import { eventually } from '../../helpers/eventually.ts';
import { QuicTestBed } from '../../helpers/quic-pair.ts';
import { createTestAuthorities } from '../../helpers/test-credentials.ts';
import { UdpProxy } from '../../helpers/udp-proxy.ts';

/** An Ethernet jumbo frame without its headers. */
const JUMBO_BYTES = 8900;
const MESSAGE = Buffer.alloc(200_000, 7);

const bed = new QuicTestBed(quinnStack);
afterEach(() => bed.close());

/** A client and an echo, `clientBytes` and JUMBO_BYTES allowed, over a path of `pathBytes`. */
async function echoOver(pathBytes: number, clientBytes = JUMBO_BYTES) {
  const authorities = await createTestAuthorities();
  const transport = { maxUdpPayloadBytes: JUMBO_BYTES };
  const server = await bed.server(authorities.server, { transport });
  server.recorder.react = { onData: (connection, id, bytes) => connection.write(id, bytes) };
  const proxy = await UdpProxy.open(server.endpoint.address);
  proxy.maxDatagramBytes = pathBytes;
  const client = await bed.client(proxy.address, await authorities.agent('gpu-001'), {
    transport: { maxUdpPayloadBytes: clientBytes },
  });
  await eventually('it connects', () => client.recorder.connected.length === 1);
  const streamId = client.connection.openStream('bidi')!;
  let written = 0;
  /** Sends more until `isEnough`. */
  const until = (what: string, isEnough: () => boolean) =>
    eventually(what, () => {
      if (client.recorder.bytes === written) {
        client.connection.write(streamId, MESSAGE);
        written += MESSAGE.length;
      }
      return isEnough();
    });
  return { proxy, client, until };
}

test('datagrams grow to jumbo frames both ways where both ends allow them', async () => {
  const { proxy, until } = await echoOver(65_507);
  await until('both send large ones', () => {
    const { fromClient, fromServer } = proxy.largest;
    return Math.min(fromClient, fromServer) > JUMBO_BYTES - 100;
  });
  proxy.close();
});

test('a path that carries less is found out, and loses nothing', async () => {
  const { proxy, client, until } = await echoOver(1400);
  await until('both have found its size', () => {
    const { fromClient, fromServer } = proxy.largest;
    return Math.min(fromClient, fromServer) > 1300;
  });
  await until('much has come back', () => client.recorder.bytes > 5 * MESSAGE.length);
  expect(client.recorder.closed).toHaveLength(0);
  proxy.close();
});

test('nobody is sent larger datagrams than it takes', async () => {
  const { proxy, client, until } = await echoOver(65_507, 1350);
  await until('much has come back', () => client.recorder.bytes > 10 * MESSAGE.length);
  expect(proxy.largest.fromServer).toBeLessThanOrEqual(1350);
  expect(proxy.largest.fromServer).toBeGreaterThan(1250);
  proxy.close();
});
