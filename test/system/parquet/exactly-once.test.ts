/**
 * Promise 2 and promise 6 of the warehouse: each row exactly once and no visible partial file,
 * whatever the disk does. Every operation of a seal over several hours is made to fail in turn.
 */
import fs from 'node:fs';
import { parquetMetadata } from 'hyparquet';
import { afterEach, describe, expect, test } from 'vitest';
import { nodeFileSystem } from '../../../src/lib/filesystem.ts';
import { heldUpTo, readProgressNote } from '../../../src/warehouse/progress-note.ts';
import { readFooter } from '../../../src/warehouse/warehouse.ts';
import { newestWrittenSeq } from '../../../src/collector/writers/parquet/recovery.ts';
import type { WriterRecord } from '../../../src/collector/writers/writer.ts';
import { type Fault, faultyFileSystem } from '../../helpers/faulty-filesystem.ts';
import { type Bench, createBench, drive } from '../../helpers/warehouse-bench.ts';
import {
  canonical,
  expectedRows,
  hyparquetRows,
  makeRecord,
  makeSeries,
  makeTable,
  type WarehouseRow,
  warehousePaths,
} from '../../helpers/warehouse-rows.ts';

const HOUR = 3_600_000;
const START = Date.parse('2025-07-18T20:00:00Z');

let bench: Bench;

afterEach(() => fs.rmSync(bench.root, { recursive: true, force: true }));

/** Twelve records of four samples; each touches two or three of four hours. */
function multiHourJournal(): WriterRecord[] {
  const series = [0, 1, 2, 3].map((i) => makeSeries(`metric_${i}`, { UUID: `GPU-${i % 2}` }));
  const table = bench.addTable(makeTable(series));
  return Array.from({ length: 12 }, (_, i) =>
    makeRecord(
      i + 1,
      table,
      [0, 1, 2, 3].map((k) => ({
        series: k,
        timestampMs: START + ((i * 3 + k * 5) % 4) * HOUR + i * 1000 + k,
        value: i * 10 + k,
      })),
    ),
  );
}

async function visibleRows(): Promise<WarehouseRow[]> {
  const rows = await Promise.all(
    warehousePaths(bench.root).map((file) => hyparquetRows(file, true)),
  );
  return rows.flat();
}

/** Every visible file is complete, and its rows lie in its hour. */
async function expectWholeFiles(): Promise<void> {
  for (const file of warehousePaths(bench.root)) {
    expect(readFooter(nodeFileSystem, file)).toMatchObject({ ok: true });
    const hour = /date=(.{10})\/hour=(..)/.exec(file)!;
    for (const { ts } of await hyparquetRows(file, true)) {
      expect(new Date(Number(ts) / 1000).toISOString()).toMatch(`${hour[1]}T${hour[2]}`);
    }
  }
}

async function expectExactlyOnce(journal: readonly WriterRecord[]): Promise<void> {
  await expectWholeFiles();
  expect(canonical(await visibleRows())).toEqual(canonical(expectedRows(journal, bench.tables)));
}

/** How many operations opening and one seal of the first `records` records take. */
async function countOperations(settings: object, records = 12): Promise<number> {
  bench = createBench();
  const counting = faultyFileSystem();
  await drive(bench.open(settings, { fs: counting }), multiHourJournal().slice(0, records), 5);
  fs.rmSync(bench.root, { recursive: true });
  return counting.operations.length;
}

const SHAPES = [
  { encoder: 'hyparquet', row_group_rows: 98_304 },
  { encoder: 'hyparquet', row_group_rows: 3 },
  { encoder: 'parquetjs', row_group_rows: 5 },
] as const;

const CRASHES = [
  { kind: 'crash_before', powerCut: false },
  { kind: 'crash_after', powerCut: true },
  { kind: 'torn_write', powerCut: true },
] as const;

// The commit order is the same for both encoders: one kind of crash is enough for the slow one.
const crashesOf = (encoder: string) => (encoder === 'parquetjs' ? CRASHES.slice(1, 2) : CRASHES);

describe.each(SHAPES)('with $encoder and row groups of $row_group_rows', (settings) => {
  test.each(crashesOf(settings.encoder))(
    'a crash at any operation ($kind, power cut: $powerCut) loses and repeats nothing',
    async ({ kind, powerCut }) => {
      const operations = await countOperations(settings, 9);
      expect(operations).toBeGreaterThan(30);
      for (let at = 0; at < operations; at++)
        await crashAndReplay({ at, kind }, powerCut, settings);
    },
  );

  test.each(['ENOSPC', 'EIO'] as const)(
    '%s at any operation is got over by the same writer',
    async (kind) => {
      const operations = await countOperations(settings);
      for (let at = 0; at < operations; at++) await failAndGoOn({ at, kind }, settings);
    },
  );
});

