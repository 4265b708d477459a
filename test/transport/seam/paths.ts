/** Changes of address, idle connections, loss and lost peers. */
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { QuicCloseReason, QuicStack } from '../../../src/transport/quic-endpoint.ts';
import { eventually } from '../../helpers/eventually.ts';
import { QuicTestBed, type TestServer } from '../../helpers/quic-pair.ts';
import { QuicRecorder } from '../../helpers/quic-recorder.ts';
import {
  createTestAuthorities,
  SERVER_NAME,
  type TestAuthorities,
} from '../../helpers/test-credentials.ts';
import { UdpProxy } from '../../helpers/udp-proxy.ts';

/** The suite, over a stack. */
export function pathsSuite(stack: QuicStack): void {
  describe('paths', () => {
    const bed = new QuicTestBed(stack);
    let authorities: TestAuthorities;

    beforeAll(async () => {
      authorities = await createTestAuthorities();
    });
    afterEach(() => bed.close());

    test.each(['127.0.0.1', '0.0.0.0'])(
      'a connection outlives five NAT rebindings with a server on %s',
      async (host) => {
        const server = await bed.server(authorities.server, { host });
        server.recorder.react = {
          onData: (connection, streamId, bytes) => connection.write(streamId, bytes),
        };
        const local = { host: '127.0.0.1', port: server.endpoint.address.port };
        const proxy = await UdpProxy.open(local);
        const client = await bed.client(proxy.address, await authorities.agent('gpu-001'));
        await eventually('it connects', () => server.recorder.connected.length === 1);
        const streamId = client.connection.openStream('bidi')!;
        const echo = client.recorder.stream(client.connection, streamId);
        for (let rebinding = 0; rebinding <= 5; rebinding += 1) {
          client.connection.write(streamId, Buffer.from('ping'));
          await eventually(`echo ${rebinding}`, () => echo.bytes === 4 * (rebinding + 1));
          const atServer = server.recorder.connected[0]!;
          const here = { host: '127.0.0.1', port: proxy.seenPort };
          await eventually('the address is known', () => {
            return atServer.remoteAddress.port === here.port;
          });
          expect(atServer.remoteAddress).toEqual(here);
          await proxy.rebind();
        }
        expect(server.recorder.closed).toHaveLength(0);
        proxy.close();
      },
    );

    test.each([
      ['127.0.0.1', '127.0.0.1', '127.0.0.1'],
      ['0.0.0.0', '0.0.0.0', '127.0.0.1'],
      ['::1', '::1', '::1'],
      ['::', '127.0.0.1', '127.0.0.1'],
      ['::', '::', '127.0.0.1'],
    ])('a server on %s serves a client on %s that connects to %s', async (host, bindHost, to) => {
      const server = await bed.server(authorities.server, { host });
      server.recorder.react = {
        onData: (connection, streamId, bytes, fin) => connection.write(streamId, bytes, fin),
      };
      const remote = { host: to, port: server.endpoint.address.port };
      const credentials = await authorities.agent('gpu-001');
      const client = await bed.client(remote, credentials, { bindHost });
      await eventually('it connects', () => client.recorder.connected.length === 1);
      const streamId = client.connection.openStream('bidi')!;
      client.connection.write(streamId, Buffer.from('hello'), true);
      const echo = client.recorder.stream(client.connection, streamId);
      await eventually('the echo arrives', () => echo.fin);
      client.connection.close(0x2000, 'bye');
      await eventually('the close arrives', () => server.recorder.closed.length === 1);
    });

    test('a connection without a word ends as idle on both sides', async () => {
      const transport = { idleTimeoutMs: 400 };
      const server = await bed.server(authorities.server, { transport });
      const proxy = await UdpProxy.open(server.endpoint.address);
      const client = await bed.client(proxy.address, await authorities.agent('gpu-001'));
      await eventually('it connects', () => server.recorder.connected.length === 1);
      proxy.isCut = true;
      await eventually('both notice', () => {
        return server.recorder.closed.length === 1 && client.recorder.closed.length === 1;
      });
      expect(server.recorder.lastReason).toMatchObject({ by: 'idle', wasConnected: true });
      expect(client.recorder.lastReason).toMatchObject({ by: 'idle', wasConnected: true });
      expect(server.endpoint.connections).toBe(0);
      proxy.close();
    });

    test('pings keep a connection alive that has nothing else to say', async () => {
      const transport = { idleTimeoutMs: 600 };
      const server = await bed.server(authorities.server, { transport });
      const client = await bed.client(server.endpoint.address, await authorities.agent('gpu-001'));
      await eventually('it connects', () => server.recorder.connected.length === 1);
      for (let i = 0; i < 12; i += 1) {
        client.connection.ping();
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      expect(server.recorder.closed).toHaveLength(0);
      await eventually('without them it ends', () => server.recorder.closed.length === 1);
      expect(server.recorder.lastReason?.by).toBe('idle');
    });

    test('a close that was lost is repeated when the peer goes on talking', async () => {
      const server = await bed.server(authorities.server);
      // A closed connection answers for a few round trips: a busy machine can sleep through them.
      const tries = Array.from({ length: 10 }, (_, index) => index);
      const reasons: (QuicCloseReason | undefined)[] = [];
      for (const index of tries) {
        reasons.push(await reasonAfterLostClose(server, index));
        if (reasons.at(-1) !== undefined) break;
      }
      expect(reasons.at(-1)).toMatchObject({ by: 'peer', code: 0x1000 });
    });

    /** What a client hears that talks on after the server's close was lost; undefined: nothing. */
    async function reasonAfterLostClose(
      server: TestServer,
      index: number,
    ): Promise<QuicCloseReason | undefined> {
      const proxy = await UdpProxy.open(server.endpoint.address);
      const client = await bed.client(proxy.address, await authorities.agent('gpu-001'));
      await eventually('it connects', () => server.recorder.connected.length === index + 1);
      proxy.isCut = true;
      server.recorder.connected[index]!.close(0x1000, 'stopping');
      await eventually('the server has closed', () => server.recorder.closed.length === index + 1);
      proxy.isCut = false;
      expect(client.recorder.closed).toHaveLength(0);
      const refusedBefore = server.refusals.length;
      client.connection.ping();
      await eventually('the ping is answered or not known any more', () => {
        return client.recorder.closed.length === 1 || server.refusals.length > refusedBefore;
      });
      proxy.close();
      return client.recorder.lastReason;
    }

    test('the ids of a closed connection are forgotten after a while', async () => {
      const server = await bed.server(authorities.server);
      const proxy = await UdpProxy.open(server.endpoint.address);
      proxy.records = true;
      const client = await bed.client(proxy.address, await authorities.agent('gpu-001'));
      await eventually('it connects', () => client.recorder.connected.length === 1);
      let late: Buffer | undefined;
      // The first packets may travel in one datagram with the last of the handshake.
      await eventually('a packet of its own leaves', () => {
        client.connection.ping();
        late = proxy.fromClient.find((datagram) => (datagram[0]! & 0x80) === 0);
        return late !== undefined;
      });
      client.connection.close(0x2000, 'bye');
      await eventually('it is closed', () => server.recorder.closed.length === 1);
      await eventually('its packets are those of a stranger', () => {
        proxy.inject(late!);
        return server.refusals.includes('bad_packet');
      });
      proxy.close();
    });

    test('closing an endpoint tells all its peers before the socket goes', async () => {
      const server = await bed.server(authorities.server);
      const clients = await Promise.all(
        ['a', 'b', 'c'].map(async (name) =>
          bed.client(server.endpoint.address, await authorities.agent(name)),
        ),
      );
      await eventually('all connect', () => server.recorder.connected.length === 3);
      await server.endpoint.close(0x1000, 'stopping');
      await server.endpoint.close(0x1000, 'twice is fine');
      expect(server.endpoint.connections).toBe(0);
      await eventually('all clients know', () => {
        return clients.every(({ recorder }) => recorder.lastReason?.code === 0x1000);
      });
    });

    test('datagrams that the system will not send are counted and end nothing', async () => {
      const server = await bed.server(authorities.server);
      const credentials = await authorities.agent('gpu-001');
      // Without SO_BROADCAST the system answers EACCES.
      const connect = { handshakeTimeoutMs: 300 };
      const client = await bed.client({ host: '255.255.255.255', port: 9 }, credentials, {
        bindHost: '0.0.0.0',
        connect,
      });
      await eventually('it gives up', () => client.recorder.closed.length === 1);
      expect(client.endpoint.counters.socketErrors).toBeGreaterThan(0);
      const recorder = new QuicRecorder();
      client.endpoint.connect({
        remote: server.endpoint.address,
        serverName: SERVER_NAME,
        credentials,
        handshakeTimeoutMs: 10_000,
        handlers: recorder,
      });
      await eventually('the same socket still works', () => recorder.connected.length === 1);
    });

    test('an address that a socket cannot reach is an error at once', async () => {
      const credentials = await authorities.agent('gpu-001');
      const toName = { host: 'localhost', port: 1 };
      await expect(bed.client(toName, credentials)).rejects.toThrow('needs an IPv4 address');
      const toV6 = { host: '::1', port: 1 };
      await expect(bed.client(toV6, credentials)).rejects.toThrow('needs an IPv4 address');
    });

    test('a port that is taken is an error that names it', async () => {
      const server = await bed.server(authorities.server);
      const { port } = server.endpoint.address;
      await expect(bed.server(authorities.server, { port })).rejects.toThrow(
        `cannot bind UDP 127.0.0.1:${port}`,
      );
    });
  });
}
