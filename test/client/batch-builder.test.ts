import { expect, test } from 'vitest';
import { BatchBuilder } from '../../src/client/batch-builder.ts';
import type { Reading } from '../../src/client/reading.ts';
import { encodeBatch } from '../../src/codec/encode-batch.ts';
import { describeSeries } from '../../src/domain/telemetry.ts';

const LIMITS = { maxBatchSamples: 1000, maxBatchBytes: 1024 * 1024 };

function reading(name: string, labels: Record<string, string> = {}, value = 1): Reading {
  return { name, labels, kind: 'gauge', unit: 'W', timestampMs: 1_700_000_000_000, value };
}

function readings(count: number, prefix = 'metric'): Reading[] {
  return Array.from({ length: count }, (_, index) => reading(`${prefix}_${index}`, { gpu: '0' }));
}

test('a table keeps its bytes while the set of series is the same, in whatever order they come', () => {
  const builder = new BatchBuilder();
  const [first] = builder.build(readings(50), LIMITS).batches;
  const [second] = builder.build(readings(50).reverse(), LIMITS).batches;
  const [fewer] = builder.build(readings(20), LIMITS).batches;
  expect(second?.table).toBe(first?.table);
  expect(fewer?.table).toBe(first?.table);
});

test('a sample points at its own series', () => {
  const builder = new BatchBuilder();
  builder.build([reading('a'), reading('b', { x: '1' })], LIMITS);
  const [batch] = builder.build([reading('b', { x: '1' }, 7), reading('a', {}, 8)], LIMITS).batches;
  const named = [...batch!.samples.series].map((index, at) => [
    describeSeries(batch!.table.series[index]!),
    batch!.samples.values[at],
  ]);
  expect(named).toEqual([
    ['b{x="1"}', 7],
    ['a', 8],
  ]);
});

test('new series are appended, so that known ones keep their places', () => {
  const builder = new BatchBuilder();
  const [before] = builder.build(readings(3), LIMITS).batches;
  const [after] = builder.build(readings(5), LIMITS).batches;
  expect(after?.table.series.slice(0, 3)).toEqual(before?.table.series);
  expect(after?.table.id).not.toBe(before?.table.id);
});

test('the order of labels and empty labels make no other series', () => {
  const builder = new BatchBuilder();
  builder.build([reading('m', { a: '1', b: '2' })], LIMITS);
  builder.build([reading('m', { b: '2', a: '1', c: '' })], LIMITS);
  expect(builder.seriesCount).toBe(1);
});

test('labels that only look alike when strung together are different series', () => {
  const builder = new BatchBuilder();
  builder.build([reading('m', { a: 'bc' }), reading('m', { ab: 'c' })], LIMITS);
  builder.build([reading('m', { a: '1|1:1:b2' }), reading('m', { a: '1', b: '2' })], LIMITS);
  expect(builder.seriesCount).toBe(4);
});

test('batches hold no more samples than the collector takes', () => {
  const builder = new BatchBuilder();
  const { batches } = builder.build(readings(2500), LIMITS);
  expect(batches.map((batch) => batch.samples.series.length)).toEqual([1000, 1000, 500]);
  expect(batches.map((batch) => batch.table.series.length)).toEqual([1000, 1000, 500]);
});

test('batches hold no more bytes than the collector takes', () => {
  const limits = { maxBatchSamples: 1000, maxBatchBytes: 16_384 };
  const builder = new BatchBuilder();
  const many = Array.from({ length: 900 }, (_, index) =>
    reading(`metric_with_a_rather_long_name_${index}`, { pod: `pod-${index}-${'x'.repeat(60)}` }),
  );
  const { batches, skipped } = builder.build(many, limits);
  expect(skipped).toEqual([]);
  expect(batches.reduce((sum, batch) => sum + batch.samples.series.length, 0)).toBe(900);
  for (const { table, samples } of batches) {
    const bytes = encodeBatch({
      nodeId: 'n'.repeat(200),
      epoch: 2 ** 50,
      sequence: 9,
      table,
      samples,
    });
    expect(bytes.length).toBeLessThanOrEqual(limits.maxBatchBytes);
  }
});

test('many samples of few series are split by bytes', () => {
  const limits = { maxBatchSamples: 100_000, maxBatchBytes: 16_384 };
  const far = Array.from({ length: 5000 }, (_, index) => ({
    ...reading('m'),
    timestampMs: index % 2 === 0 ? 0 : 8_000_000_000_000,
  }));
  const { batches } = new BatchBuilder().build(far, limits);
  expect(batches.reduce((sum, batch) => sum + batch.samples.series.length, 0)).toBe(5000);
  for (const { table, samples } of batches) {
    const bytes = encodeBatch({ nodeId: '', epoch: 1, sequence: 1, table, samples });
    expect(bytes.length).toBeLessThanOrEqual(limits.maxBatchBytes);
  }
});

