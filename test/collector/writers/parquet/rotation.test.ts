import fs from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { rotationDueMs } from '../../../../src/collector/writers/parquet/rotation.ts';
import {
  BENCH_START_MS,
  type Bench,
  createBench,
  drive,
} from '../../../helpers/warehouse-bench.ts';
import {
  canonical,
  duckdb,
  duckdbRows,
  expectedRows,
  makeRecord,
  makeSeries,
  makeTable,
  warehouseGlob,
  warehousePaths,
} from '../../../helpers/warehouse-rows.ts';

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

const relative = () => warehousePaths(bench.root).map((file) => file.slice(bench.root.length + 1));

describe('the time of rotation', () => {
  const at = (iso: string) => Date.parse(iso);
  test.each([
    ['2025-07-18T20:42:34Z', 3600, '2025-07-18T21:01:00Z'],
    ['2025-07-18T20:59:59.999Z', 3600, '2025-07-18T21:01:00Z'],
    ['2025-07-18T21:00:59.999Z', 3600, '2025-07-18T21:01:00Z'],
    ['2025-07-18T21:01:00Z', 3600, '2025-07-18T22:01:00Z'],
    ['2025-07-18T20:42:34Z', 300, '2025-07-18T20:45:15Z'],
    ['2025-07-18T20:42:34Z', 86_400, '2025-07-19T00:01:00Z'],
    ['2025-07-18T20:42:34Z', 1, '2025-07-18T20:42:34.050Z'],
    // Clocks in Europe and in the US jump at these hours; UTC does not.
    ['2025-03-30T00:30:00Z', 3600, '2025-03-30T01:01:00Z'],
    ['2025-10-26T00:30:00Z', 3600, '2025-10-26T01:01:00Z'],
  ])('rows that wait since %s with an interval of %i s are finished at %s', (first, secs, due) => {
    bench = createBench();
    expect(new Date(rotationDueMs(at(first), secs)).toISOString()).toBe(
      new Date(at(due)).toISOString(),
    );
  });
});

test('files appear at one minute past the hour, not before', async () => {
  bench = createBench();
  const writer = bench.open();
  expect(await writer.write([recordAt(1, BENCH_START_MS)])).toBeUndefined();
  bench.clock.advance(18 * MINUTE + 25_999);
  expect(await writer.tick()).toBeUndefined();
  expect(relative()).toEqual([]);
  bench.clock.advance(1);
  expect(await writer.tick()).toMatchObject({ cursor: 1, writtenSamples: 1 });
  expect(relative()).toEqual([
    'metrics/date=2025-07-18/hour=20/part-c1-0000000000000001-0000000000000001.parquet',
  ]);
  expect(writer.stats()).toMatchObject({
    files_sealed_total: 1,
    buffered_rows: 0,
    open_partitions: 0,
  });
});

test('a wall clock that is set back does not put rotation off', async () => {
  bench = createBench();
  const writer = bench.open();
  await writer.write([recordAt(1, BENCH_START_MS)]);
  bench.clock.setWall(BENCH_START_MS - 10 * HOUR);
  bench.clock.advance(HOUR);
  expect(await writer.tick()).toMatchObject({ cursor: 1, writtenSamples: 1 });
});

test('an open file that reaches max_file_bytes ends the waiting for all hours', async () => {
  bench = createBench();
  const writer = bench.open({ max_file_bytes: 65_536 });
  await writer.write([recordAt(1, BENCH_START_MS - HOUR)]);
  const progress = [];
  for (let seq = 2; seq <= 20; seq++) {
    progress.push((await writer.write([recordAt(seq, BENCH_START_MS + seq * 1000, 1000)]))?.cursor);
  }
  expect(progress.filter((cursor) => cursor !== undefined).length).toBeGreaterThan(1);
  const [late, first] = warehousePaths(bench.root);
  expect(late).toMatch('hour=19');
  expect(fs.statSync(first!).size).toBeGreaterThan(20_000);
  expect(fs.statSync(first!).size).toBeLessThan(131_072);
});

