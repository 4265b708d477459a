import fs from 'node:fs';
import path from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { CatalogEntry } from '../../../../src/collector/writers/parquet/recovery.ts';
import { filesToRemove } from '../../../../src/collector/writers/parquet/retention.ts';
import {
  BENCH_START_MS,
  type Bench,
  createBench,
  drive,
} from '../../../helpers/warehouse-bench.ts';
import {
  makeRecord,
  makeSeries,
  makeTable,
  warehousePaths,
} from '../../../helpers/warehouse-rows.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const MINUTE = 60_000;

let bench: Bench | undefined;

afterEach(() => {
  if (bench !== undefined) fs.rmSync(bench.root, { recursive: true, force: true });
});

function journalOfHours(hours: readonly number[]) {
  const table = bench!.addTable(makeTable([makeSeries('m')]));
  return hours.map((hour, i) =>
    makeRecord(i + 1, table, [{ series: 0, timestampMs: BENCH_START_MS + hour * HOUR, value: i }]),
  );
}

const hoursLeft = () =>
  warehousePaths(bench!.root).map((file) => /date=(.*)\/hour=(..)/.exec(file)!.slice(1).join('T'));

test('hours older than retention_days go, with their directories; younger ones stay', async () => {
  bench = createBench();
  const writer = bench.open({ retention_days: 2 });
  await drive(writer, journalOfHours([-49, -48, -47, 0]), 4);
  await writer.tick();
  expect(hoursLeft()).toEqual(['2025-07-16T20', '2025-07-16T21', '2025-07-18T20']);
  expect(fs.readdirSync(`${bench.root}/metrics/date=2025-07-16`)).toEqual(['hour=20', 'hour=21']);
  const records = journalOfHours([0, 0, 0, 0, 24 * 3]);
  await writer.write(records.slice(4));
  bench.clock.advance(3 * DAY);
  for (let minute = 0; minute < 5; minute++) {
    await writer.tick();
    bench.clock.advance(MINUTE);
  }
  expect(hoursLeft()).toEqual(['2025-07-21T20']);
  expect(fs.readdirSync(`${bench.root}/metrics`)).toEqual(['date=2025-07-21']);
  expect(writer.stats()).toMatchObject({ files_removed_total: 4, visible_files: 1 });
});

test('age is the distance from the newest data: a clock that is ahead removes nothing', async () => {
  bench = createBench();
  await drive(bench.open(), journalOfHours(Array.from({ length: 40 }, (_, i) => i - 40)), 40);
  // The machine comes up with a clock that is 33 days ahead.
  bench.clock.setWall(BENCH_START_MS + 33 * DAY);
  const writer = bench.open({ retention_days: 30 }, { startCursor: 40 });
  await writer.tick();
  expect(hoursLeft()).toHaveLength(40);
  expect(writer.stats()).toMatchObject({ clock_jumps_total: 0, age_retention_held: 0 });
});

test('a tick removes a twentieth of the files at most, oldest first', async () => {
  bench = createBench();
  const hours = Array.from({ length: 39 }, (_, i) => i - 800);
  await drive(bench.open(), journalOfHours([...hours, 0]), 40);
  const writer = bench.open({ retention_days: 30 }, { startCursor: 40 });
  await writer.tick();
  expect(hoursLeft()).toHaveLength(38);
  bench.clock.advance(MINUTE);
  await writer.tick();
  expect(hoursLeft()).toHaveLength(36);
  expect(hoursLeft().at(-1)).toBe('2025-07-18T20');
});

