/**
 * A warehouse that cannot be written says so until it can, and tries again before the next hour.
 */
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { type FileSystem, nodeFileSystem } from '../../../../src/lib/filesystem.ts';
import { BENCH_START_MS, type Bench, createBench } from '../../../helpers/warehouse-bench.ts';
import {
  duckdbRows,
  makeRecord,
  makeSeries,
  makeTable,
  warehousePaths,
} from '../../../helpers/warehouse-rows.ts';

let bench: Bench;
afterEach(() => fs.rmSync(bench.root, { recursive: true, force: true }));

/** A disk on which one kind of operation fails while `failing` is set. */
function moodyDisk() {
  const disk = { failing: '' as '' | 'rename' | 'write', fs: undefined as unknown as FileSystem };
  const fail = (operation: string) => {
    if (disk.failing !== operation) return;
    throw Object.assign(new Error(`ENOSPC: ${operation}`), { code: 'ENOSPC' });
  };
  disk.fs = {
    ...nodeFileSystem,
    rename(from, to) {
      fail('rename');
      nodeFileSystem.rename(from, to);
    },
    openForWriting(file, options) {
      fail('write');
      return nodeFileSystem.openForWriting(file, options);
    },
  };
  return disk;
}

function setUp() {
  bench = createBench();
  const disk = moodyDisk();
  const writer = bench.open({}, { fs: disk.fs });
  const table = bench.addTable(makeTable([makeSeries('m', { UUID: 'GPU-a' })]));
  const record = (seq: number) =>
    makeRecord(seq, table, [{ series: 0, timestampMs: BENCH_START_MS + seq, value: seq }]);
  const canary = (seq: number) => makeRecord(seq, table, []);
  return { disk, writer, record, canary };
}

test('a seal that failed is owed, retried with growing waits, and settled when it succeeds', async () => {
  const { disk, writer, record } = setUp();
  await writer.write([record(1), record(2)]);
  expect(writer.owes?.()).toBe(false);
  disk.failing = 'rename';
  bench.clock.advance(2 * 3_600_000);
  for (const waitMs of [1000, 2000, 4000, 8000]) {
    await expect(writer.tick()).rejects.toThrow('ENOSPC');
    expect(writer.owes?.()).toBe(true);
    expect(writer.readFrom?.()).toBe(1);
    await writer.write([record(1), record(2)]);
    bench.clock.advance(waitMs - 1);
    expect(await writer.tick(), 'not before its time').toBeUndefined();
    bench.clock.advance(1);
  }
  await expect(writer.tick()).rejects.toThrow('ENOSPC');
  disk.failing = '';
  await writer.write([record(1)]);
  bench.clock.advance(60_000);
  expect(await writer.tick(), 'not with a part of its records').toBeUndefined();
  await writer.write([record(2)]);
  expect(await writer.tick()).toMatchObject({ cursor: 2 });
  expect(writer.owes?.()).toBe(false);
  expect(await duckdbRows(bench.root)).toHaveLength(2);
  await writer.close();
});

test('a canary finds a disk that takes no files, and costs the rows that wait nothing', async () => {
  const { disk, writer, record, canary } = setUp();
  await writer.write([record(1)]);
  expect(await writer.write([canary(2)])).toBeUndefined();
  expect(writer.stats().disk_free_bytes).toBeGreaterThan(0);
  disk.failing = 'write';
  await expect(writer.write([canary(3)])).rejects.toThrow('cannot write the warehouse: ENOSPC');
  expect(writer.readFrom?.()).toBe(3);
  expect(writer.stats().buffered_rows).toBe(1);
  disk.failing = '';
  await writer.write([canary(3)]);
  expect(fs.readdirSync(path.join(bench.root, '.staging'))).toEqual([]);
  expect(await writer.flush()).toMatchObject({ cursor: 3 });
  expect(warehousePaths(bench.root)).toHaveLength(1);
  await writer.close();
});

test('canaries alone move the cursor and make no files', async () => {
  const { writer, canary } = setUp();
  expect(await writer.write([canary(1), canary(2)])).toMatchObject({ cursor: 2 });
  bench.clock.advance(2 * 3_600_000);
  expect(await writer.tick()).toBeUndefined();
  expect(warehousePaths(bench.root)).toEqual([]);
  await writer.close();
});
