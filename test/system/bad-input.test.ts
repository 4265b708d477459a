import { afterEach, beforeEach, expect, test } from 'vitest';
import type { DaemonProcess } from '../../trials/harness/daemon-process.ts';
import { encodeBatch } from '../../src/codec/encode-batch.ts';
import { encodeFrame } from '../../src/codec/framing.ts';
import { contractType } from '../../src/codec/messages.ts';
import { encodeSeriesTable } from '../../src/codec/series-table.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { SampleColumns, SeriesTable } from '../../src/domain/telemetry.ts';
import { countedSamples } from '../helpers/counted-samples.ts';
import { connectRaw, type RawConnection } from '../helpers/raw-connection.ts';
import { Scenario } from '../helpers/scenario.ts';

let scenario: Scenario;
let daemon: DaemonProcess;
let raw: RawConnection;

beforeEach(async () => {
  scenario = await Scenario.open({
    limits: { max_cardinality_per_node: 20, max_batch_bytes: 65_536 },
  });
  daemon = await scenario.startDaemon();
  raw = await connectRaw(
    scenario.deployment.listen,
    await scenario.deployment.nodeCredentials('gpu-001'),
  );
});
afterEach(async () => {
  await raw.close();
  await scenario.close();
});

const nowMs = () => systemClock.nowMs();
const DCGM_INT64_NOT_SUPPORTED = 9223372036854775794n;

function batchOf(table: SeriesTable, samples: SampleColumns, sequence = 1): Uint8Array {
  return encodeFrame(encodeBatch({ nodeId: '', epoch: 1, sequence, table, samples }));
}

/** Five samples of one series, one of them as given. */
function fiveWith(value: number, timestampMs = nowMs()): Uint8Array {
  const samples = countedSamples(5, nowMs());
  const columns = samples.next();
  columns.values[2] = value;
  columns.timestampsMs[2] = timestampMs;
  return batchOf(samples.table, columns);
}

async function answerTo(frame: Uint8Array) {
  const before = raw.acks.length;
  raw.writeWhenConnected(frame);
  await daemon.waitFor('an acknowledgement', () => raw.acks.length > before);
  return raw.acks[before];
}

test.each([
  ['not_a_number', () => fiveWith(Number.NaN)],
  ['infinite', () => fiveWith(Number.NEGATIVE_INFINITY)],
  ['sentinel', () => fiveWith(Number(DCGM_INT64_NOT_SUPPORTED))],
  ['too_far_ahead', () => fiveWith(1, nowMs() + 3_600_000)],
  ['too_old', () => fiveWith(1, nowMs() - 30 * 86_400_000)],
])('one bad sample (%s) is refused by name and the other four are kept', async (reason, frame) => {
  expect(await answerTo(frame())).toMatchObject({
    status: 'partial',
    accepted: 4,
    rejected: 1,
    rejections: [{ reason, count: 1, firstSeries: expect.stringContaining('test_metric_002') }],
  });
  const metrics = await daemon.metrics();
  expect(metrics.sum('samples_rejected_total', { reason })).toBe(1);
  expect(metrics.ledger(['parquet'])).toMatchObject({ received: 5, accepted: 4, admission: 0 });
});

test('series over the limit are refused by name while known series pass', async () => {
  const known = countedSamples(20, nowMs());
  expect(await answerTo(batchOf(known.table, known.next(), 1))).toMatchObject({ accepted: 20 });
  const more = countedSamples(25, nowMs());
  expect(await answerTo(batchOf(more.table, more.next(), 2))).toMatchObject({
    status: 'partial',
    accepted: 20,
    rejections: [{ reason: 'cardinality_node', count: 5 }],
  });
  const page = await fetch(`${scenario.deployment.metricsUrl}/cardinality`);
  expect(await page.json()).toMatchObject({
    series: 20,
    refusedNow: 5,
    topOffenders: { byNode: [{ nodeId: 'gpu-001', series: 20, refused: 5 }] },
  });
});

test.each([
  [
    'bad_frame',
    'bytes that are not protobuf',
    () => encodeFrame(Buffer.from([0xff, 0xff, 0xff, 0x01])),
  ],
  ['schema_version', 'an unknown schema version', () => encodeFrame(Buffer.from([0x08, 0x07]))],
  [
    'bad_frame',
    'columns of different length',
    () => {
      const type = contractType('MetricBatch');
      const batch = { schema_version: 1, series: [0, 0], timestamp_delta_ms: [1], value: [1, 2] };
      return encodeFrame(type.encode(type.fromObject(batch)).finish());
    },
  ],
  [
    'bad_frame',
    'an index out of range',
    () => {
      const samples = countedSamples(5, nowMs());
      const columns = samples.next();
      columns.series[4] = 99;
      return batchOf(samples.table, columns);
    },
  ],
  [
    'bad_series',
    'a series without a name',
    () => {
      const table = encodeSeriesTable([{ name: '', labels: [], kind: 'gauge', unit: '' }]);
      return batchOf(table, countedSamples(1, nowMs()).next());
    },
  ],
])(
  'a batch is refused whole as %s for %s, and the next batch is taken',
  async (reason, _what, frame) => {
    expect(await answerTo(frame())).toMatchObject({
      status: 'rejected',
      accepted: 0,
      rejections: [{ reason }],
      message: expect.stringMatching(/\S/),
    });
    const samples = countedSamples(5, nowMs());
    const next = batchOf(samples.table, samples.next());
    expect(await answerTo(next)).toMatchObject({ status: 'accepted', accepted: 5 });
    const metrics = await daemon.metrics();
    expect(metrics.sum('batches_rejected_total', { reason })).toBe(1);
    expect(metrics.ledger(['parquet'])).toMatchObject({ admission: 0, unaccounted: [0] });
  },
);

test('a frame longer than allowed ends that connection alone, with a code that says why', async () => {
  const other = await scenario.openClient('gpu-002');
  const samples = countedSamples(5, nowMs());
  raw.writeWhenConnected(Buffer.from([0xff, 0xff, 0xff, 0xff, 1, 2, 3]));
  expect(await raw.closed).toMatchObject({
    by: 'peer',
    isApplication: true,
    code: 0x1001,
    reason: expect.stringContaining('4294967295'),
  });
  expect(await other.send(samples.table, samples.next())).toMatchObject({ status: 'accepted' });
});

test('frames on a unidirectional stream are taken and not answered', async () => {
  const samples = countedSamples(5, nowMs());
  raw.writeWhenConnected(batchOf(samples.table, samples.next()), 'uni');
  await daemon.waitFor(
    'the samples to be accepted',
    async () => (await daemon.metrics()).sum('samples_accepted_total') === 5,
  );
  expect(raw.acks).toEqual([]);
});
