import { expect, test } from 'vitest';
import { median } from '../../bench/figures.ts';
import { BatchDecoder } from '../../src/codec/decode-batch.ts';
import { encodeBatch } from '../../src/codec/encode-batch.ts';
import { contractType } from '../../src/codec/messages.ts';
import { encodeSeriesTable } from '../../src/codec/series-table.ts';
import type { Series } from '../../src/domain/telemetry.ts';

const LIMITS = {
  maxSeries: 10_000,
  maxTextCharacters: 1e9,
  maxTextPerByte: 1000,
  maxBatchSamples: 1000,
  maxLabelsPerSeries: 32,
  maxNameBytes: 256,
  maxLabelValueBytes: 1024,
};
const SERIES = 480;
const TIME_MS = 1_752_868_800_000;
/** At least this much faster; the columnar form was made for it. */
const LEAST_RATIO = 5;

function series(index: number): Series {
  return {
    name: `DCGM_FI_METRIC_${index % 60}`,
    labels: [
      ['gpu_index', String(index % 8)],
      ['gpu_uuid', `GPU-${index % 8}`],
      ['hostname', 'gpu-node-1'],
    ],
    kind: 'gauge',
    unit: '',
  };
}

const ALL = Array.from({ length: SERIES }, (_, index) => series(index));

function columnarFrame(): Uint8Array {
  return encodeBatch({
    nodeId: 'gpu-node-1',
    epoch: 1,
    sequence: 1,
    table: encodeSeriesTable(ALL),
    samples: {
      series: Uint32Array.from(ALL, (_, index) => index),
      timestampsMs: new Float64Array(SERIES).fill(TIME_MS),
      values: Float64Array.from(ALL, (_, index) => index / 3),
    },
  });
}

function rowFrame(): Uint8Array {
  const type = contractType('MetricBatch');
  const metrics = ALL.map(({ name, labels }, index) => ({
    name,
    labels: Object.fromEntries(labels),
    kind: 1,
    timestamp_ms: TIME_MS,
    value: index / 3,
  }));
  const batch = { schema_version: 1, node_id: 'gpu-node-1', epoch: 1, sequence: 1, metrics };
  return type.encode(type.fromObject(batch)).finish();
}

/** CPU microseconds of one decoding. */
function cost(decoder: BatchDecoder, frame: Uint8Array, times: number): number {
  const before = process.cpuUsage();
  for (let time = 0; time < times; time += 1) decoder.decode(frame);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / times;
}

test('a columnar batch is decoded at least five times as fast as the same batch in rows', () => {
  const decoder = new BatchDecoder(LIMITS);
  const [columnar, rows] = [columnarFrame(), rowFrame()];
  for (const frame of [columnar, rows]) {
    const result = decoder.decode(frame);
    expect(result.ok && result.batch.samples.values.length).toBe(SERIES);
    cost(decoder, frame, 300);
  }
  const ratios = Array.from({ length: 5 }, () => {
    return cost(decoder, rows, 150) / cost(decoder, columnar, 3000);
  });
  expect(median(ratios)).toBeGreaterThan(LEAST_RATIO);
});
