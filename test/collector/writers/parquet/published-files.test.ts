import fs from 'node:fs';
import path from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { type Bench, BENCH_START_MS, createBench } from '../../../helpers/warehouse-bench.ts';
import {
  makeRecord,
  makeSeries,
  makeTable,
  warehousePaths,
} from '../../../helpers/warehouse-rows.ts';

const HOUR = 3_600_000;

let bench: Bench;

afterEach(() => fs.rmSync(bench.root, { recursive: true, force: true }));

/** A record with a sample in each of two hours. */
function twoHours(seq: number) {
  const table = bench.addTable(makeTable([makeSeries('m', { UUID: 'GPU-a' })]));
  return makeRecord(seq, table, [
    { series: 0, timestampMs: BENCH_START_MS, value: seq },
    { series: 0, timestampMs: BENCH_START_MS + HOUR, value: seq },
  ]);
}

const records = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => twoHours(from + index));

test('progress names the files between the cursors', async () => {
  bench = createBench();
  const writer = bench.open();
  await writer.write(records(1, 10));
  const first = await writer.flush();
  expect(first?.files?.map((file) => file.path)).toEqual(warehousePaths(bench.root));
  expect(first?.files).toMatchObject([
    { firstSeq: 1, lastSeq: 10, hourMs: Math.floor(BENCH_START_MS / HOUR) * HOUR },
    { firstSeq: 1, lastSeq: 10, hourMs: Math.floor(BENCH_START_MS / HOUR) * HOUR + HOUR },
  ]);
  await writer.write(records(11, 12));
  const second = await writer.flush();
  expect(second?.files).toMatchObject([
    { firstSeq: 11, lastSeq: 12 },
    { firstSeq: 11, lastSeq: 12 },
  ]);
  await writer.close();
});

test('after a crash between two files of a seal, the cursor does not stop inside the first', async () => {
  bench = createBench();
  const before = bench.open();
  await before.write(records(1, 10));
  const sealed = await before.flush();
  await before.close();
  // As if the crash had come before the second file was renamed, and before the cursor moved.
  fs.rmSync(sealed!.files![1]!.path);
  const after = bench.open({ max_file_bytes: 1 });
  expect(await after.write(records(1, 5))).toBeUndefined();
  bench.clock.advance(2 * HOUR);
  expect(await after.tick()).toBeUndefined();
  expect(await after.flush()).toBeUndefined();
  const progress = await after.write(records(6, 12));
  const files = progress?.files ?? [];
  expect(progress?.cursor).toBe(12);
  expect(files.filter(({ firstSeq }) => firstSeq <= 10)).toMatchObject([
    { firstSeq: 1, lastSeq: 10 },
    { firstSeq: 1, lastSeq: 10 },
  ]);
  expect(files.map((file) => file.path).sort()).toEqual(warehousePaths(bench.root).sort());
  expect(path.basename(files[0]!.path)).toBe(path.basename(sealed!.files![0]!.path));
  await after.close();
});
