import { describe, expect, test } from 'vitest';
import { LiveTables } from '../../../src/journal/lmdb/live-tables.ts';

const HOUR_MS = 3_600_000;

describe('live tables', () => {
  test('are unneeded when every record that used them is removed and a while has passed', () => {
    const tables = new LiveTables();
    tables.use('a', 100, 1, 0);
    tables.use('b', 100, 2, 0);
    tables.use('a', 100, 3, 0);
    expect(tables.unneeded(2, 1000, 10)).toEqual([]);
    expect(tables.unneeded(1, HOUR_MS, 10)).toEqual([]);
    expect(tables.unneeded(2, HOUR_MS, 10)).toEqual(['b']);
    expect(tables.unneeded(3, HOUR_MS, 10)).toEqual(['b', 'a']);
    expect(tables.unneeded(3, HOUR_MS, 1)).toEqual(['b']);
    tables.removed(['b']);
    expect([tables.has('b'), tables.count, tables.bytes]).toEqual([false, 1, 100]);
  });

  test('give way at once when the unneeded ones are large, oldest first and no more than that', () => {
    const tables = new LiveTables();
    const thirtyMib = 30 * 1024 * 1024;
    for (const [at, id] of ['a', 'b', 'c', 'd'].entries()) tables.use(id, thirtyMib, at + 1, 0);
    expect(tables.unneeded(4, 0, 10)).toEqual(['a', 'b']);
    expect(tables.unneeded(1, 0, 10)).toEqual(['a']);
    expect(tables.unneeded(0, 0, 10)).toEqual([]);
  });

  test('give way at once when the unneeded ones are many, however small they are', () => {
    const tables = new LiveTables();
    for (let seq = 1; seq <= 50_003; seq += 1) tables.use(`table ${seq}`, 40, seq, 0);
    expect(tables.unneeded(50_003, 0, 10)).toEqual(['table 1', 'table 2', 'table 3']);
    expect(tables.unneeded(2, 0, 10)).toEqual(['table 1', 'table 2']);
  });
});
