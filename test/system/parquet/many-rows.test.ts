/** What only many rows, files or queries show: that nothing breaks at size. */
import fs from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { BENCH_START_MS, type Bench, createBench, drive } from '../../helpers/warehouse-bench.ts';
import {
  canonical,
  duckdb,
  duckdbRows,
  expectedRows,
  makeRecord,
  makeSeries,
  makeTable,
  warehousePaths,
} from '../../helpers/warehouse-rows.ts';

const HOUR = 3_600_000;
const MINUTE = 60_000;

let bench: Bench;

afterEach(() => fs.rmSync(bench.root, { recursive: true, force: true }));

function oneSeries() {
  return bench.addTable(makeTable([makeSeries('m', { UUID: 'GPU-a' })]));
}

/** A record of `count` samples, a millisecond apart, from `timestampMs` on. */
function recordAt(seq: number, timestampMs: number, count = 1) {
  const samples = Array.from({ length: count }, (_, i) => ({
    series: 0,
    timestampMs: timestampMs + i,
    value: Math.sin(seq * 1000 + i),
  }));
  return makeRecord(seq, oneSeries(), samples);
}

test('a record over a thousand hours waits for the rotation like any other', async () => {
  bench = createBench();
  const samples = Array.from({ length: 1000 }, (_, i) => ({
    series: 0,
    timestampMs: BENCH_START_MS - i * HOUR,
    value: i,
  }));
  const writer = bench.open({ row_group_rows: 50 });
  const before = writer.stats().memory_bytes!;
  for (let seq = 1; seq <= 5; seq++) {
    expect(await writer.write([makeRecord(seq, oneSeries(), samples)])).toBeUndefined();
  }
  expect(warehousePaths(bench.root)).toEqual([]);
  expect(writer.stats()).toMatchObject({ open_partitions: 1000, files_sealed_total: 0 });
  expect(writer.stats().memory_bytes! - before).toBeLessThan(2_000_000);
  bench.clock.advance(HOUR);
  expect(await writer.tick()).toMatchObject({ cursor: 5 });
  expect(warehousePaths(bench.root)).toHaveLength(1000);
  expect(await duckdbRows(bench.root)).toHaveLength(5000);
});

test('a spool of three days is drained into one file for each of its hours', async () => {
  bench = createBench();
  const writer = bench.open({ row_group_rows: 500 });
  const journal = Array.from({ length: 720 }, (_, i) =>
    recordAt(i + 1, Date.parse('2025-07-15T20:00:00Z') + i * 6 * MINUTE, 20),
  );
  await drive(writer, journal, 10);
  expect(warehousePaths(bench.root)).toHaveLength(72);
  expect(writer.stats()).toMatchObject({ files_sealed_total: 72, rows_written_total: 14_400 });
  expect(canonical(await duckdbRows(bench.root))).toEqual(
    canonical(expectedRows(journal, bench.tables)),
  );
});

test('queries over the whole tree never fail while files are being made', async () => {
  bench = createBench();
  const writer = bench.open({ row_group_rows: 1000, max_file_bytes: 65_536 });
  let isDone = false;
  let queries = 0;
  let seen = 0;
  const reading = (async () => {
    while (!isDone) {
      await new Promise(setImmediate);
      if (warehousePaths(bench.root).length === 0) continue;
      for (const glob of ['metrics/**/*.parquet', '**/*.parquet', 'metrics/*/*/*']) {
        const [row] = await duckdb(
          `SELECT count(*)::INT AS n FROM read_parquet('${bench.root}/${glob}')`,
        );
        expect(Number(row!.n)).toBeGreaterThanOrEqual(seen);
        seen = Number(row!.n);
        queries++;
      }
    }
  })();
  for (let seq = 1; seq <= 2000 && queries < 30; seq++) {
    await writer.write([recordAt(seq, BENCH_START_MS + seq * 120_000, 900)]);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await writer.flush();
  isDone = true;
  await reading;
  expect(queries).toBeGreaterThanOrEqual(30);
});

test('100 000 rows of 500 series read back as written', async () => {
  bench = createBench();
  const table = bench.addTable(
    makeTable(
      Array.from({ length: 500 }, (_, i) => makeSeries(`m${i % 10}`, { UUID: `GPU-${i}` })),
    ),
  );
  const journal = Array.from({ length: 100 }, (_, k) =>
    makeRecord(
      k + 1,
      table,
      Array.from({ length: 1000 }, (_, i) => ({
        series: i % 500,
        timestampMs: BENCH_START_MS + k * 10_000 + Math.floor(i / 500) * 5000,
        value: Math.round(Math.sin(i + k) * 1000) / 10,
      })),
    ),
  );
  await drive(bench.open({ row_group_rows: 30_000 }), journal, 10);
  expect(canonical(await duckdbRows(bench.root))).toEqual(
    canonical(expectedRows(journal, bench.tables)),
  );
});
