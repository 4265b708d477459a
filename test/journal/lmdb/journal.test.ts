import { describe, expect, test } from 'vitest';
import { JournalReader } from '../../../src/journal/lmdb/journal-reader.ts';
import {
  entryOf,
  expectEvenBooks,
  openJournal,
  passTo,
  WRITERS,
} from '../../helpers/journal-bench.ts';
import { seededRandom } from '../../helpers/seeded-random.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

describe('journal', () => {
  test('numbers batches in the order of their appends and keeps them across a reopening', async () => {
    const dir = tempDir();
    const journal = await openJournal(dir);
    const seqs = await Promise.all([1, 2, 3].map((sequence) => journal.append(entryOf(sequence))));
    expect(seqs).toEqual([1, 2, 3]);
    await journal.close();

    const again = await openJournal(dir);
    expect(again.headSeq).toBe(3);
    expect(again.producer('node-1', 1, 3)).toBe('durable');
    expect(await again.append(entryOf(4))).toBe(4);
    const reader = JournalReader.open(dir);
    const { records, lastSeq } = reader.read(0, 100, 1e9);
    expect(records.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
    expect(lastSeq).toBe(4);
    await reader.close();
  });

  test('a sequence is pending until it is durable', async () => {
    const journal = await openJournal(tempDir());
    const appended = journal.append(entryOf(1));
    expect(journal.producer('node-1', 1, 1)).toBe('pending');
    await journal.durable();
    expect(journal.producer('node-1', 1, 1)).toBe('durable');
    expect(journal.headSeq).toBe(1);
    await appended;
  });

  test('refuses to take a sequence twice', async () => {
    const journal = await openJournal(tempDir());
    const first = journal.append(entryOf(1));
    expect(() => journal.append(entryOf(1))).toThrow('BUG');
    await first;
    expect(() => journal.append(entryOf(1))).toThrow('BUG');
    await journal.append(entryOf(0));
    await journal.append(entryOf(0));
  });

  test('copies the samples before append returns', async () => {
    const dir = tempDir();
    const journal = await openJournal(dir);
    const entry = entryOf(1);
    const appended = journal.append(entry);
    entry.samples.values.fill(-1);
    await appended;
    const reader = JournalReader.open(dir);
    expect(reader.read(0, 1, 1).records[0]?.samples.values[0]).toBe(1);
    await reader.close();
  });

  test('appends that wait together become one transaction, in order', async () => {
    const journal = await openJournal(tempDir());
    const heads: number[] = [];
    journal.onAppended((headSeq) => heads.push(headSeq));
    await Promise.all(Array.from({ length: 300 }, (_, at) => journal.append(entryOf(at + 1))));
    expect(heads).toEqual([300]);
  });

  test('counts the sequences that were passed over', async () => {
    const dir = tempDir();
    const journal = await openJournal(dir);
    await journal.append(entryOf(1));
    await journal.append(entryOf(5000));
    expect(journal.knownGaps()).toBe(5000 - 1024 - 1);
    await journal.close();
    expect((await openJournal(dir)).knownGaps()).toBe(5000 - 1024 - 1);
  });

  test('is refused once the budget is used up, and taken again when records are removed', async () => {
    const journal = await openJournal(tempDir(), { maxBytes: 40_000 });
    await journal.append(entryOf(1, { size: 1000 }));
    expect(journal.isFull()).toBe(false);
    await journal.append(entryOf(2, { size: 1000 }));
    expect(journal.isFull()).toBe(true);
    await expect(journal.append(entryOf(3))).rejects.toMatchObject({ code: 'JOURNAL_FULL' });
    expect(journal.producer('node-1', 1, 3)).toBe('new');
    for (const writer of WRITERS) await passTo(journal, writer, 2);
    expect(journal.liveBytes).toBe(0);
    expect(await journal.append(entryOf(3))).toBe(3);
  });

  test('says it is full when the disk has less free than is to be left', async () => {
    const journal = await openJournal(tempDir(), { minFreeBytes: Number.MAX_SAFE_INTEGER });
    expect(journal.isFull()).toBe(true);
  });

  test('close lets queued appends become durable, refuses new ones, and can be called twice', async () => {
    const dir = tempDir();
    const journal = await openJournal(dir);
    const appended = [1, 2].map((sequence) => journal.append(entryOf(sequence)));
    const closed = Promise.all([journal.close(), journal.close()]);
    await expect(journal.append(entryOf(3))).rejects.toMatchObject({ code: 'JOURNAL_UNAVAILABLE' });
    await expect(passTo(journal, 'parquet', 0)).rejects.toThrow('closed');
    expect(await Promise.all(appended)).toEqual([1, 2]);
    await closed;
    await journal.close();
    expect((await openJournal(dir)).headSeq).toBe(2);
  });

  test('the books are even after every step of anything that can happen', async () => {
    const random = seededRandom();
    const { seed } = random;
    const chance = (probability: number) => random.next() < probability;
    const dir = tempDir();
    let journal = await openJournal(dir);
    let sequence = 0;
    let appended = 0;
    /** Samples up to each record. */
    const totals = [0];
    for (let step = 0; step < 300; step += 1) {
      const kind = random.below(20);
      if (kind < 10) {
        const size = random.below(50);
        appended += size;
        totals.push(appended);
        sequence += 1;
        const done = journal.append(entryOf(sequence, { size }));
        expectEvenBooks(journal);
        if (chance(0.7)) await done;
      } else if (kind < 16) {
        const writer = WRITERS[random.below(2)]!;
        const from = journal.cursor(writer);
        const to = from + random.below(journal.headSeq - from + 1);
        const passed = totals[to]! - totals[from]!;
        const deadLetteredSamples = random.below(passed + 1);
        const writtenSamples = passed - deadLetteredSamples;
        const done = journal.commitCursor(writer, {
          ...{ cursor: to, writtenSamples, deadLetteredSamples },
        });
        const nothing = { cursor: to, writtenSamples: 0, deadLetteredSamples: 0 };
        if (chance(0.2)) void journal.commitCursor(writer, nothing);
        expectEvenBooks(journal);
        await done;
        expect(journal.cursor(writer), `seed ${seed}`).toBe(to);
      } else if (kind < 19) {
        const [again, refused, later] = [random.below(9), random.below(9), random.below(9)];
        journal.ledger.book({ received: again, duplicate: again });
        const rejections = [{ reason: 'sentinel', count: refused }] as const;
        journal.ledger.book({ received: refused, rejections });
        const throttled = { reason: 'node_rate', count: later } as const;
        journal.ledger.book({ received: later, throttled });
        await journal.booked();
      } else {
        await journal.durable();
        const { books } = journal.ledger;
        await journal.close();
        journal = await openJournal(dir);
        expect(journal.ledger, `seed ${seed}`).toMatchObject({ books });
      }
      expectEvenBooks(journal);
    }
    await journal.durable();
    expect(journal.ledger.accepted, `seed ${seed}`).toBe(appended);
  });
});
