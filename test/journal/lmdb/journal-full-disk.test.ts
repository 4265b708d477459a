/** A full disk sends agents back; it loses nothing, stops nothing for good and needs no restart. */
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { JournalReader } from '../../../src/journal/lmdb/journal-reader.ts';
import {
  entryOf,
  expectEvenBooks,
  openJournal,
  passTo,
  WRITERS,
} from '../../helpers/journal-bench.ts';
import { createRecordingLogger } from '../../helpers/recording-logger.ts';
import { smallDisk } from '../../helpers/small-disk.ts';

const MIB = 1024 * 1024;

describe('journal on a full disk', () => {
  test('sends batches back, keeps what it has, and takes them once there is room', async () => {
    const disk = smallDisk(24 * MIB);
    if (disk === undefined) return;
    const { logger, lines } = createRecordingLogger();
    const dir = path.join(disk.dir, 'journal');
    const journal = await openJournal(dir, { logger });
    let sequence = 0;
    const append = () => journal.append(entryOf(sequence + 1, { size: 500 }));
    for (let count = 0; count < 100; count += 1) {
      await append();
      sequence += 1;
    }
    disk.fill(0);
    for (let count = 0; count < 5; count += 1) {
      const [first, second] = [append(), journal.durable()];
      await expect(first).rejects.toMatchObject({ code: 'JOURNAL_FULL' });
      await expect(second).rejects.toMatchObject({ code: 'JOURNAL_FULL' });
      expect(journal.producer('node-1', 1, sequence + 1)).toBe('new');
      expect(journal.headSeq).toBe(100);
      expectEvenBooks(journal);
    }
    expect(journal.failure?.code).toBe('JOURNAL_FULL');
    expect(lines.filter(({ msg }) => msg === 'journal commit failed')).toHaveLength(1);

    disk.empty();
    expect(await append()).toBe(101);
    expect(journal.failure).toBeUndefined();
    expectEvenBooks(journal);
    await journal.close();

    const again = await openJournal(dir);
    expect([again.headSeq, again.unclean]).toEqual([101, false]);
    const reader = JournalReader.open(dir);
    const { records, damaged } = reader.read(0, 1000, 2 ** 30);
    expect([records.length, damaged]).toEqual([101, []]);
    await reader.close();
    await again.close();
  });

  test('moves cursors and removes records when nothing can be added any more', async () => {
    const disk = smallDisk(24 * MIB);
    if (disk === undefined) return;
    const dir = path.join(disk.dir, 'journal');
    const journal = await openJournal(dir);
    const all = Array.from({ length: 400 }, (_, at) =>
      journal.append(entryOf(at + 1, { size: 500 })),
    );
    await Promise.all(all);
    for (const writer of WRITERS) await passTo(journal, writer, 50, { size: 500 });
    disk.fill(0);
    await expect(journal.append(entryOf(401))).rejects.toMatchObject({ code: 'JOURNAL_FULL' });
    for (const writer of WRITERS) await passTo(journal, writer, 400, { size: 500 });
    expect(journal.tailSeq).toBe(400);
    expectEvenBooks(journal);
    disk.empty();
    expect(await journal.append(entryOf(401))).toBe(401);
    await journal.close();
  });

  test.each([
    ['at once', 0],
    ['in the middle of a write', 100_000],
  ])('that ends %s, without warning, is told from a broken disk', async (_, leaveBytes) => {
    const disk = smallDisk(24 * MIB);
    if (disk === undefined) return;
    const dir = path.join(disk.dir, 'journal');
    const journal = await openJournal(dir);
    await journal.append(entryOf(1));
    // Enough is free when the group is planned; others take it before LMDB writes.
    disk.fill(12 * MIB);
    const huge = Array.from({ length: 20 }, (_, at) =>
      journal.append(entryOf(at + 2, { size: 8000 })),
    );
    await Promise.resolve();
    disk.fill(leaveBytes);
    const outcomes = await Promise.allSettled(huge);
    const codes = new Set(outcomes.map((each) => each.status === 'rejected' && each.reason.code));
    expect([...codes]).toEqual(['JOURNAL_FULL']);
    expect(journal.failure?.message).toMatch(/No space left|the disk is full/);
    expect(journal.headSeq).toBe(1);
    expect(journal.producer('node-1', 1, 5)).toBe('new');
    disk.empty();
    expect(await journal.append(entryOf(2))).toBe(2);
    await journal.close();
  });
});