test('a bounded part of the journal waits for a seal', async () => {
  bench = createBench();
  const writer = bench.open({ seal_after_journal_bytes: 500 });
  const journal = Array.from({ length: 9 }, (_, i) => recordAt(i + 1, BENCH_START_MS + i));
  expect(await writer.write(journal)).toMatchObject({
    cursor: 5,
    writtenSamples: 5,
    deadLetteredSamples: 0,
  });
  expect(relative()).toHaveLength(1);
});

test('records without rows are progress at once', async () => {
  bench = createBench();
  const writer = bench.open();
  expect(await writer.write([makeRecord(1, oneSeries(), [])])).toEqual({
    ...{ cursor: 1, writtenSamples: 0, deadLetteredSamples: 0, files: [] },
  });
  expect(relative()).toEqual([]);
  expect(await writer.flush()).toBeUndefined();
});

test('rows lie in the UTC hour of their own time, whatever the zone and the edge', async () => {
  bench = createBench();
  const edge = Date.parse('2025-10-26T01:00:00Z');
  const times = [edge - 1, edge, edge + 1, edge + HOUR - 1, edge + HOUR, edge + 0.25 - HOUR];
  const journal = times.map((time, i) => recordAt(i + 1, time));
  await drive(bench.open(), journal, 2);
  const counts = await duckdb(
    `SELECT date::VARCHAR AS date, hour, count(*)::INT AS rows FROM ${warehouseGlob(bench.root)}
     GROUP BY ALL ORDER BY ALL`,
  );
  expect(counts).toEqual([
    { date: '2025-10-26', hour: '00', rows: 2 },
    { date: '2025-10-26', hour: '01', rows: 3 },
    { date: '2025-10-26', hour: '02', rows: 1 },
  ]);
  expect(canonical(await duckdbRows(bench.root))).toEqual(
    canonical(expectedRows(journal, bench.tables)),
  );
});

test('late rows make a new file in their own hour and leave the old file alone', async () => {
  bench = createBench();
  const writer = bench.open();
  await drive(writer, [recordAt(1, BENCH_START_MS)], 1);
  const [first] = warehousePaths(bench.root);
  const before = fs.readFileSync(first!);
  bench.clock.advance(5 * HOUR);
  await drive(writer, [recordAt(2, BENCH_START_MS + 7), recordAt(3, BENCH_START_MS + 5 * HOUR)], 2);
  expect(relative()).toEqual([
    'metrics/date=2025-07-18/hour=20/part-c1-0000000000000001-0000000000000001.parquet',
    'metrics/date=2025-07-18/hour=20/part-c1-0000000000000002-0000000000000003.parquet',
    'metrics/date=2025-07-19/hour=01/part-c1-0000000000000002-0000000000000003.parquet',
  ]);
  expect(fs.readFileSync(first!)).toEqual(before);
});

test('closing gives unfinished files up, twice without harm, and the rows come again', async () => {
  bench = createBench();
  const writer = bench.open({ row_group_rows: 250 });
  const journal = [recordAt(1, BENCH_START_MS, 900), recordAt(2, BENCH_START_MS + 5000, 900)];
  await writer.write(journal);
  expect(writer.stats().staging_bytes).toBeGreaterThan(20_000);
  await writer.close();
  await writer.close();
  expect(fs.readdirSync(`${bench.root}/.staging`)).toEqual([]);
  expect(relative()).toEqual([]);
  await drive(bench.open(), journal, 2);
  expect(await duckdbRows(bench.root)).toHaveLength(1800);
});

test('a directory that cannot be used is an operating error', () => {
  bench = createBench();
  fs.writeFileSync(`${bench.root}/metrics`, '');
  expect(() => bench.open()).toThrow(/^cannot open the warehouse: /);
});
