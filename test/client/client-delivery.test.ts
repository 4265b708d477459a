import { afterEach, beforeEach, expect, test } from 'vitest';
import { agentTransport } from '../../src/client/client-endpoints.ts';
import type { ClientStats } from '../../src/client/client-stats.ts';
import { SPOOL_ENTRY_BYTES } from '../../src/client/spool.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { quinnStack } from '../../src/transport/quinn/quinn-endpoint.ts';
import { AgentBench } from '../helpers/agent-bench.ts';
import { eventually } from '../helpers/eventually.ts';
import { gaugeTable, samplesOf } from '../helpers/sample-batches.ts';

const TABLE = gaugeTable(10);
const NOW_MS = 1_700_000_000_000;

let bench: AgentBench;
beforeEach(async () => {
  bench = await AgentBench.create();
});
afterEach(() => bench.close());

function expectNothingIsMissing(stats: ClientStats): void {
  const settled =
    stats.ackedSamples +
    stats.duplicateSamples +
    stats.rejectedSamples +
    stats.droppedSamples +
    stats.spooledSamples;
  expect(settled + stats.pendingSamples).toBe(stats.offeredSamples);
}

test('batches arrive in order with their samples, and each is answered', async () => {
  const stub = await bench.stub();
  const client = await bench.client(stub.address);
  const sends = Array.from({ length: 300 }, (_, index) =>
    client.send(TABLE, samplesOf(TABLE, index, NOW_MS)),
  );
  const results = await Promise.all(sends);
  expect(results.every((result) => result.status === 'accepted')).toBe(true);
  expect(stub.sequences).toEqual(Array.from({ length: 300 }, (_, index) => index + 1));
  expect(stub.received.map((batch) => batch.values[0])).toEqual(
    Array.from({ length: 300 }, (_, index) => index),
  );
  expect(stub.received[0]?.epoch).toBe(client.epoch);
  expect(client.stats).toMatchObject({ sentBatches: 300, ackedSamples: 3000, pendingBatches: 0 });
  expect(client.stats.ackLatency.count).toBe(300);
  expectNothingIsMissing(client.stats);
});

test('a series table goes over a connection once, and over the next one again', async () => {
  const stub = await bench.stub();
  const client = await bench.client(stub.address);
  const send = (table = TABLE) => client.send(table, samplesOf(table, 1, NOW_MS));
  for (const table of [TABLE, TABLE, TABLE, gaugeTable(4), TABLE]) await send(table);
  stub.dropConnections();
  for (let count = 0; count < 2; count += 1) await send();
  const hasTable = stub.received.map(({ bytes }) => bytes.includes(Buffer.from(TABLE.bytes)));
  expect(hasTable).toEqual([true, false, false, false, false, true, false]);
  expect(stub.received.map(({ tableId }) => tableId === TABLE.id)).toEqual(
    [0, 1, 2, 3, 4, 5, 6].map((index) => index !== 3),
  );
  expectNothingIsMissing(client.stats);
});

test('a collector that promises to remember no tables is named the newest one alone', async () => {
  const stub = await bench.stub({ hello: { rememberedTables: 0, rememberedTableBytes: 0 } });
  const client = await bench.client(stub.address);
  for (const table of [TABLE, TABLE, gaugeTable(4), TABLE]) {
    await client.send(table, samplesOf(table, 1, NOW_MS));
  }
  const hasTable = stub.received.map(({ bytes }) => bytes.includes(Buffer.from(TABLE.bytes)));
  expect(hasTable).toEqual([true, false, false, true]);
});

test('a collector that does not take ids of series tables is sent every table', async () => {
  const stub = await bench.stub({ hello: { acceptsSeriesTableId: false } });
  const client = await bench.client(stub.address);
  for (let count = 0; count < 3; count += 1) await client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  expect(stub.received.map(({ bytes }) => bytes.includes(Buffer.from(TABLE.bytes)))).toEqual([
    true,
    true,
    true,
  ]);
});

test('the caller may reuse its columns as soon as send returns', async () => {
  const stub = await bench.stub();
  const client = await bench.client(stub.address);
  const samples = samplesOf(TABLE, 1, NOW_MS);
  const first = client.send(TABLE, samples);
  samples.values.fill(2);
  await Promise.all([first, client.send(TABLE, samples)]);
  expect(stub.received.map((batch) => batch.values[0])).toEqual([1, 2]);
});

test('a client without batches is connected once the collector has said hello', async () => {
  const stub = await bench.stub();
  const client = await bench.client(stub.address);
  await client.connected();
  expect(client.isConnected).toBe(true);
  expect(client.hello).toMatchObject({ collectorId: 'collector-1', maxBatchSamples: 1000 });
  expect(stub.received).toEqual([]);
});

test('each verdict reaches the sender and its own counter', async () => {
  const stub = await bench.stub({
    answer: ({ sequence }) => {
      if (sequence === 1) return { kind: 'duplicate' };
      if (sequence === 2) return { kind: 'partial', rejected: 4 };
      return { kind: sequence === 3 ? 'reject' : 'accept' };
    },
  });
  const client = await bench.client(stub.address);
  const send = () => client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  const results = await Promise.all([send(), send(), send(), send()]);
  expect(results.map((result) => result.status)).toEqual([
    'duplicate',
    'partial',
    'rejected',
    'accepted',
  ]);
  expect(client.stats).toMatchObject({
    duplicateSamples: 10,
    ackedSamples: 16,
    rejectedSamples: 14,
    pendingSamples: 0,
  });
  expectNothingIsMissing(client.stats);
});

