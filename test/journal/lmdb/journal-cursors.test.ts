import { describe, expect, test } from 'vitest';
import type { Journal } from '../../../src/journal/lmdb/journal.ts';
import { JournalReader } from '../../../src/journal/lmdb/journal-reader.ts';
import { eventually } from '../../helpers/eventually.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import {
  entryOf,
  expectEvenBooks,
  opaqueTable,
  openJournal,
  passTo,
} from '../../helpers/journal-bench.ts';
import { createRecordingLogger } from '../../helpers/recording-logger.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

async function appendMany(journal: Journal, count: number, from = 0): Promise<void> {
  const all = Array.from({ length: count }, (_, at) => journal.append(entryOf(from + at + 1)));
  await Promise.all(all);
}

describe('journal cursors', () => {
  test('move each on its own, with their ledger, and survive a reopening', async () => {
    const dir = tempDir();
    const journal = await openJournal(dir);
    await appendMany(journal, 10);
    await passTo(journal, 'influxdb', 4, { deadLettered: 3 });
    await passTo(journal, 'parquet', 7);
    await journal.close();

    const again = await openJournal(dir);
    expect(again.cursor('influxdb')).toBe(4);
    expect(again.cursor('parquet')).toBe(7);
    expect(again.pendingSamples('influxdb')).toBe(60);
    expect(again.ledger.writers.get('influxdb')).toMatchObject({ written: 37, deadLettered: 3 });
    expect(again.ledger.writers.get('parquet')).toMatchObject({ written: 70, deadLettered: 0 });
    expectEvenBooks(again);
  });

  test('of one writer that wait together are one move', async () => {
    const journal = await openJournal(tempDir());
    await appendMany(journal, 10);
    const moves = [1, 5, 9].map((cursor) =>
      journal.commitCursor('parquet', { cursor, writtenSamples: 28, deadLetteredSamples: 2 }),
    );
    expect(journal.cursor('parquet')).toBe(0);
    await Promise.all(moves);
    expect(journal.cursor('parquet')).toBe(9);
    expect(journal.ledger.writers.get('parquet')).toMatchObject({ written: 84, deadLettered: 6 });
  });

  test('never go back nor beyond the head', async () => {
    const journal = await openJournal(tempDir());
    await appendMany(journal, 3);
    await passTo(journal, 'parquet', 2);
    expect(() => passTo(journal, 'parquet', 1)).toThrow('BUG');
    expect(() => passTo(journal, 'parquet', 4)).toThrow('BUG');
    expect(() => passTo(journal, 'unknown', 1)).toThrow('BUG');
  });

  test('the slowest decides what is removed, in slices, while appends go on', async () => {
    const journal = await openJournal(tempDir());
    await appendMany(journal, 3000);
    await passTo(journal, 'influxdb', 3000);
    expect(journal.tailSeq).toBe(0);
    const committed = passTo(journal, 'parquet', 2500);
    const appended = journal.append(entryOf(3001));
    await Promise.all([committed, appended]);
    expect(journal.tailSeq).toBeLessThan(2500);
    await eventually('trimmed', () => journal.tailSeq === 2500);
    expect(journal.liveBytes).toBeGreaterThan(0);
    expect(journal.pendingSamples('parquet')).toBe(5010);
    expectEvenBooks(journal);
  });

  test('with everything removed and reopened, numbers and books continue', async () => {
    const dir = tempDir();
    const journal = await openJournal(dir);
    await appendMany(journal, 5);
    for (const writer of ['influxdb', 'parquet']) await passTo(journal, writer, 5);
    await journal.close();
    const again = await openJournal(dir);
    expect([again.headSeq, again.tailSeq, again.liveBytes]).toEqual([5, 5, 0]);
    expect(await again.append(entryOf(6))).toBe(6);
    expect(again.pendingSamples('parquet')).toBe(10);
    expectEvenBooks(again);
  });

  test('a new writer gets what is still in the log, and the books say what it missed', async () => {
    const dir = tempDir();
    const first = await openJournal(dir, { writers: ['parquet'] });
    await appendMany(first, 10);
    await passTo(first, 'parquet', 6);
    await eventually('trimmed', () => first.tailSeq === 6);
    await first.close();
    const second = await openJournal(dir);
    expect(second.cursor('influxdb')).toBe(6);
    expect(second.ledger.writers.get('influxdb')).toMatchObject({ skipped: 60, written: 0 });
    expectEvenBooks(second);
    await passTo(second, 'influxdb', 10);
    expectEvenBooks(second);
  });

  test('a writer that is configured no more is dropped with a word and holds nothing', async () => {
    const dir = tempDir();
    const first = await openJournal(dir);
    await appendMany(first, 10);
    await first.close();
    const { logger, lines } = createRecordingLogger();
    const second = await openJournal(dir, { writers: ['parquet'], logger });
    expect(lines).toContainEqual(expect.objectContaining({ writer: 'influxdb', cursor: 0 }));
    await passTo(second, 'parquet', 10);
    expect(second.tailSeq).toBe(10);
    expect([...second.ledger.writers.keys()]).toEqual(['parquet']);
  });

  test('without writers nothing is removed', async () => {
    const journal = await openJournal(tempDir(), { writers: [] });
    await appendMany(journal, 3);
    await journal.close();
    expect(journal.tailSeq).toBe(0);
  });
});

