import { describe, expect, it } from 'vitest';
import { BatchDecoder, type DecodeResult } from '../../src/codec/decode-batch.ts';
import { decodeSeriesTable } from '../../src/codec/series-table.ts';
import { type SeededRandom, seededRandom } from '../helpers/seeded-random.ts';
import {
  bytesField,
  TEST_LIMITS,
  unpackedWireBatch,
  type WireBatch,
  wireBatch,
} from '../helpers/wire-batch.ts';

const MUTATIONS = 8_000;

const BATCH: WireBatch = {
  node_id: 'node-1',
  epoch: 1_753_000_000_000,
  sequence: 9,
  series_table: {
    symbols: ['', 'power', 'gpu', '0', '1', 'W', 'é'],
    series: [
      { name: 1, labels: [2, 3], kind: 1, unit: 5 },
      { name: 1, labels: [2, 4], kind: 1, unit: 5 },
      { name: 6, labels: [2, 4, 6, 6], kind: 2 },
    ],
  },
  series: [0, 1, 2],
  timestamp_delta_ms: [1_753_000_000_000, 0, 15_000],
  value: [1, 2.5, -3],
  metrics: [
    {
      name: 'up',
      labels: { host: 'a' },
      kind: 1,
      unit: '1',
      timestamp_ms: 1_753_000_000_000,
      value: 1,
    },
    { name: 'up', labels: { host: 'b', gpu: '7' }, timestamp_ms: 1_753_000_000_001, value: 2 },
  ],
};

function mutate(random: SeededRandom, corpus: readonly Buffer[]): Buffer {
  let frame = Buffer.from(random.pick(corpus));
  for (let step = random.below(6); step >= 0; step -= 1) {
    const at = random.below(frame.length + 1);
    switch (random.below(6)) {
      case 0:
        if (at < frame.length) frame[at] = random.below(256);
        break;
      case 1:
        if (at < frame.length) frame[at] = frame[at]! ^ (1 << random.below(8));
        break;
      case 2:
        frame = frame.subarray(0, at);
        break;
      case 3:
        frame = Buffer.concat([frame.subarray(0, at), frame.subarray(at + random.below(9))]);
        break;
      case 4: {
        const other = random.pick(corpus);
        frame = Buffer.concat([frame.subarray(0, at), other.subarray(random.below(other.length))]);
        break;
      }
      default:
        frame = Buffer.concat([
          frame.subarray(0, at),
          Buffer.from(
            Array.from({ length: random.below(12) }, () => random.pick([0xff, 0x80, 0, 1])),
          ),
          frame.subarray(at),
        ]);
    }
  }
  return frame;
}

/** What must hold of every result, so that the stages behind the codec need not ask. */
function check(result: DecodeResult): void {
  if (!result.ok) {
    expect(result.message).not.toBe('');
    expect(result.message.length).toBeLessThan(500);
    expect(Number.isSafeInteger(result.epoch) && Number.isSafeInteger(result.sequence)).toBe(true);
    return;
  }
  const { table, samples, epoch, sequence } = result.batch;
  expect(Number.isSafeInteger(epoch) && Number.isSafeInteger(sequence)).toBe(true);
  expect(samples.series.length).toBe(samples.values.length);
  expect(samples.timestampsMs.length).toBe(samples.values.length);
  expect(samples.values.length).toBeLessThanOrEqual(TEST_LIMITS.maxBatchSamples);
  expect(samples.series.every((index) => index < table.series.length)).toBe(true);
  expect(samples.timestampsMs.every((time) => Math.abs(time) <= 8.64e15)).toBe(true);
  for (const { name, labels } of table.series) {
    expect(name).not.toBe('');
    expect(labels.every(([key, value]) => key !== '' && value !== '')).toBe(true);
    expect(labels.every(([key], index) => index === 0 || labels[index - 1]![0] < key)).toBe(true);
  }
  // Whatever the codec lets through, the journal's readers can read.
  expect(decodeSeriesTable(table.bytes)).toEqual(table);
}

describe('the batch decoder', () => {
  it('has an answer to any bytes, and a sound batch where it accepts them', () => {
    const random = seededRandom();
    const corpus = [
      wireBatch(BATCH),
      unpackedWireBatch(BATCH),
      wireBatch({ metrics: BATCH.metrics! }),
      Buffer.concat([wireBatch(BATCH), bytesField(5, ''), wireBatch({ value: [1] })]),
    ];
    let decoder = new BatchDecoder(TEST_LIMITS);
    let accepted = 0;
    for (let round = 0; round < MUTATIONS; round += 1) {
      if (round % 50 === 0) decoder = new BatchDecoder(TEST_LIMITS);
      const frame = mutate(random, corpus);
      try {
        const remembering = decoder.decode(frame);
        check(remembering);
        // What a decoder remembers must not show in what it says.
        expect(remembering).toEqual(new BatchDecoder(TEST_LIMITS).decode(frame));
        if (remembering.ok) accepted += 1;
      } catch (error) {
        const input = `seed ${random.seed}, round ${round}, frame ${frame.toString('hex')}`;
        throw new Error(`failed with ${input}`, { cause: error });
      }
    }
    expect(accepted, `seed ${random.seed}`).toBeGreaterThan(MUTATIONS / 100);
  });

  it('takes memory in proportion to the frame, whatever it is made of', () => {
    const pieces = { chunks: [0x32, 0], elements: [0x30, 0], rows: [0x4a, 0], unknown: [0x78, 0] };
    for (const [name, piece] of Object.entries(pieces)) {
      const frame = Buffer.concat([wireBatch({}), Buffer.alloc(1 << 20, Buffer.from(piece))]);
      const decoder = new BatchDecoder(TEST_LIMITS);
      const before = process.memoryUsage();
      decoder.decode(frame);
      const after = process.memoryUsage();
      const used = after.heapUsed + after.external - before.heapUsed - before.external;
      expect(used, name).toBeLessThan(8 * frame.length);
    }
  });
});
