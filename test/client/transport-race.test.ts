/** A client with two transports, and a firewall between it and a collector that has both. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { TelemetryClient } from '../../src/client/client.ts';
import type { ClientOptions } from '../../src/client/client-options.ts';
import { tlsStack } from '../../src/transport/tls/tls-endpoint.ts';
import { Firewall } from '../../trials/harness/firewall.ts';
import { AgentBench } from '../helpers/agent-bench.ts';
import { eventually } from '../helpers/eventually.ts';
import { gaugeTable, samplesOf } from '../helpers/sample-batches.ts';
import { createTestAuthorities } from '../helpers/test-credentials.ts';
import type { Answer, StubCollector, StubOptions } from '../helpers/stub-collector.ts';

const TABLE = gaugeTable(10);
const NOW_MS = 1_700_000_000_000;
const SILENCE: Answer = { kind: 'silence' };
const OPTIONS = { transportFallbackMs: 300, transportRetryMs: 500, handshakeTimeoutMs: 1500 };

let bench: AgentBench;
let quic: StubCollector;
let tls: StubCollector;
let firewall: Firewall;

beforeEach(async () => {
  bench = await AgentBench.create();
});
afterEach(async () => {
  await bench.close();
  await firewall?.close();
});

async function openCollector(quicOptions: Partial<StubOptions> = {}): Promise<void> {
  quic = await bench.stub(quicOptions);
  tls = await bench.stub({ stack: tlsStack, port: quic.address.port });
  firewall = await Firewall.open(quic.address);
}

function openClient(options: Partial<ClientOptions> = {}): Promise<TelemetryClient> {
  const deps = { fallbackStack: tlsStack };
  return bench.client(firewall.address, { ...OPTIONS, ...options }, deps);
}

function send(client: TelemetryClient, value: number) {
  return client.send(TABLE, samplesOf(TABLE, value, NOW_MS));
}

test('a client that QUIC connects never speaks TLS', async () => {
  await openCollector();
  const client = await openClient({ transportFallbackMs: 3000 });
  expect((await send(client, 1)).status).toBe('accepted');
  expect(client.stats).toMatchObject({ transport: 'quic', fallbacks: 0 });
  expect(client.stats.connects).toEqual({ quic: 1, tls: 0 });
  expect(tls.connections).toBe(0);
});

test.each(['silent', 'refused'] as const)(
  'where UDP is %s, TLS carries the batches',
  async (udp) => {
    await openCollector();
    await firewall.setUdp(udp);
    const client = await openClient();
    expect((await send(client, 1)).status).toBe('accepted');
    expect(client.stats).toMatchObject({ transport: 'tls', fallbacks: 1 });
    expect(client.stats.connects).toEqual({ quic: 0, tls: 1 });
  },
);

test('once UDP passes again the client moves over, and every batch is stored once', async () => {
  await openCollector();
  tls.answer = () => SILENCE;
  await firewall.setUdp('silent');
  const client = await openClient();
  const sends = [1, 2, 3].map((value) => send(client, value));
  await eventually('three batches over TLS', () => tls.received.length === 3);
  await firewall.setUdp('open');
  const results = await Promise.all(sends);
  expect(results.map(({ status }) => status)).toEqual(['accepted', 'accepted', 'accepted']);
  expect(quic.received.map(({ sequence }) => sequence)).toEqual(tls.sequences);
  const [overQuic, overTls] = [quic, tls].map((stub) =>
    stub.received.map(({ content }) => content.toString('hex')),
  );
  expect(overQuic).toEqual(overTls);
  expect(client.stats).toMatchObject({ transport: 'quic', fallbacks: 1, reconnects: 1 });
  expect(client.stats.connects).toEqual({ quic: 1, tls: 1 });
});

test('UDP that is blocked in the middle of a connection costs no batch', async () => {
  await openCollector();
  const client = await openClient({ ackTimeoutMs: 400 });
  expect((await send(client, 1)).status).toBe('accepted');
  await firewall.setUdp('silent');
  expect((await send(client, 2)).status).toBe('accepted');
  expect(tls.sequences).toEqual([2]);
  expect(client.stats.transport).toBe('tls');
});

test('a refusal over QUIC is the answer: TLS is not asked', async () => {
  const agentOfStrangers = { caPem: (await createTestAuthorities()).agents.certPem };
  await openCollector({ credentials: { ...bench.authorities.server, ...agentOfStrangers } });
  const client = await openClient();
  const refusals = () => bench.log.lines.filter(({ msg }) => msg === 'cannot connect');
  // So many take longer than the client waits for a transport that does not answer.
  await eventually('refusals', () => refusals().length >= 12);
  expect(String(refusals()[0]?.why)).toContain('the collector does not trust');
  expect(refusals().every(({ transport }) => transport === 'quic')).toBe(true);
  expect(tls.connections).toBe(0);
  expect(client.isConnected).toBe(false);
});

test('a path that passes handshakes and drops full datagrams is left for TLS', async () => {
  await openCollector();
  firewall.datagramBytesMax = 800;
  const client = await openClient({ ackTimeoutMs: 500, transportRetryMs: 60_000 });
  // Each batch takes several full datagrams, however the client cuts it.
  const wide = gaugeTable(200);
  const results = await Promise.all(
    Array.from({ length: 5 }, (_, value) => client.send(wide, samplesOf(wide, value, NOW_MS))),
  );
  expect(results.every(({ status }) => status === 'accepted')).toBe(true);
  expect(client.stats).toMatchObject({ transport: 'tls', fallbacks: 1 });
  expect(client.stats.connects.quic).toBeGreaterThan(0);
});

test('with UDP and TCP blocked the client goes on trying both, and takes what opens first', async () => {
  await openCollector();
  await firewall.setUdp('silent');
  await firewall.setTcp('refused');
  const client = await openClient({ handshakeTimeoutMs: 500 });
  const sent = send(client, 1);
  const tried = (transport: string) => () =>
    bench.log.lines.some((line) => line.msg === 'cannot connect' && line.transport === transport);
  await eventually('a try over QUIC', tried('quic'));
  await eventually('a try over TLS', tried('tls'));
  await firewall.setTcp('open');
  expect((await sent).status).toBe('accepted');
  expect(client.stats.transport).toBe('tls');
});

async function openOverTls(options: Partial<ClientOptions>): Promise<TelemetryClient> {
  await openCollector();
  await firewall.setUdp('silent');
  const client = await openClient({ handshakeTimeoutMs: 500, ...options });
  await send(client, 1);
  await eventually('QUIC to rest', () =>
    bench.log.lines.some(
      ({ msg, nextTryMs }) => msg === 'cannot connect' && nextTryMs === undefined,
    ),
  );
  return client;
}

test('while TLS carries, QUIC is tried again and again', async () => {
  const client = await openOverTls({ transportRetryMs: 200 });
  await firewall.setUdp('open');
  await eventually('QUIC', () => client.stats.transport === 'quic');
  expect((await send(client, 2)).status).toBe('accepted');
  expect(client.stats.connects).toEqual({ quic: 1, tls: 1 });
});

test('a reconnect after TLS tries both again', async () => {
  const client = await openOverTls({ transportRetryMs: 60_000 });
  await firewall.setUdp('open');
  tls.dropConnections();
  await eventually('QUIC', () => client.stats.transport === 'quic');
  expect((await send(client, 2)).status).toBe('accepted');
});