describe('journal tables', () => {
  test('are stored once, and removed when no record needs them and none came for a while', async () => {
    const dir = tempDir();
    const clock = new FakeClock(1_700_000_000_000);
    const journal = await openJournal(dir, { clock, writers: ['parquet'] });
    const [rare, usual] = [opaqueTable('rare'), opaqueTable('usual')];
    await journal.append(entryOf(1, { table: rare }));
    await journal.append(entryOf(2, { table: usual }));
    await passTo(journal, 'parquet', 2);
    const reader = JournalReader.open(dir);
    expect(reader.table(rare.id)).toEqual(new Uint8Array(rare.bytes));
    clock.advance(9 * 60_000);
    await journal.append(entryOf(3, { table: usual }));
    clock.advance(2 * 60_000);
    await eventually('removed', () => {
      clock.advance(1000);
      return reader.table(rare.id) === undefined;
    });
    expect(reader.table(usual.id)).toBeDefined();

    await journal.append(entryOf(4, { table: rare }));
    expect(reader.table(rare.id)).toBeDefined();
    // Record 4 is not written yet: its table stays, however old.
    clock.advance(3_600_000);
    await journal.append(entryOf(5, { table: usual }));
    expect(reader.table(rare.id)).toBeDefined();
    await reader.close();
  });

  test('that are large and unneeded go at once', async () => {
    const dir = tempDir();
    const journal = await openJournal(dir, { writers: ['parquet'] });
    const large = [1, 2, 3].map((name) => opaqueTable(`large ${name}`, 30 * 1024 * 1024));
    for (const [at, table] of large.entries()) await journal.append(entryOf(at + 1, { table }));
    expect(journal.liveBytes).toBeGreaterThan(90 * 1024 * 1024);
    await passTo(journal, 'parquet', 3);
    const reader = JournalReader.open(dir);
    await eventually('removed', () => reader.table(large[0]!.id) === undefined);
    expect(reader.table(large[2]!.id)).toBeDefined();
    await reader.close();
  });

  test('survive a reopening while records need them', async () => {
    const dir = tempDir();
    const first = await openJournal(dir);
    const table = opaqueTable('old');
    await first.append(entryOf(1, { table }));
    await first.close();
    const clock = new FakeClock(1_700_000_000_000);
    const second = await openJournal(dir, { clock });
    clock.advance(3_600_000);
    await second.append(entryOf(2));
    const reader = JournalReader.open(dir);
    expect(reader.table(table.id)).toBeDefined();
    await reader.close();
  });
});
