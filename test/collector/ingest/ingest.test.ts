import { pino } from 'pino';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { Admission } from '../../../src/collector/admission/admission.ts';
import { BackpressureGate } from '../../../src/collector/admission/backpressure-gate.ts';
import { SeriesLimiter } from '../../../src/collector/admission/series-limiter.ts';
import { encodeBatch } from '../../../src/codec/encode-batch.ts';
import { Ingest } from '../../../src/collector/ingest/ingest.ts';
import { NodeActivity } from '../../../src/collector/ingest/node-activity.ts';
import { createIngestMetrics } from '../../../src/collector/ingest/ingest-metrics.ts';
import { inspectJournal } from '../../../src/journal/lmdb/inspect.ts';
import { JournalReader } from '../../../src/journal/lmdb/journal-reader.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import type { LimitsConfig } from '../../../src/config/schema.ts';
import type { PeerIdentity } from '../../../src/domain/telemetry.ts';
import { countedSamples } from '../../helpers/counted-samples.ts';
import { openJournal, passTo } from '../../helpers/journal-bench.ts';
import { tempDir } from '../../helpers/temp-dir.ts';
import { testLimits } from '../../helpers/test-limits.ts';
import { TEST_LIMITS } from '../../helpers/wire-batch.ts';

const PEER: PeerIdentity = {
  nodeIds: ['gpu-001'],
  fingerprint256: 'AB:CD',
  serialNumber: '01',
  validToMs: Number.MAX_SAFE_INTEGER,
};
const SAMPLES = 5;

async function setUp(
  options: { journalBytes?: number; maxCardinality?: number } & Partial<LimitsConfig> = {},
) {
  const { journalBytes = 64 * 1024 * 1024, maxCardinality = 1000, ...others } = options;
  const dir = tempDir();
  const journal = await openJournal(dir, { maxBytes: journalBytes });
  const limits = testLimits({ max_cardinality: maxCardinality, ...others });
  const gate = new BackpressureGate({ maxBatches: 100, maxBytes: 1_000_000 });
  const series = new SeriesLimiter(systemClock, limits, () => {});
  const admission = new Admission({
    clock: systemClock,
    limits,
    delegates: [],
    producer: (nodeId, epoch, sequence) => journal.producer(nodeId, epoch, sequence),
    gate,
    series,
  });
  const ingest = new Ingest(
    {
      clock: systemClock,
      logger: pino({ enabled: false }),
      metrics: createIngestMetrics(new Registry()),
      admission,
      gate,
      journal,
      activity: new NodeActivity(),
    },
    {
      collectorId: 'c',
      maxBatchBytes: 1_000_000,
      decodeLimits: TEST_LIMITS,
      sequenceWindow: 1024,
      epochsPerNode: 8,
    },
  );
  return { dir, journal, gate, ingest };
}

function frameOf(sequence: number, samples = countedSamples(SAMPLES, systemClock.nowMs())) {
  return encodeBatch({
    nodeId: '',
    epoch: 1,
    sequence,
    table: samples.table,
    samples: samples.next(),
  });
}

test('a session greets with the identity it will stamp and the limits in force', async () => {
  const { ingest } = await setUp();
  expect(ingest.open(PEER).hello).toEqual({
    schemaVersion: 1,
    collectorId: 'c',
    nodeId: 'gpu-001',
    maxBatchBytes: 1_000_000,
    maxBatchSamples: TEST_LIMITS.maxBatchSamples,
    acceptsSeriesTableId: true,
    maxNameBytes: TEST_LIMITS.maxNameBytes,
    maxLabelsPerSeries: TEST_LIMITS.maxLabelsPerSeries,
    maxLabelValueBytes: TEST_LIMITS.maxLabelValueBytes,
    maxTableSeries: TEST_LIMITS.maxSeries,
    maxTimestampAgeSecs: 604_800,
    maxTimestampAheadSecs: 300,
    sequenceWindow: 1024,
    epochsPerNode: 8,
    maxHoursPerBatch: 24,
    rememberedTables: 64,
    rememberedTableBytes: 2 * 1024 * 1024,
    timeMs: expect.any(Number),
  });
});

test('what the window has passed is rejected by name, never called stored', async () => {
  const { ingest, journal } = await setUp();
  const session = ingest.open(PEER);
  await session.receive(frameOf(5000));
  expect(await session.receive(frameOf(4000))).toMatchObject({ status: 'accepted' });
  expect(await session.receive(frameOf(3976))).toMatchObject({
    status: 'rejected',
    rejected: SAMPLES,
    rejections: [{ reason: 'out_of_window', count: SAMPLES }],
    message: 'sequence 3976 of epoch 1 is too old to tell whether it is stored',
  });
  expect(await session.receive(frameOf(5000))).toMatchObject({ status: 'duplicate' });
  expect(journal.ledger).toMatchObject({ accepted: 2 * SAMPLES, books: { duplicate: SAMPLES } });
});

test('an accepted batch is in the journal, under the stamped node, when it is acknowledged', async () => {
  const { dir, ingest, journal, gate } = await setUp();
  const ack = await ingest.open(PEER).receive(frameOf(1));
  expect(ack).toMatchObject({ status: 'accepted', accepted: SAMPLES, rejected: 0 });
  const reader = JournalReader.open(dir);
  expect(reader.read(0, 10, 1e6).records).toMatchObject([{ nodeId: 'gpu-001', sequence: 1 }]);
  await reader.close();
  expect(journal.ledger).toMatchObject({ accepted: SAMPLES, books: { received: SAMPLES } });
  expect(gate.batches).toBe(0);
});

