/**
 * What the Parquet writer keeps in memory is counted with its true size and has a bound, whatever
 * the nodes send.
 */
import fs from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { BENCH_START_MS, type Bench, createBench } from '../../../helpers/warehouse-bench.ts';
import { duckdbRows, makeRecord, makeSeries, makeTable } from '../../../helpers/warehouse-rows.ts';

const MIB = 1024 * 1024;

let bench: Bench;
afterEach(() => fs.rmSync(bench.root, { recursive: true, force: true }));

test('long labels count with their length and bring about an early seal', async () => {
  bench = createBench();
  const writer = bench.open({ memory_bytes: 8 * MIB });
  let sealedAt: number | undefined;
  for (let seq = 1; seq <= 20 && sealedAt === undefined; seq++) {
    const series = Array.from({ length: 50 }, (_, i) =>
      makeSeries('m', { UUID: `GPU-${i}`, note: `${seq} ${i} `.padEnd(20_000, 'x') }),
    );
    const table = bench.addTable(makeTable(series));
    const samples = series.map((_, i) => ({ series: i, timestampMs: BENCH_START_MS, value: i }));
    const before = writer.stats().memory_bytes!;
    sealedAt = (await writer.write([makeRecord(seq, table, samples)]))?.cursor;
    const grown = writer.stats().memory_bytes! - before;
    if (sealedAt === undefined && seq > 1) expect(grown).toBeGreaterThan(50 * 20_000);
  }
  expect(sealedAt).toBe(8);
  expect(writer.stats()).toMatchObject({ memory_seals_total: 1, indexed_series: 0 });
  expect(await duckdbRows(bench.root)).toHaveLength(8 * 50);
});

test('tables that say the same series again take no more than their part, and no seals', async () => {
  bench = createBench();
  const writer = bench.open({ memory_bytes: 8 * MIB });
  const series = [makeSeries('m', { UUID: 'GPU-a' })];
  for (let seq = 1; seq <= 10_000; seq++) {
    const table = bench.addTable({ ...makeTable(series), id: `${seq}`.padStart(32, '0') });
    const sample = { series: 0, timestampMs: BENCH_START_MS + seq, value: seq };
    expect(await writer.write([makeRecord(seq, table, [sample])])).toBeUndefined();
  }
  expect(writer.stats()).toMatchObject({ indexed_series: 1, memory_seals_total: 0 });
  expect(writer.stats().memory_bytes).toBeLessThan(2 * MIB);
});

test('units are series of their own, and count', async () => {
  bench = createBench();
  const writer = bench.open({ memory_bytes: 8 * MIB });
  const series = Array.from({ length: 5000 }, (_, i) => makeSeries('m', {}, { unit: `unit ${i}` }));
  const table = bench.addTable(makeTable(series));
  const samples = series.map((_, i) => ({ series: i, timestampMs: BENCH_START_MS, value: i }));
  await writer.write([makeRecord(1, table, samples)]);
  expect(writer.stats().indexed_series).toBe(5000);
  expect(writer.stats().memory_bytes).toBeGreaterThan(5000 * (150 + 60));
});