/** The process dies at the fault; a new one replays with other slices and other seals. */
async function crashAndReplay(fault: Fault, powerCut: boolean, settings: object): Promise<void> {
  bench = createBench();
  const journal = multiHourJournal();
  const disk = faultyFileSystem(fault);
  try {
    await drive(bench.open(settings, { fs: disk }), journal.slice(0, 9), 5);
    // Only where everything was done already does nobody hear of it.
    expect(disk.operations[fault.at]).toMatch(/^(close|remove) .*spill/);
  } catch (error) {
    if (!(error instanceof Error && /crash/.test(error.message))) throw error;
  }
  if (powerCut) disk.cutPower();
  await expectWholeFiles();
  // The replay has three records more and seals after every second one.
  const replayed = await drive(
    bench.open({ ...settings, seal_after_journal_bytes: 300 }),
    journal,
    4,
  );
  expect(replayed).toBe(12);
  await expectExactlyOnce(journal);
  // Nothing was committed in between: the same once more from the very start changes nothing.
  const before = warehousePaths(bench.root);
  expect(await drive(bench.open(settings), journal, 7)).toBe(12);
  expect(warehousePaths(bench.root)).toEqual(before);
  fs.rmSync(bench.root, { recursive: true });
}

/** The fault passes; the loop reads again from where the writer asks, in other slices. */
async function failAndGoOn(fault: Fault, settings: object): Promise<void> {
  bench = createBench();
  const journal = multiHourJournal();
  const disk = faultyFileSystem(fault);
  let writer: ReturnType<Bench['open']> | undefined;
  let failures = 0;
  let cursor = 0;
  for (let attempt = 0; cursor < 12 && attempt < 3; attempt++) {
    try {
      writer ??= bench.open(settings, { fs: disk });
      cursor = await drive(writer, journal, attempt === 0 ? 5 : 2, cursor);
    } catch (error) {
      failures++;
      expect(error).toMatchObject({ code: 'WAREHOUSE_FAILED' });
      if (writer !== undefined) expect(writer.readFrom!()).toBe(1);
      await expectWholeFiles();
    }
  }
  expect(cursor).toBe(12);
  await writer!.close();
  await expectExactlyOnce(journal);
  // A fault that a cleanup ran into is the only one that nobody hears of.
  if (failures === 0) expect(disk.operations[fault.at]).toMatch(/^(remove|close)/);
  expect(fs.readdirSync(`${bench.root}/.staging`)).toEqual([]);
  fs.rmSync(bench.root, { recursive: true });
}

test('a power cut after the replay of a crash cannot take back what the crash left unsynced', async () => {
  const operations = await countOperations(SHAPES[0]);
  for (let at = 0; at < operations; at++) {
    bench = createBench();
    const journal = multiHourJournal();
    const disk = faultyFileSystem({ at, kind: 'crash_after' });
    await expect((async () => drive(bench.open({}, { fs: disk }), journal, 5))()).rejects.toThrow(
      /crash/,
    );
    disk.restart();
    expect(await drive(bench.open({}, { fs: disk }), journal, 5)).toBe(12);
    // The cursor is committed now, so nothing will come again.
    disk.cutPower();
    await expectExactlyOnce(journal);
    fs.rmSync(bench.root, { recursive: true });
  }
});

test('going on after a failure without the lost records is refused', async () => {
  bench = createBench();
  const journal = multiHourJournal();
  const disk = faultyFileSystem({ at: 8, kind: 'ENOSPC' });
  const writer = bench.open({}, { fs: disk });
  await writer.write(journal.slice(0, 5));
  await expect(writer.flush()).rejects.toMatchObject({ code: 'WAREHOUSE_FAILED' });
  await expect(writer.write(journal.slice(5))).rejects.toMatchObject({
    code: 'WAREHOUSE_RECORDS_MISSING',
  });
  await drive(writer, journal, 3);
  await expectExactlyOnce(journal);
});

test('records handed over twice are written once', async () => {
  bench = createBench();
  const journal = multiHourJournal();
  const writer = bench.open();
  await writer.write(journal.slice(0, 8));
  await writer.write(journal.slice(2));
  await writer.flush();
  await expectExactlyOnce(journal);
});

test('a crash during the replay of a crash still writes each row once', async () => {
  const operations = await countOperations(SHAPES[0]);
  for (let first = 20; first < operations; first += 3) {
    for (let second = 5; second < operations; second += 7) {
      bench = createBench();
      const journal = multiHourJournal();
      for (const [at, records, slice] of [
        [first, 7, 3],
        [second, 10, 4],
      ] as const) {
        const disk = faultyFileSystem({ at, kind: 'crash_after' });
        try {
          await drive(bench.open({}, { fs: disk }), journal.slice(0, records), slice);
        } catch {
          disk.cutPower();
        }
      }
      await drive(bench.open({ seal_after_journal_bytes: 450 }), journal, 5);
      await expectExactlyOnce(journal);
      fs.rmSync(bench.root, { recursive: true });
    }
  }
});

