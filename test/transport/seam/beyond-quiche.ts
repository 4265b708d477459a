/** What quiche 0.18 cannot do, and a stack that is on by default must: see docs/security.md. */
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { QuicStack } from '../../../src/transport/quic-endpoint.ts';
import { buildInitial, captureClientHello } from '../../../trials/flood/attacks/initial-packets.ts';
import { eventually } from '../../helpers/eventually.ts';
import { QuicTestBed } from '../../helpers/quic-pair.ts';
import { createTestAuthorities, type TestAuthorities } from '../../helpers/test-credentials.ts';
import { boundSocket, UdpProxy } from '../../helpers/udp-proxy.ts';

const PORTS = 12;
const HALF_OPEN = 1000;
const MB = 1e6;

/** The suite, over a stack. */
export function beyondQuicheSuite(stack: QuicStack): void {
  describe('beyond quiche', () => {
    const bed = new QuicTestBed(stack);
    let authorities: TestAuthorities;

    beforeAll(async () => {
      authorities = await createTestAuthorities();
    });
    afterEach(() => bed.close());

    test(`a connection outlives ${PORTS} changes of its port`, async () => {
      const server = await bed.server(authorities.server);
      server.recorder.react = {
        onData: (connection, streamId, bytes) => connection.write(streamId, bytes),
      };
      const proxy = await UdpProxy.open(server.endpoint.address);
      const client = await bed.client(proxy.address, await authorities.agent('gpu-001'));
      await eventually('it connects', () => server.recorder.connected.length === 1);
      const streamId = client.connection.openStream('bidi')!;
      const echo = client.recorder.stream(client.connection, streamId);
      for (let change = 1; change <= PORTS; change += 1) {
        await proxy.rebind();
        client.connection.write(streamId, Buffer.from('ping'));
        await eventually(`echo ${change}`, () => echo.bytes === 4 * change);
      }
      expect(server.recorder.closed).toHaveLength(0);
      proxy.close();
    });

    test('a close waits for what was written, also where a part of it is lost', async () => {
      const server = await bed.server(authorities.server);
      const proxy = await UdpProxy.open(server.endpoint.address);
      const client = await bed.client(proxy.address, await authorities.agent('gpu-001'));
      await eventually('it connects', () => server.recorder.connected.length === 1);
      let lost = 0;
      // The first one with data: the streams after it are acknowledged before the first.
      proxy.filter = (datagram) => datagram.length < 1000 || ++lost > 1;
      for (let stream = 0; stream < 3; stream += 1) {
        client.connection.write(client.connection.openStream('uni')!, Buffer.alloc(1100), true);
      }
      client.connection.close(0x2000, 'bye');
      await eventually('the server hears of the close', () => server.recorder.closed.length === 1);
      expect(server.recorder.bytes).toBe(3300);
      proxy.close();
    });

    test('at the bound on memory the oldest handshakes go, and newcomers get in', async () => {
      const maxMemoryBytes = 4 * MB;
      const accept = { maxMemoryBytes, maxHandshakes: 10_000, handshakeTimeoutMs: 60_000 };
      const server = await bed.server(authorities.server, { accept });
      const credentials = await authorities.agent('gpu-001');
      const early = await bed.client(server.endpoint.address, credentials);
      await eventually('one is connected', () => early.recorder.connected.length === 1);
      const socket = await boundSocket();
      const hello = captureClientHello();
      for (let sent = 0; sent < HALF_OPEN; sent += 1) {
        const id = Buffer.alloc(8);
        id.writeUInt32BE(sent);
        const { port, host } = server.endpoint.address;
        socket.send(buildInitial(hello, id, Buffer.alloc(0)), port, host);
        if (sent % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await eventually('the bound is reached', () => server.recorder.closed.length > 0);
      expect(server.recorder.lastReason).toMatchObject({ by: 'handshake-timeout' });
      const late = await bed.client(server.endpoint.address, credentials);
      await eventually('a newcomer gets in', () => late.recorder.connected.length === 1);
      expect(early.recorder.closed).toHaveLength(0);
      expect(server.endpoint.counters.memoryBytes).toBeLessThan(3 * maxMemoryBytes);
      socket.close();
    });
  });
}