test('a throttled batch comes again as it was, not before its time, and holds the others', async () => {
  const stub = await bench.stub();
  let throttledMs = 0;
  stub.answer = ({ sequence, receivedMs }) => {
    if (sequence !== 2 || throttledMs > 0) return { kind: 'accept' };
    throttledMs = receivedMs;
    return { kind: 'throttle', retryAfterMs: 300 };
  };
  const client = await bench.client(stub.address, { maxInFlightBatches: 4 });
  const sends = Array.from({ length: 12 }, () => client.send(TABLE, samplesOf(TABLE, 1, NOW_MS)));
  expect((await Promise.all(sends)).every((result) => result.status === 'accepted')).toBe(true);
  const [refused, taken] = stub.received.filter((batch) => batch.sequence === 2);
  expect(taken?.content.equals(refused!.content)).toBe(true);
  expect(taken!.receivedMs - throttledMs).toBeGreaterThanOrEqual(299);
  // Only what was in flight already arrives in between.
  const order = stub.received.map((batch) => batch.sequence);
  expect(order.lastIndexOf(2) - order.indexOf(2) - 1).toBeLessThan(4);
  expect(client.stats).toMatchObject({ throttled: 1, resentBatches: 1, ackedBatches: 12 });
});

test('no more batches are in flight than allowed', async () => {
  const stub = await bench.stub({ answer: () => ({ kind: 'silence' }) });
  const client = await bench.client(stub.address, { maxInFlightBatches: 8 });
  for (let count = 0; count < 50; count += 1) void client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  await eventually('eight batches', () => stub.received.length === 8);
  await client.drain(200);
  expect(stub.received).toHaveLength(8);
  expect(client.stats.pendingBatches).toBe(50);
});

test('a full spool refuses new batches and keeps the ones it took', async () => {
  const stub = await bench.stub();
  const held: number[] = [];
  stub.answer = ({ sequence }) => {
    held.push(sequence);
    return { kind: 'silence' };
  };
  const client = await bench.client(stub.address, { spool: { maxBytes: 4096 } });
  const sends = Array.from({ length: 40 }, () => client.send(TABLE, samplesOf(TABLE, 1, NOW_MS)));
  const { droppedBatches, pendingBatches } = client.stats;
  expect(droppedBatches).toBeGreaterThan(0);
  expect(await sends.at(-1)).toEqual({ status: 'dropped', reason: 'spool_full' });
  await eventually('the taken ones', () => held.length === pendingBatches);
  // Numbers are given to batches that are taken, so the collector sees no gap.
  expect(held).toEqual(Array.from({ length: pendingBatches }, (_, index) => index + 1));
  expectNothingIsMissing(client.stats);
  expect(bench.log.lines.filter((line) => line.msg === 'dropping samples')).toHaveLength(1);
});

test('the spool is not filled over its bound by the bytes that only encoding shows', async () => {
  const stub = await bench.stub();
  const maxBytes = SPOOL_ENTRY_BYTES + TABLE.bytes.length + 10 * 8 + 1;
  const client = await bench.client(stub.address, { spool: { maxBytes } });
  const result = await client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  expect(result).toEqual({ status: 'dropped', reason: 'spool_full' });
  expect(client.stats.spoolBytes).toBe(0);
});

test('a batch over the limits of the Hello is dropped as too large, also one that waited for it', async () => {
  const stub = await bench.stub({ hello: { maxBatchSamples: 5 } });
  const client = await bench.client(stub.address);
  const early = client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  expect(await early).toEqual({ status: 'dropped', reason: 'too_large' });
  const late = client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  expect(await late).toEqual({ status: 'dropped', reason: 'too_large' });
  const small = gaugeTable(5);
  expect((await client.send(small, samplesOf(small, 1, NOW_MS))).status).toBe('accepted');
  expect(stub.received).toHaveLength(1);
  expectNothingIsMissing(client.stats);
});

test('drain tells whether everything was answered in time', async () => {
  const stub = await bench.stub({ answer: () => ({ kind: 'silence' }) });
  const client = await bench.client(stub.address);
  expect(await client.drain(10)).toBe(true);
  void client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  expect(await client.drain(50)).toBe(false);
  stub.answer = () => ({ kind: 'accept' });
  const drained = client.drain(10_000);
  stub.dropConnections();
  expect(await drained).toBe(true);
});

test('close may be called twice and while draining, and answers what is left', async () => {
  const stub = await bench.stub({ answer: () => ({ kind: 'silence' }) });
  const client = await bench.client(stub.address);
  const left = client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  const drained = client.drain(60_000);
  await client.connected();
  await Promise.all([client.close(), client.close()]);
  await client.close();
  expect(await drained).toBe(false);
  expect(await left).toEqual({ status: 'dropped', reason: 'closed' });
  const after = await client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  expect(after).toEqual({ status: 'dropped', reason: 'closed' });
  await expect(client.connected()).rejects.toMatchObject({ code: 'CLIENT_CLOSED' });
  expectNothingIsMissing(client.stats);
});

test('clients share a lent socket and leave it open', async () => {
  const stub = await bench.stub();
  const endpoint = await quinnStack.openEndpoint(
    {
      bind: { host: '127.0.0.1', port: 0 },
      transport: agentTransport(15_000),
      socketBufferBytes: 1 << 20,
    },
    systemClock,
  );
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => bench.client(stub.address, {}, { endpoint })),
  );
  const results = await Promise.all(
    clients.map((client) => client.send(TABLE, samplesOf(TABLE, 1, NOW_MS))),
  );
  expect(results.every((result) => result.status === 'accepted')).toBe(true);
  expect(endpoint.connections).toBe(20);
  await Promise.all(clients.map((client) => client.close()));
  const later = await bench.client(stub.address, {}, { endpoint });
  await later.connected();
  await later.close();
  await endpoint.close(0x2000, 'end');
});