test('a jump of the clock is told, and holds removal by age for a day but not by bytes', async () => {
  bench = createBench();
  const writer = bench.open({ retention_days: 30, retention_bytes: 40_000 });
  await drive(writer, journalOfHours([-2, -1, 0]), 3);
  await writer.tick();
  bench.clock.setWall(BENCH_START_MS + 33 * DAY);
  // Data of the same wrong clock: the newest hour is ahead as well.
  await drive(writer, journalOfHours([0, 0, 0, 33 * 24 - 1]), 4, 3);
  bench.clock.advance(MINUTE);
  await writer.tick();
  expect(hoursLeft()).toHaveLength(4);
  expect(writer.stats()).toMatchObject({ clock_jumps_total: 1, age_retention_held: 1 });
  expect(bench.logged).toContainEqual(
    expect.objectContaining({ level: 'error', message: expect.stringMatching('clock jumped') }),
  );
  bench.clock.advance(DAY);
  await writer.tick();
  expect(hoursLeft()).toHaveLength(3);
  expect(writer.stats()).toMatchObject({ clock_jumps_total: 1, age_retention_held: 0 });
  await writer.close();
  const tight = bench.open({ retention_bytes: 1 }, { startCursor: 4 });
  bench.clock.setWall(BENCH_START_MS + 40 * DAY);
  await tight.tick();
  expect(tight.stats()).toMatchObject({ age_retention_held: 1, files_removed_total: 1 });
});

test('the oldest files go while there are more bytes than retention_bytes', async () => {
  bench = createBench();
  await drive(bench.open(), journalOfHours([-3, -2, -1]), 3);
  const [size] = warehousePaths(bench.root).map((file) => fs.statSync(file).size);
  const writer = bench.open({ retention_bytes: size! * 2 + 20 }, { startCursor: 3 });
  await writer.tick();
  expect(hoursLeft()).toEqual(['2025-07-18T18', '2025-07-18T19']);
});

test('it runs once a minute at most', async () => {
  bench = createBench();
  await drive(bench.open(), journalOfHours([-51, -50, 0]), 3);
  const writer = bench.open({ retention_days: 2 }, { startCursor: 3 });
  await writer.tick();
  expect(hoursLeft()).toHaveLength(2);
  bench.clock.advance(MINUTE - 1);
  await writer.tick();
  expect(hoursLeft()).toHaveLength(2);
  bench.clock.advance(1);
  await writer.tick();
  expect(hoursLeft()).toHaveLength(1);
});

test('the files of other collectors and whatever else lies in an hour stay', async () => {
  bench = createBench();
  await drive(bench.open({ collector_id: 'other' }), journalOfHours([-72]), 1);
  const stranger = path.join(path.dirname(warehousePaths(bench.root)[0]!), 'notes.txt');
  fs.writeFileSync(stranger, 'mine');
  const writer = bench.open({ retention_days: 1, retention_bytes: 1 });
  await drive(writer, journalOfHours([-72]), 1);
  await writer.tick();
  expect(warehousePaths(bench.root)).toHaveLength(1);
  expect(fs.existsSync(stranger)).toBe(true);
});

test('files that were removed by hand count as removed', async () => {
  bench = createBench();
  await drive(bench.open(), journalOfHours([-5, -4, -3, -2]), 4);
  const files = warehousePaths(bench.root);
  const bytes = files.reduce((sum, file) => sum + fs.statSync(file).size, 0);
  const writer = bench.open({ retention_bytes: bytes - 1 }, { startCursor: 4 });
  fs.rmSync(files[3]!);
  await writer.tick();
  expect(warehousePaths(bench.root)).toEqual(files.slice(0, 3));
  expect(writer.stats()).toMatchObject({ visible_files: 3 });
});

test('never the running hour, an hour with rows waiting, or a file a replay may need', () => {
  const entry = (hour: number, neededUntilSeq = 1): CatalogEntry => ({
    path: `${hour}`,
    collectorId: 'c1',
    hourMs: hour * HOUR,
    firstSeq: 1,
    lastSeq: neededUntilSeq,
    bytes: 100,
    neededUntilSeq,
  });
  const files = [entry(1), entry(2), entry(3, 9), entry(4), entry(10)];
  const state = { cursor: 5, isOpen: (hourMs: number) => hourMs === 2 * HOUR };
  const removed: string[] = [];
  for (let left = files; ; ) {
    const due = filesToRemove(left, { days: 0, bytes: 1 }, 10.5 * HOUR, state);
    if (due.length === 0) break;
    removed.push(...due.map((file) => file.path));
    left = left.filter((file) => !due.includes(file));
  }
  expect(removed).toEqual(['1', '4']);
});