test('a new journal that counts from the start again loses nothing to the files of the old one', async () => {
  bench = createBench();
  const journal = multiHourJournal();
  await drive(bench.open({ journal_id: 'old' }), journal, 5);
  const names = warehousePaths(bench.root);
  const again = journal.map((record) => ({ ...record, nodeId: 'node-2' }));
  expect(await drive(bench.open({ journal_id: 'new' }), again, 5)).toBe(12);
  expect(warehousePaths(bench.root)).toHaveLength(2 * names.length);
  expect(canonical(await visibleRows())).toEqual(
    canonical(expectedRows([...journal, ...again], bench.tables)),
  );
});

test('collectors that share a warehouse do not mistake each other’s files for their own', async () => {
  bench = createBench();
  const journal = multiHourJournal();
  const others = journal.map((record) => ({ ...record, nodeId: 'node-2' }));
  const unfinished = bench.open({ collector_id: 'c1', row_group_rows: 3 });
  await unfinished.write(others.slice(0, 8));
  expect(fs.readdirSync(`${bench.root}/.staging`)).not.toEqual([]);
  // Opening the second collector must leave the first one's unfinished files alone.
  await drive(bench.open({ collector_id: 'c1.b' }), journal, 5);
  await drive(unfinished, others, 4);
  expect(canonical(await visibleRows())).toEqual(
    canonical(expectedRows([...journal, ...others], bench.tables)),
  );
});

test('a visible file whose footer is damaged is put aside and its rows are written again', async () => {
  bench = createBench();
  const journal = multiHourJournal();
  await drive(bench.open(), journal, 5);
  const [victim] = warehousePaths(bench.root);
  fs.truncateSync(victim!, fs.statSync(victim!).size - 3);
  await drive(bench.open(), journal, 5);
  await expectExactlyOnce(journal);
  expect(fs.readdirSync(`${bench.root}/.quarantine`)).toHaveLength(1);
  expect(bench.logged.filter(({ level }) => level === 'error')).toHaveLength(1);
});

test('a visible file renamed by hand is not believed', async () => {
  bench = createBench();
  const journal = multiHourJournal();
  await drive(bench.open(), journal.slice(0, 6), 5);
  const [victim] = warehousePaths(bench.root);
  fs.renameSync(victim!, victim!.replace('0006.parquet', '0012.parquet'));
  await drive(bench.open(), journal, 5);
  await expectExactlyOnce(journal);
});

test('a writer that is not the owner any more publishes nothing and touches nothing', async () => {
  bench = createBench();
  const journal = multiHourJournal();
  let isOwner = true;
  const old = bench.open({}, { isOwner: () => isOwner });
  await old.write(journal);
  isOwner = false;
  const next = bench.open({ row_group_rows: 1 });
  await next.write(journal.slice(0, 6));
  await expect(old.flush()).rejects.toThrow(/another process has taken it over/);
  await expect(old.write(journal)).rejects.toThrow(/another process has taken it over/);
  expect(warehousePaths(bench.root)).toEqual([]);
  await drive(next, journal, 4);
  await expectExactlyOnce(journal);
});

test('an owner that slept between its last look and the rename finds its file gone', async () => {
  bench = createBench();
  const journal = multiHourJournal();
  let next: ReturnType<Bench['open']> | undefined;
  // It still was the owner when it looked; then another one started, and only then it goes on.
  let looks = 0;
  const isOwner = () => {
    looks += 1;
    if (looks === 2) next = bench.open();
    return true;
  };
  const old = bench.open({}, { isOwner });
  await old.write(journal.slice(0, 9));
  await expect(old.flush()).rejects.toMatchObject({ code: 'WAREHOUSE_FAILED' });
  await drive(next!, journal, 5);
  await expectExactlyOnce(journal);
});

test('a journal that is an older copy of itself skips what it shares and nothing else', async () => {
  bench = createBench();
  const journal = multiHourJournal();
  await drive(bench.open({ journal_id: 'old' }), journal, 5);
  // The copy ends with record 6; its cursor stood at 3. Other batches take the numbers after it.
  const others = journal.slice(6).map((record) => ({ ...record, nodeId: 'node-2' }));
  const restored = [...journal.slice(0, 6), ...others];
  const settings = { journal_id: 'new', journal_ancestors: [{ id: 'old', lastSeq: 6 }] };
  await drive(bench.open(settings, { startCursor: 3 }), restored, 4);
  expect(canonical(await visibleRows())).toEqual(
    canonical(expectedRows([...journal, ...others], bench.tables)),
  );
});

