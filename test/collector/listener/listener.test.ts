import dgram from 'node:dgram';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  createAuthority,
  issueCertificate,
} from '../../../src/collector/cli/development-certificates.ts';
import type { QuicAddress } from '../../../src/transport/quic-endpoint.ts';
import { tlsStack } from '../../../src/transport/tls/tls-endpoint.ts';
import { BareClient } from '../../helpers/bare-client.ts';
import { eventually } from '../../helpers/eventually.ts';
import { ListenerBed } from '../../helpers/listener-bed.ts';
import { QuicTestBed } from '../../helpers/quic-pair.ts';
import { ShiftableClock } from '../../helpers/shiftable-clock.ts';
import { KERNEL_GIVES_LARGEST, LARGEST_BUFFER_BYTES } from '../../helpers/socket-buffers.ts';
import { createTestAuthorities, type TestAuthorities } from '../../helpers/test-credentials.ts';

describe('a listener', () => {
  const bed = new ListenerBed();
  let authorities: TestAuthorities;

  beforeAll(async () => {
    authorities = await createTestAuthorities();
  });
  afterEach(() => bed.close());

  test.skipIf(KERNEL_GIVES_LARGEST)(
    'warns where the kernel gives a smaller socket buffer than asked for, and tells what it drops',
    async () => {
      const asked = async (bytes: number) => {
        const server = { socket_buffer_bytes: bytes };
        const { address, log, metric } = await bed.listener(authorities.server, { server });
        const warnings = log.lines.filter(({ key }) => key === 'server.socket_buffer_bytes');
        return { address, metric, warnings };
      };
      const large = await asked(LARGEST_BUFFER_BYTES);
      expect(large.warnings).toMatchObject([{ askedBytes: LARGEST_BUFFER_BYTES }]);
      const small = await asked(65_536);
      expect(small.warnings).toEqual([]);
      expect(await small.metric('socket_receive_buffer_bytes')).toBe(65_536);
      const stranger = dgram.createSocket('udp4');
      stranger.connect(small.address.port, small.address.host);
      await once(stranger, 'connect');
      for (let sent = 0; sent < 1000; sent += 1) stranger.send(Buffer.alloc(1000));
      expect(await small.metric('datagrams_dropped_total')).toBeGreaterThan(0);
      stranger.close();
    },
  );

  test('says in its metrics and log why a client gets nothing in', async () => {
    const server = await bed.listener(authorities.server);
    const good = await authorities.agent('gpu-001');
    const nowMs = Date.now();
    const stranger = await createAuthority('Other CA');
    const expired = { notBefore: new Date(nowMs - 7_200_000), notAfter: new Date(nowMs - 60_000) };
    const wrongCa = await issueCertificate(stranger, { commonName: 'gpu-001' });
    const cases = [
      { reason: 'unknown_ca', credentials: { ...good, ...wrongCa } },
      { reason: 'certificate_expired', credentials: await authorities.agent('x', expired) },
      {
        reason: 'unsupported_certificate',
        credentials: await authorities.agent('x', { usages: ['serverAuth'] }),
      },
      { reason: 'no_application_protocol', credentials: good, transport: { alpn: 'h3' } },
    ];
    for (const { reason, credentials, transport } of cases) {
      const agent = await bed.agent(server.address, credentials, transport ? { transport } : {});
      await eventually(`${reason} is refused`, () => agent.client.recorder.closed.length === 1);
      expect(await server.metric('handshake_failures_total', { by: 'local', reason })).toBe(1);
      const line = server.log.lines.find((entry) => entry.reason === reason);
      expect(line).toMatchObject({ msg: 'handshake failed', level: 40 });
    }
    const certless = await BareClient.connect(server.address, { caPem: good.caPem });
    await eventually('no certificate is refused', () => certless.quiche.peerError() !== null);
    certless.close();
    const nothing = { by: 'local', reason: 'certificate_required' };
    expect(await server.metric('handshake_failures_total', nothing)).toBe(1);
    expect(await server.metric('handshake_failures_total')).toBe(cases.length + 1);
    expect(await server.metric('connections_accepted_total')).toBe(0);
    expect(server.door.opened).toHaveLength(0);
  });

  test('counts a client that distrusts it apart from those it distrusts', async () => {
    const server = await bed.listener(authorities.server);
    const credentials = await authorities.agent('gpu-001');
    const { certPem: caPem } = await createAuthority('Other CA');
    const agent = await bed.agent(server.address, { ...credentials, caPem });
    await eventually('it leaves', () => agent.client.recorder.closed.length === 1);
    const labels = { by: 'peer', reason: 'unknown_ca' };
    await eventually('the listener knows', () => server.log.lines.some(isFailedHandshake));
    expect(await server.metric('handshake_failures_total', labels)).toBe(1);
  });

  test('logs equal failures once and then how many there were', async () => {
    const clock = new ShiftableClock();
    const server = await bed.listener(authorities.server, { clock });
    const credentials = await authorities.agent('x', { usages: ['serverAuth'] });
    const fail = async () => {
      const agent = await bed.agent(server.address, credentials);
      await eventually('it is refused', () => agent.client.recorder.closed.length === 1);
    };
    for (let i = 0; i < 5; i += 1) await fail();
    expect(server.log.lines.filter(isFailedHandshake)).toHaveLength(1);
    clock.shift(11_000);
    await fail();
    expect(server.log.lines.filter(isFailedHandshake).at(-1)).toMatchObject({ suppressed: 4 });
  });

  test('closes with 0x1002 when a certificate names no node', async () => {
    const server = await bed.listener(authorities.server);
    const nameless = await authorities.agent('x', { dnsNames: [], ipAddresses: ['192.0.2.1'] });
    const agent = await bed.agent(server.address, nameless);
    await eventually('it is closed', () => agent.closeCode === 0x1002);
    expect(agent.closeReason).toContain('names no node');
    expect(server.door.opened).toHaveLength(0);
    expect(await server.metric('connections_closed_total', { reason: 'identity' })).toBe(1);
  });

  test('closes with 0x1003 over the bound of one node, and others connect', async () => {
    const server = await bed.listener(authorities.server, {
      server: { max_connections_per_node: 2 },
    });
    const credentials = await authorities.agent('gpu-001');
    const first = await bed.agent(server.address, credentials);
    const second = await bed.agent(server.address, credentials);
    await eventually('two connect', () => server.door.opened.length === 2);
    const third = await bed.agent(server.address, credentials);
    await eventually('the third is closed', () => third.closeCode === 0x1003);
    expect(third.closeReason).toContain('server.max_connections_per_node is 2');
    await bed.agent(server.address, await authorities.agent('gpu-002'));
    await eventually('another node connects', () => server.door.opened.length === 3);
    first.client.connection.close(0x2000, 'bye');
    await eventually('one leaves', async () => (await server.metric('connections')) === 2);
    await bed.agent(server.address, credentials);
    await eventually('there is room again', () => server.door.opened.length === 4);
    expect(second.client.recorder.closed).toHaveLength(0);
  });

  test('refuses over server.max_connections and counts it', async () => {
    const server = await bed.listener(authorities.server, { server: { max_connections: 1 } });
    const credentials = await authorities.agent('gpu-001');
    await bed.agent(server.address, credentials);
    await eventually('one connects', () => server.door.opened.length === 1);
    const second = await bed.agent(server.address, credentials);
    await eventually('the second is refused', () => second.closeReason !== undefined);
    expect(second.closeReason).toBe('too many connections');
    expect(await server.metric('refused_total', { reason: 'max_connections' })).toBe(1);
  });

  test('drops a silent agent after server.connection_timeout_secs', async () => {
    const settings = { server: { connection_timeout_secs: 1 } };
    const server = await bed.listener(authorities.server, settings);
    await bed.agent(server.address, await authorities.agent('gpu-001'));
    await eventually('it connects', () => server.door.opened.length === 1);
    await eventually('it is dropped', async () => (await server.metric('connections')) === 0);
    expect(await server.metric('connections_closed_total', { reason: 'idle_timeout' })).toBe(1);
  });

  test('closes with 0x1005 once a certificate expires while connected', async () => {
    const clock = new ShiftableClock();
    const server = await bed.listener(authorities.server, { clock });
    const yearMs = 365 * 86_400_000;
    const notAfter = new Date(Date.now() + yearMs);
    const short = await authorities.agent('gpu-001', { notAfter: new Date(Date.now() + 60_000) });
    const expiring = await bed.agent(server.address, short);
    const lasting = await bed.agent(server.address, await authorities.agent('b', { notAfter }));
    await eventually('both connect', () => server.door.opened.length === 2);
    clock.shiftCalendar(61_000);
    await eventually('one is closed', () => expiring.closeCode === 0x1005);
    expect(lasting.client.recorder.closed).toHaveLength(0);
    clock.shiftCalendar(yearMs);
    await eventually('the other as well, a year later', () => lasting.closeCode === 0x1005);
  });

  test('answers what it has received before it closes', async () => {
    const server = await bed.listener(authorities.server);
    server.door.holds = true;
    const agent = await bed.agent(server.address, await authorities.agent('gpu-001'));
    await eventually('it connects', () => agent.isConnected);
    agent.send(agent.open(), 'in flight');
    await eventually('it is received', () => server.door.frames.length === 1);
    const closing = server.listener.close(10_000);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(agent.client.recorder.closed).toHaveLength(0);
    server.door.frames[0]!.answer();
    await closing;
    await eventually('the agent is closed', () => agent.closeCode === 0x1000);
    expect(agent.acks).toHaveLength(1);
    await server.listener.close(10_000);
  });

  test('closes at its deadline although something is unanswered', async () => {
    const server = await bed.listener(authorities.server);
    server.door.holds = true;
    const agent = await bed.agent(server.address, await authorities.agent('gpu-001'));
    await eventually('it connects', () => agent.isConnected);
    agent.send(agent.open(), 'never answered');
    await eventually('it is received', () => server.door.frames.length === 1);
    await server.listener.close(200);
    await eventually('the agent is closed', () => agent.closeCode === 0x1000);
    expect(await server.metric('connections')).toBe(0);
  });

  test('takes no frames and no connections while it closes', async () => {
    const server = await bed.listener(authorities.server);
    server.door.holds = true;
    const agent = await bed.agent(server.address, await authorities.agent('gpu-001'));
    await eventually('it connects', () => agent.isConnected);
    const streamId = agent.open();
    agent.send(streamId, 'before');
    await eventually('it is received', () => server.door.frames.length === 1);
    const closing = server.listener.close(10_000);
    server.listener.resumeReading();
    agent.send(streamId, 'after');
    const late = await bed.agent(server.address, await authorities.agent('gpu-002'));
    await eventually('the late one is refused', () => late.closeReason === 'stopping');
    server.door.frames[0]!.answer();
    await closing;
    expect(server.door.frames).toHaveLength(1);
    expect(await server.metric('refused_total', { reason: 'stopping' })).toBe(1);
  });

  test('shows its connections, streams and datagrams in its metrics', async () => {
    const server = await bed.listener(authorities.server);
    const agent = await bed.agent(server.address, await authorities.agent('gpu-001'));
    await eventually('it connects', () => agent.isConnected);
    agent.send(agent.open(), 'x');
    await eventually('it is answered', () => agent.acks.length === 1);
    expect(await server.metric('connections')).toBe(1);
    expect(await server.metric('handshakes')).toBe(0);
    expect(await server.metric('streams')).toBe(1);
    expect(await server.metric('datagrams_received_total')).toBeGreaterThan(2);
    expect(await server.metric('datagram_bytes_sent_total')).toBeGreaterThan(1000);
    const text = await server.registry.metrics();
    expect(text).not.toContain('NaN');
    expect(await server.registry.metrics()).toContain('listener_connections 1');
  });

  test('takes TLS on the TCP port of the same number, unless that is off', async () => {
    const tls = new QuicTestBed(tlsStack);
    const connect = async ({ address }: { address: QuicAddress }) =>
      tls.client(address, await authorities.agent('gpu-001'));
    const server = await bed.listener(authorities.server, { server: { tcp_listen_addr: '' } });
    const client = await connect(server);
    await eventually('it connects', () => client.recorder.connected.length === 1);
    await eventually('the door opens', () => server.door.opened.length === 1);
    expect(await server.metric('tcp_connections')).toBe(1);
    expect(server.log.lines).toContainEqual(
      expect.objectContaining({ msg: 'agent connected', transport: 'tls' }),
    );
    const closed = await connect(await bed.listener(authorities.server));
    await eventually('no connection', () => closed.recorder.closed.length === 1);
    expect(closed.recorder.connected).toEqual([]);
    await tls.close();
  });

  test('does not start where its TCP port is taken, and says what to change', async () => {
    const taken = net.createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const start = bed.listener(authorities.server, {
      server: { tcp_listen_addr: `127.0.0.1:${port}` },
    });
    await expect(start).rejects.toMatchObject({
      code: 'CANNOT_BIND',
      message: expect.stringContaining('set server.tcp_listen_addr (off: no TLS over TCP)'),
    });
    await new Promise((resolve) => taken.close(resolve));
  });
});

const isFailedHandshake = (line: { msg: string }) => line.msg === 'handshake failed';