test('a batch that comes on two connections at once is taken once and acknowledged on both', async () => {
  const { dir, ingest, journal } = await setUp();
  const frame = frameOf(1);
  const acks = await Promise.all([
    ingest.open(PEER).receive(frame),
    ingest.open(PEER).receive(frame),
  ]);
  expect(acks.map(({ status }) => status)).toEqual(['accepted', 'duplicate']);
  const reader = JournalReader.open(dir);
  expect(reader.read(0, 10, 1e6).records).toHaveLength(1);
  await reader.close();
  expect(journal.ledger).toMatchObject({ accepted: SAMPLES, books: { duplicate: SAMPLES } });
});

test('when the journal is full the batch is sent back, counted nowhere, and taken later as new', async () => {
  const { ingest, journal } = await setUp({ journalBytes: 64 * 1024 });
  const session = ingest.open(PEER);
  let sequence = 0;
  let status = 'accepted';
  while (status === 'accepted' && sequence < 1000) {
    sequence += 1;
    ({ status } = await session.receive(frameOf(sequence)));
  }
  expect(status).toBe('throttled');
  const { accepted } = journal.ledger;
  expect(accepted).toBe((sequence - 1) * SAMPLES);
  expect(journal.ledger.books).toMatchObject({
    received: accepted + SAMPLES,
    throttled: { journal_full: SAMPLES },
  });
  expect(journal.producer('gpu-001', 1, sequence)).toBe('new');

  for (const writer of ['influxdb', 'parquet']) {
    await passTo(journal, writer, journal.headSeq, { size: SAMPLES });
  }
  let ack = await session.receive(frameOf(sequence));
  while (ack.status === 'throttled') {
    expect(ack.retryAfterMs).toBeGreaterThan(0);
    await journal.booked();
    ack = await session.receive(frameOf(sequence));
  }
  expect(ack).toMatchObject({ status: 'accepted', accepted: SAMPLES });
});

test('of a batch over the series limit the known series are kept and the others named', async () => {
  const { ingest, journal } = await setUp({ maxCardinality: 3 });
  const ack = await ingest.open(PEER).receive(frameOf(1));
  expect(ack).toMatchObject({
    status: 'partial',
    accepted: 3,
    rejected: 2,
    rejections: [{ reason: 'cardinality_global', count: 2 }],
  });
  expect(journal.ledger).toMatchObject({ accepted: 3, books: { received: SAMPLES } });
});

test('bytes that are no batch are rejected with a reason, and the session goes on', async () => {
  const { ingest, journal } = await setUp();
  const session = ingest.open(PEER);
  expect(await session.receive(Buffer.from([0xff, 0xff]))).toMatchObject({
    status: 'rejected',
    rejections: [{ reason: 'bad_frame' }],
  });
  expect(await session.receive(frameOf(1))).toMatchObject({ status: 'accepted' });
  expect(journal.ledger).toMatchObject({ accepted: SAMPLES });
});

test('a refusal is in the stored books when it is answered', async () => {
  const { dir, ingest } = await setUp();
  const session = ingest.open(PEER);
  const samples = countedSamples(SAMPLES, systemClock.nowMs());
  const foreign = encodeBatch({
    ...{ nodeId: 'gpu-999', epoch: 1, sequence: 1, table: samples.table, samples: samples.next() },
  });
  expect(await session.receive(foreign)).toMatchObject({ status: 'rejected' });
  await session.receive(frameOf(1));
  expect(await session.receive(frameOf(1))).toMatchObject({ status: 'duplicate' });
  // Read from the disk, as the next daemon would after a kill at this moment.
  expect((await inspectJournal(dir)).ledger).toMatchObject({
    received: 3 * SAMPLES,
    duplicate: SAMPLES,
    rejected: { identity: SAMPLES },
  });
});

test('a batch that the closed journal does not take is not called a lack of room', async () => {
  const { ingest, journal } = await setUp();
  const session = ingest.open(PEER);
  await journal.close();
  const ack = await session.receive(frameOf(1));
  expect(ack).toMatchObject({ status: 'throttled', message: expect.stringContaining('closed') });
  expect(journal.ledger.books.throttled).toEqual({ journal_unavailable: SAMPLES });
});

test('a batch that the journal does not take, however often, uses up nothing of its node', async () => {
  const { ingest, journal } = await setUp({ node_samples_per_second: 1 });
  const session = ingest.open(PEER);
  await journal.close();
  for (let round = 0; round < 20; round += 1) await session.receive(frameOf(1));
  expect(journal.ledger.books.throttled).toEqual({ journal_unavailable: 20 * SAMPLES });
});

test('a node over its budget of new tables waits, on every connection, and its neighbour does not', async () => {
  const { ingest, journal } = await setUp({ node_table_bytes_per_minute: 60_000 });
  const tables = [300, 301, 302].map((series) => countedSamples(series, systemClock.nowMs()));
  const frames = tables.map((samples, index) => frameOf(index + 1, samples));
  const first = ingest.open(PEER);
  expect(await first.receive(frames[0]!)).toMatchObject({ status: 'accepted' });
  for (const session of [first, ingest.open(PEER)]) {
    const ack = await session.receive(frames[1]!);
    expect(ack).toMatchObject({ status: 'throttled', epoch: 1, sequence: 2 });
    expect(ack.retryAfterMs).toBeGreaterThan(0);
  }
  expect(await first.receive(frameOf(4, tables[0]!))).toMatchObject({ status: 'accepted' });
  const neighbour = ingest.open({ ...PEER, nodeIds: ['gpu-002'] });
  expect(await neighbour.receive(frames[2]!)).toMatchObject({ status: 'accepted' });
  const { accepted, books } = journal.ledger;
  expect(books.throttled).toEqual({ node_tables: 602 });
  expect(books.received).toBe(accepted + 602);
});