/** The note of the collector in the bench's warehouse. */
function note() {
  return readProgressNote(nodeFileSystem, bench.root, 'c1');
}

test('a warehouse notes how far it is, also where a record has no rows', async () => {
  bench = createBench();
  const journal = multiHourJournal();
  const writer = bench.open({}, { headSeq: 20 });
  await writer.write(journal);
  expect(note()).toBeUndefined();
  await writer.flush();
  expect(note()?.cursor).toBe(12);
  await writer.write([makeRecord(13, bench.addTable(makeTable([])), [])]);
  expect(note()).toEqual({ journalId: 'journal-1', cursor: 13, headSeq: 20 });
});

test('a crash never leaves a note behind the cursor, nor one that cannot be read', async () => {
  const operations = await countOperations(SHAPES[0]);
  for (let at = 0; at < operations; at++) {
    bench = createBench();
    const disk = faultyFileSystem({ at, kind: 'crash_after' });
    let cursor = 0;
    try {
      cursor = await drive(bench.open({}, { fs: disk }), multiHourJournal(), 5);
    } catch {
      disk.cutPower();
    }
    expect(note()?.cursor ?? 0).toBeGreaterThanOrEqual(cursor);
    fs.rmSync(bench.root, { recursive: true });
  }
});

test('an older copy of the warehouse gets what it lacks, and nothing twice', async () => {
  bench = createBench();
  const journal = multiHourJournal();
  const copy = `${bench.root}.copy`;
  try {
    await drive(bench.open(), journal.slice(0, 5), 5);
    fs.cpSync(bench.root, copy, { recursive: true });
    await drive(bench.open({}, { startCursor: 5 }), journal, 3);
    fs.rmSync(bench.root, { recursive: true });
    fs.cpSync(copy, bench.root, { recursive: true });
  } finally {
    fs.rmSync(copy, { recursive: true, force: true });
  }
  const startCursor = heldUpTo(note(), { id: 'journal-1' });
  expect(startCursor).toBe(5);
  await drive(bench.open({}, { startCursor: 5 }), journal, 4);
  await expectExactlyOnce(journal);
});

test('files tell which run of the writer made them', async () => {
  bench = createBench();
  const journal = multiHourJournal();
  await drive(bench.open(), journal.slice(0, 6), 6);
  await drive(bench.open({}, { startCursor: 6 }), journal, 6);
  const incarnations = warehousePaths(bench.root).map((file) => {
    const { key_value_metadata: values } = parquetMetadata(
      new Uint8Array(fs.readFileSync(file)).buffer,
    );
    return values?.find(({ key }) => key === 'telemetry.incarnation')?.value;
  });
  expect(new Set(incarnations).size).toBe(2);
  expect(incarnations).not.toContain(undefined);
});

test('an older note beside files that are all there doubles nothing', async () => {
  bench = createBench();
  const journal = multiHourJournal();
  await drive(bench.open(), journal, 4);
  await drive(bench.open({}, { startCursor: 5 }), journal, 3);
  await expectExactlyOnce(journal);
});

test('a note says nothing of a journal that it is not about', () => {
  const ofOld = { journalId: 'old', cursor: 9, headSeq: 12 };
  expect(heldUpTo(undefined, { id: 'old' })).toBeUndefined();
  expect(heldUpTo(ofOld, { id: 'new' })).toBeUndefined();
  expect(heldUpTo(ofOld, { id: 'old' })).toBe(9);
  const restored = (lastSeq: number) => ({ id: 'new', ancestors: [{ id: 'old', lastSeq }] });
  expect(heldUpTo(ofOld, restored(7))).toBe(7);
  expect(heldUpTo(ofOld, restored(11))).toBe(9);
});

test('what the warehouse holds of a journal is found without opening older files', async () => {
  bench = createBench();
  await drive(bench.open(), multiHourJournal(), 5);
  const ours = { root: bench.root, collectorId: 'c1', journalId: 'journal-1' };
  expect(newestWrittenSeq(nodeFileSystem, ours, 6)).toBe(12);
  expect(newestWrittenSeq(nodeFileSystem, ours, 12)).toBe(0);
  expect(newestWrittenSeq(nodeFileSystem, { ...ours, journalId: 'other' }, 6)).toBe(0);
});

test.each(['.staging', 'metrics', ''])(
  'goes on where %s/ of the warehouse vanished',
  async (name) => {
    bench = createBench();
    const journal = multiHourJournal();
    const canary = makeRecord(13, bench.addTable(makeTable([])), []);
    const writer = bench.open();
    await writer.write(journal.slice(0, 4));
    fs.rmSync(`${bench.root}/${name}`, { recursive: true });
    await writer.write([...journal.slice(4), canary]);
    await writer.flush();
    await expectExactlyOnce(journal);
  },
);
