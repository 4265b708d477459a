/** How many strangers are let in, and on what proof of their address. */
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { issueCertificate } from '../../../src/collector/cli/development-certificates.ts';
import type { QuicStack } from '../../../src/transport/quic-endpoint.ts';
import { buildInitial, captureClientHello } from '../../../trials/flood/attacks/initial-packets.ts';
import { eventually } from '../../helpers/eventually.ts';
import { QuicTestBed } from '../../helpers/quic-pair.ts';
import {
  createTestAuthorities,
  SERVER_NAME,
  type TestAuthorities,
} from '../../helpers/test-credentials.ts';
import { boundSocket, UdpProxy } from '../../helpers/udp-proxy.ts';

/** What a server may send to an address that has not answered (RFC 9000 section 8.1). */
const AMPLIFICATION_MAX = 3;

/** The suite, over a stack. */
export function strangersSuite(stack: QuicStack): void {
  describe('strangers at an endpoint', () => {
    const bed = new QuicTestBed(stack);
    let authorities: TestAuthorities;

    beforeAll(async () => {
      authorities = await createTestAuthorities();
    });
    afterEach(() => bed.close());

    const agent = (name = 'gpu-001') => authorities.agent(name);

    test('connect after a retry where the address must always be proven', async () => {
      const server = await bed.server(authorities.server, { accept: { alwaysRetry: true } });
      const client = await bed.client(server.endpoint.address, await agent());
      await eventually('it connects', () => server.recorder.connected.length === 1);
      expect(server.endpoint.counters.retriesSent).toBe(1);
      client.connection.write(client.connection.openStream('bidi')!, Buffer.from('hello'), true);
      await eventually('its data arrives', () => server.recorder.bytes === 5);
    });

    test('are asked for their address only while too many handshakes are in flight', async () => {
      const server = await bed.server(authorities.server, { accept: { maxHandshakes: 1 } });
      const first = await bed.client(server.endpoint.address, await agent('gpu-001'));
      await eventually('the first connects', () => server.recorder.connected.length === 1);
      expect(server.endpoint.counters.retriesSent).toBe(0);
      expect(first.recorder.closed).toHaveLength(0);
      // A half-open connection: only its first packet arrives.
      const proxy = await UdpProxy.open(server.endpoint.address);
      let passed = 0;
      proxy.filter = () => ++passed === 1;
      await bed.client(proxy.address, await agent('gpu-002'));
      await eventually('the second is half open', () => server.endpoint.handshakes === 1);
      await bed.client(server.endpoint.address, await agent('gpu-003'));
      await eventually('the third connects', () => server.recorder.connected.length === 2);
      expect(server.endpoint.counters.retriesSent).toBe(1);
      proxy.close();
    });

    test('get nowhere with a forged token', async () => {
      const server = await bed.server(authorities.server, { accept: { alwaysRetry: true } });
      const proxy = await UdpProxy.open(server.endpoint.address);
      // The second Initial carries the token; its first byte of expiry is changed on the way.
      proxy.filter = (datagram) => {
        const token = findToken(datagram);
        if (token !== undefined) token[0]! ^= 1;
        return true;
      };
      const connect = { handshakeTimeoutMs: 400 };
      const client = await bed.client(proxy.address, await agent(), { connect });
      // A stack may count it, or take it for no token and ask once more for a proof.
      await eventually('it is noticed', () => {
        return server.refusals.includes('bad_token') || server.endpoint.counters.retriesSent > 1;
      });
      await eventually('the client gives up', () => client.recorder.closed.length === 1);
      expect(client.recorder.lastReason?.by).toBe('handshake-timeout');
      expect(server.recorder.connected).toHaveLength(0);
      expect(server.endpoint.connections).toBe(0);
      proxy.close();
    });

    test('are dropped when they bring the token of another address', async () => {
      const server = await bed.server(authorities.server, { accept: { alwaysRetry: true } });
      const proxy = await UdpProxy.open(server.endpoint.address);
      proxy.filter = (datagram) => {
        if (findToken(datagram) === undefined) return true;
        void proxy.rebind().then(() => proxy.inject(datagram));
        return false;
      };
      const connect = { handshakeTimeoutMs: 400 };
      await bed.client(proxy.address, await agent(), { connect });
      await eventually('it is counted', () => server.refusals.includes('bad_token'));
      expect(server.endpoint.connections).toBe(0);
      proxy.close();
    });

    test('are refused at once, and told so, over the bound on connections', async () => {
      const server = await bed.server(authorities.server, { accept: { maxConnections: 2 } });
      const clients = [
        await bed.client(server.endpoint.address, await agent('gpu-001')),
        await bed.client(server.endpoint.address, await agent('gpu-002')),
      ];
      await eventually('two connect', () => server.recorder.connected.length === 2);
      const third = await bed.client(server.endpoint.address, await agent('gpu-003'));
      await eventually('the third is refused', () => third.recorder.closed.length === 1, 2000);
      expect(third.recorder.lastReason).toMatchObject({
        by: 'peer',
        isApplication: false,
        code: 2,
        reason: 'too many connections',
        wasConnected: false,
      });
      expect(server.refusals).toEqual(['max_connections']);
      clients[0]!.connection.close(0x2000, 'done');
      await eventually('one leaves', () => server.endpoint.connections === 1);
      await bed.client(server.endpoint.address, await agent('gpu-004'));
      await eventually('there is room again', () => server.recorder.connected.length === 3);
    });

    test('are let in over the bound in the place of a handshake that nobody goes on with', async () => {
      const server = await bed.server(authorities.server, { accept: { maxConnections: 2 } });
      const proxies = await Promise.all([1, 2].map(() => UdpProxy.open(server.endpoint.address)));
      for (const proxy of proxies) {
        let passed = 0;
        proxy.filter = () => ++passed === 1;
        await bed.client(proxy.address, await agent());
      }
      await eventually('two are half open', () => server.endpoint.handshakes === 2);
      for (const nodeId of ['gpu-003', 'gpu-004']) {
        const client = await bed.client(server.endpoint.address, await agent(nodeId));
        const before = server.recorder.connected.length;
        await eventually(`${nodeId} connects`, () => server.recorder.connected.length > before);
        expect(client.recorder.closed).toHaveLength(0);
      }
      expect(server.recorder.closed.map(({ reason }) => reason.by)).toEqual([
        'handshake-timeout',
        'handshake-timeout',
      ]);
      expect(server.endpoint.connections).toBe(2);
      expect(server.endpoint.handshakes).toBe(0);
      // Those who are through are never the ones to go.
      const late = await bed.client(server.endpoint.address, await agent('gpu-005'));
      await eventually('the next is refused', () => late.recorder.closed.length === 1);
      expect(server.refusals).toEqual(['max_connections']);
      for (const proxy of proxies) proxy.close();
    });

    test('are refused while the endpoint stops accepting, and others go on', async () => {
      const server = await bed.server(authorities.server);
      const early = await bed.client(server.endpoint.address, await agent('gpu-001'));
      await eventually('it connects', () => server.recorder.connected.length === 1);
      server.endpoint.stopAccepting();
      const late = await bed.client(server.endpoint.address, await agent('gpu-002'));
      await eventually('the late one is refused', () => late.recorder.closed.length === 1);
      expect(late.recorder.lastReason).toMatchObject({ by: 'peer', code: 2, reason: 'stopping' });
      expect(server.refusals).toEqual(['stopping']);
      early.connection.write(early.connection.openStream('uni')!, Buffer.from('on'), true);
      await eventually('the early one goes on', () => server.recorder.bytes === 2);
    });

    test('who say nothing more get at most three times what they sent', async () => {
      const handshakeTimeoutMs = 4000;
      // With so many names the certificate is longer than what may be sent.
      const names = Array.from({ length: 300 }, (_, i) => `collector-${i}.example.test`);
      const request = { commonName: SERVER_NAME, dnsNames: [SERVER_NAME, ...names] };
      const long = await issueCertificate(authorities.collectors, request);
      const credentials = { ...long, caPem: authorities.agents.certPem };
      const server = await bed.server(credentials, { accept: { handshakeTimeoutMs } });
      const socket = await boundSocket();
      const initial = buildInitial(captureClientHello(), Buffer.alloc(8, 7), Buffer.alloc(0));
      let answered = 0;
      socket.on('message', (datagram: Buffer) => {
        answered += datagram.length;
      });
      const { port, host } = server.endpoint.address;
      socket.send(initial, port, host);
      // With all that is sent again until the handshake is given up.
      await eventually('it is given up', () => server.recorder.closed.length === 1);
      expect(answered).toBeGreaterThan(0);
      expect(answered).toBeLessThanOrEqual(AMPLIFICATION_MAX * initial.length);
      socket.close();
    });

    test('who leave a handshake half open are dropped at the deadline', async () => {
      const server = await bed.server(authorities.server, { accept: { handshakeTimeoutMs: 300 } });
      const proxy = await UdpProxy.open(server.endpoint.address);
      let passed = 0;
      proxy.filter = () => ++passed === 1;
      await bed.client(proxy.address, await agent());
      await eventually('a handshake is in flight', () => server.endpoint.handshakes === 1);
      await eventually('it is dropped', () => server.recorder.closed.length === 1);
      const reason = { by: 'handshake-timeout', wasConnected: false };
      expect(server.recorder.lastReason).toMatchObject(reason);
      expect(server.endpoint.handshakes).toBe(0);
      expect(server.endpoint.connections).toBe(0);
      proxy.close();
    });

    test('a client gives up where nobody answers', async () => {
      const connect = { handshakeTimeoutMs: 300 };
      const client = await bed.client({ host: '127.0.0.1', port: 9 }, await agent(), { connect });
      await eventually('it gives up', () => client.recorder.closed.length === 1);
      expect(client.recorder.lastReason).toMatchObject({
        by: 'handshake-timeout',
        wasConnected: false,
      });
      expect(client.endpoint.connections).toBe(0);
    });
  });
}

/** The retry token of an Initial packet, as a view; undefined where there is none. */
function findToken(datagram: Buffer): Buffer | undefined {
  if ((datagram[0]! & 0xf0) !== 0xc0) return undefined;
  const sourceAt = 6 + datagram[5]!;
  const tokenAt = sourceAt + 1 + datagram[sourceAt]!;
  // A length of two bytes has 01 in front.
  const isLong = datagram[tokenAt]! >> 6 === 1;
  const length = isLong ? datagram.readUInt16BE(tokenAt) & 0x3fff : datagram[tokenAt]! & 0x3f;
  const start = tokenAt + (isLong ? 2 : 1);
  return length === 0 ? undefined : datagram.subarray(start, start + length);
}
