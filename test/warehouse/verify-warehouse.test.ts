/** Every way in which a warehouse can be wrong is found, and nothing else. */
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { nodeFileSystem } from '../../src/lib/filesystem.ts';
import { verifyWarehouse } from '../../src/warehouse/verify-warehouse.ts';
import { faultyFileSystem } from '../helpers/faulty-filesystem.ts';
import { BENCH_START_MS, type Bench, createBench } from '../helpers/warehouse-bench.ts';
import { makeRecord, makeSeries, makeTable, warehousePaths } from '../helpers/warehouse-rows.ts';

let bench: Bench;
beforeEach(() => {
  bench = createBench();
});
afterEach(() => fs.rmSync(bench.root, { recursive: true, force: true }));

function verify() {
  return verifyWarehouse({ fs: nodeFileSystem, onFile: () => {} }, bench.root);
}

function recordsOf(from: number, to: number, hour = 0) {
  const table = bench.addTable(
    makeTable([makeSeries('m', { UUID: 'GPU-a' }), makeSeries('load', { host: 'x' })]),
  );
  return Array.from({ length: to - from + 1 }, (_, i) => {
    const timestampMs = BENCH_START_MS + hour * 3_600_000 + (from + i) * 1000;
    const samples = [0, 1].map((series) => ({ series, timestampMs, value: from + i + series }));
    return makeRecord(from + i, table, samples);
  });
}

/** Two seals over two hours: four files of 400 rows. */
async function fill(settings: Parameters<Bench['open']>[0] = {}): Promise<string[]> {
  const writer = bench.open(settings);
  for (const seal of [0, 1]) {
    await writer.write([
      ...recordsOf(seal * 200 + 1, seal * 200 + 100),
      ...recordsOf(seal * 200 + 101, seal * 200 + 200, 1),
    ]);
    await writer.flush();
  }
  await writer.close();
  return warehousePaths(bench.root);
}

describe('a sound warehouse', () => {
  test.each([
    ['snappy', 'hyparquet'],
    ['gzip', 'hyparquet'],
    ['uncompressed', 'hyparquet'],
    ['snappy', 'parquetjs'],
    ['gzip', 'parquetjs'],
  ] as const)('is found sound (%s, %s)', async (compression, encoder) => {
    await fill({ compression, encoder, row_group_rows: 70 });
    const result = await verify();
    expect(result).toMatchObject({ files: 4, rows: 800, overlaps: 0, faults: [] });
    expect(result.bytes).toBeGreaterThan(1000);
  });

  test('may be empty or missing', async () => {
    expect(await verify()).toMatchObject({ files: 0, rows: 0, faults: [] });
  });

  test('may have ranges that a crash between two renames made overlap', async () => {
    const renames = faultyFileSystem();
    const probe = bench.open({}, { fs: renames });
    const records = [...recordsOf(1, 100), ...recordsOf(101, 200, 1)];
    await probe.write(records);
    await probe.flush();
    const at = renames.operations.findIndex((name) => name.startsWith('rename'));
    fs.rmSync(bench.root, { recursive: true });
    const dying = faultyFileSystem({ at, kind: 'crash_after' });
    const writer = bench.open({}, { fs: dying });
    await writer.write(records);
    await expect(writer.flush()).rejects.toThrow();
    expect(warehousePaths(bench.root)).toHaveLength(1);
    const next = bench.open();
    await next.write([...records, ...recordsOf(201, 300)]);
    await next.flush();
    await next.close();
    const result = await verify();
    expect(result).toMatchObject({ rows: 600, overlaps: 1, faults: [] });
  });
});

describe('a warehouse with faults', () => {
  async function onlyFault() {
    const { faults } = await verify();
    expect(faults).toHaveLength(1);
    return faults[0]!;
  }

  test('a file that is cut off', async () => {
    const [file] = await fill();
    fs.truncateSync(file!, fs.statSync(file!).size - 20);
    expect(await onlyFault()).toMatchObject({ path: file, what: 'it has no Parquet footer' });
  });

  test('a file with a hole in its data', async () => {
    const [file] = await fill({ compression: 'snappy' });
    const bytes = fs.readFileSync(file!);
    bytes.fill(0xff, 40, 200);
    fs.writeFileSync(file!, bytes);
    expect((await onlyFault()).what).toMatch(/cannot be read|values|outside its hour/);
  });

  test('a file in the wrong hour, and one with a wrong range', async () => {
    const [file, second] = await fill();
    const wrongHour = file!.replace(/hour=\d\d/, 'hour=03');
    fs.mkdirSync(path.dirname(wrongHour), { recursive: true });
    fs.renameSync(file!, wrongHour);
    expect((await onlyFault()).what).toMatch(/^hourMs is /);
    fs.renameSync(second!, second!.replace(/-(\d{16})\.parquet$/, '-0000000000009999.parquet'));
    expect((await verify()).faults.map(({ what }) => what.split(' ')[0])).toEqual([
      'hourMs',
      'lastSeq',
    ]);
  });

  test('what does not belong there', async () => {
    const [file] = await fill();
    const strays = [
      path.join(bench.root, 'metrics', 'notes.txt'),
      path.join(path.dirname(file!), 'part-c1.parquet.tmp'),
      path.join(path.dirname(path.dirname(file!)), 'lost.parquet'),
    ];
    for (const stray of strays) fs.writeFileSync(stray, 'x');
    const { faults } = await verify();
    expect(faults.map((fault) => fault.path).sort()).toEqual(strays.sort());
    expect(faults[0]?.what).toBe('does not belong here');
  });

  test('rows twice, because two files claim the same records', async () => {
    await fill();
    const before = warehousePaths(bench.root);
    // A daemon that lost its cursor and its memory of what is visible.
    const hidden = `${bench.root}-hidden`;
    fs.renameSync(path.join(bench.root, 'metrics'), hidden);
    const writer = bench.open();
    await writer.write([...recordsOf(1, 100), ...recordsOf(101, 150, 1)]);
    await writer.flush();
    await writer.close();
    fs.cpSync(hidden, path.join(bench.root, 'metrics'), { recursive: true });
    fs.rmSync(hidden, { recursive: true });
    expect(warehousePaths(bench.root).length).toBe(before.length + 2);
    const { faults, overlaps } = await verify();
    expect(overlaps).toBe(2);
    expect(faults.map(({ what }) => Number.parseInt(what, 10)).sort()).toEqual([100, 200]);
    expect(faults[0]?.what).toContain('of its rows are in part-c1-');
  });

  test('ranges that overlap and begin elsewhere', async () => {
    await fill();
    const hidden = `${bench.root}-hidden`;
    fs.renameSync(path.join(bench.root, 'metrics'), hidden);
    const writer = bench.open({}, { startCursor: 149 });
    await writer.write(recordsOf(150, 160));
    await writer.flush();
    await writer.close();
    fs.cpSync(hidden, path.join(bench.root, 'metrics'), { recursive: true });
    fs.rmSync(hidden, { recursive: true });
    expect((await onlyFault()).what).toContain('and begin elsewhere');
  });
});