test('tighter limits lay the tables out anew', () => {
  const builder = new BatchBuilder();
  builder.build(readings(900), LIMITS);
  const { batches } = builder.build(readings(900), { ...LIMITS, maxBatchSamples: 400 });
  expect(batches.map((batch) => batch.table.series.length)).toEqual([400, 400, 100]);
});

test('a table shrinks once more than half of its series have been gone for a while', () => {
  const builder = new BatchBuilder({ goneAfterBuilds: 3 });
  const [full] = builder.build(readings(100), LIMITS).batches;
  const last = readings(100).slice(90);
  for (let build = 0; build < 3; build += 1) {
    const [batch] = builder.build(last, LIMITS).batches;
    expect(batch?.table).toBe(full?.table);
  }
  const [small] = builder.build(last, LIMITS).batches;
  const names = [...small!.samples.series].map((index) => small!.table.series[index]?.name);
  expect(names).toEqual(last.map((each) => each.name));
  expect(small?.table.series).toHaveLength(10);
  expect(builder.seriesCount).toBe(10);
});

test('a table whose series have all gone is given up', () => {
  const builder = new BatchBuilder({ goneAfterBuilds: 1 });
  builder.build(readings(10, 'old'), LIMITS);
  for (let build = 0; build < 3; build += 1) builder.build([], LIMITS);
  expect(builder.seriesCount).toBe(0);
  expect(builder.build(readings(3), LIMITS).batches).toHaveLength(1);
});

test('readings past the series bound are skipped and counted', () => {
  const builder = new BatchBuilder({ maxSeries: 2 });
  const { batches, skipped } = builder.build(readings(3), LIMITS);
  expect(batches[0]?.samples.series).toHaveLength(2);
  expect(skipped).toEqual([{ what: 'metric_2', why: 'over 2 series of this agent', count: 1 }]);
});

test('readings that no collector could take are skipped with the reason', () => {
  const builder = new BatchBuilder();
  const bad = [
    reading('nan', {}, Number.NaN),
    reading('nan', {}, Number.NaN),
    reading('', {}),
    { ...reading('late'), timestampMs: 1.5 },
    reading('huge', { text: 'x'.repeat(2_000_000) }),
  ];
  const { batches, skipped } = builder.build(bad, LIMITS);
  expect(batches).toEqual([]);
  expect(skipped).toEqual([
    { what: 'nan', why: 'the value is not a finite number', count: 2 },
    { what: '', why: 'no metric name', count: 1 },
    { what: 'late', why: 'the time is not whole milliseconds', count: 1 },
    { what: 'huge', why: 'the series alone is too large for a batch', count: 1 },
  ]);
});

test('a series over the collector’s limits is skipped, so that its batch is not refused for it', () => {
  const limits = { ...LIMITS, maxNameBytes: 8, maxLabelsPerSeries: 2, maxLabelValueBytes: 5 };
  const builder = new BatchBuilder();
  const bad = [
    reading('a_long_name'),
    reading('key', { a_long_key: '1' }),
    reading('many', { a: '1', b: '2', c: '3' }),
    reading('value', { a: 'ää1234' }),
  ];
  const built = builder.build([reading('fine', { a: '12345' }), ...bad], limits);
  expect(built.batches.flatMap(({ table }) => table.series.map(({ name }) => name))).toEqual([
    'fine',
  ]);
  expect(built.skipped.map(({ what }) => what)).toEqual(['a_long_name', 'key', 'many', 'value']);
  expect(built.skipped.every(({ why }) => why.includes("the collector's limit"))).toBe(true);
  // A collector that does not say its limits has none that are known.
  expect(builder.build(bad, { ...LIMITS, maxNameBytes: 0 }).skipped).toEqual([]);
});

test('a batch falls into no more hours than the collector takes, and nothing is left out', () => {
  const hours = Array.from({ length: 50 }, (_, hour) => hour);
  const wide = hours.map((hour) => ({
    ...reading('m', { gpu: '0' }, hour),
    timestampMs: 1_700_000_000_000 + hour * 3_600_000,
  }));
  const limits = { ...LIMITS, maxHoursPerBatch: 24 };
  const { batches } = new BatchBuilder().build(wide, limits);
  expect(batches.map(({ samples }) => samples.values.length)).toEqual([24, 24, 2]);
  expect(batches.flatMap(({ samples }) => [...samples.values])).toEqual(hours);
  expect(new BatchBuilder().build(wide, LIMITS).batches).toHaveLength(1);
});
