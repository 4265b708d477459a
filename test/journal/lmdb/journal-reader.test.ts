/** The journal from a writer's side. One test runs a worker thread, from dist/. */
import { once } from 'node:events';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { open } from 'lmdb';
import { describe, expect, test } from 'vitest';
import { inspectJournal } from '../../../src/journal/lmdb/inspect.ts';
import { JournalReader } from '../../../src/journal/lmdb/journal-reader.ts';
import { eventually } from '../../helpers/eventually.ts';
import {
  entryOf,
  expectEvenBooks,
  openJournal,
  passTo,
  WRITERS,
} from '../../helpers/journal-bench.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

const WORKER = path.resolve(import.meta.dirname, '../../helpers/journal-reading-worker.mjs');

/** Changes the bytes of a record behind the journal's back. */
async function damage(dir: string, seq: number, change: (bytes: Buffer) => Buffer): Promise<void> {
  const env = open({ path: dir, overlappingSync: false });
  const log = env.openDB<Buffer, number>({ name: 'log', encoding: 'binary' });
  await log.put(seq, change(log.getBinary(seq)!));
  await env.close();
}

describe('journal reader', () => {
  test('reads in slices bounded by records and by bytes, at least one record at a time', async () => {
    const dir = tempDir();
    const journal = await openJournal(dir);
    for (let sequence = 1; sequence <= 10; sequence += 1) {
      await journal.append(entryOf(sequence, { size: sequence === 5 ? 20_000 : 10 }));
    }
    const reader = JournalReader.open(dir);
    const seqs = (from: number, records: number, bytes: number) =>
      reader.read(from, records, bytes).records.map(({ seq }) => seq);
    expect(seqs(0, 3, 2 ** 30)).toEqual([1, 2, 3]);
    expect(seqs(3, 100, 400)).toEqual([4, 5]);
    expect(seqs(4, 100, 1)).toEqual([5]);
    expect(seqs(5, 100, 2 ** 30)).toEqual([6, 7, 8, 9, 10]);
    expect(seqs(10, 100, 2 ** 30)).toEqual([]);
    await reader.close();
    await reader.close();
  });

  test('behind the tail begins at the tail', async () => {
    const dir = tempDir();
    const journal = await openJournal(dir);
    for (const sequence of [1, 2, 3, 4]) await journal.append(entryOf(sequence));
    for (const writer of WRITERS) await passTo(journal, writer, 2);
    const reader = JournalReader.open(dir);
    expect(reader.read(0, 10, 1e9).records.map(({ seq }) => seq)).toEqual([3, 4]);
    expect(reader.cursor('parquet')).toBe(2);
    expect(reader.cursor('nobody')).toBe(0);
    await reader.close();
  });

  test('sees each commit at once and holds no snapshot in between', async () => {
    const dir = tempDir();
    const journal = await openJournal(dir, { writers: ['parquet'] });
    const reader = JournalReader.open(dir);
    let fileBytes = 0;
    for (let sequence = 1; sequence <= 240; sequence += 1) {
      await journal.append(entryOf(sequence, { size: 2000 }));
      expect(reader.read(sequence - 1, 10, 1e9).lastSeq).toBe(sequence);
      await passTo(journal, 'parquet', sequence);
      if (sequence === 80) ({ fileBytes } = await inspectJournal(dir));
    }
    // Freed pages are used again; a reader that held on to them would make the file grow threefold.
    expect((await inspectJournal(dir)).fileBytes).toBeLessThan(1.5 * fileBytes);
    await reader.close();
  });

  test.each([
    ['a flipped bit', (bytes: Buffer) => Buffer.from(bytes.with(100, bytes[100]! ^ 1)), 'checksum'],
    ['the end missing', (bytes: Buffer) => bytes.subarray(0, 90), 'checksum mismatch'],
    ['nothing left', () => Buffer.alloc(1), 'only 1 bytes'],
  ])('reports a record with %s and goes on; nothing is removed', async (_, change, why) => {
    const dir = tempDir();
    const first = await openJournal(dir);
    for (const sequence of [1, 2, 3, 4]) await first.append(entryOf(sequence));
    await first.close();
    await damage(dir, 2, change);
    const journal = await openJournal(dir);
    const reader = JournalReader.open(dir);
    const slice = reader.read(0, 100, 1e9);
    expect(slice.records.map(({ seq }) => seq)).toEqual([1, 3, 4]);
    expect(slice.damaged).toEqual([{ seq: 2, why: expect.stringContaining(why) }]);
    expect(slice.lastSeq).toBe(4);
    expect((await inspectJournal(dir, { checkRecords: true })).damaged).toEqual(slice.damaged);
    // A cursor can stop at it and pass it, and the books count its samples.
    await passTo(journal, 'parquet', 2, { deadLettered: 10 });
    expect(journal.pendingSamples('parquet')).toBe(20);
    expectEvenBooks(journal);
    await passTo(journal, 'parquet', 4);
    for (const seq of [1, 2, 3, 4]) await passTo(journal, 'influxdb', seq);
    expect([journal.tailSeq, journal.liveBytes]).toEqual([4, 0]);
    expectEvenBooks(journal);
    await reader.close();
  });

  test('reads in a worker thread alongside the appends', async () => {
    const dir = tempDir();
    const journal = await openJournal(dir, { writers: ['parquet'] });
    await journal.append(entryOf(1));
    const worker = new Worker(WORKER, { workerData: { dir } });
    const read = { lastSeq: 0, sum: 0, damaged: 0 };
    worker.on('message', (message) => Object.assign(read, message));
    let sum = 10;
    for (let sequence = 2; sequence <= 1000; sequence += 1) {
      const appended = journal.append(entryOf(sequence));
      sum += 10 * sequence;
      if (sequence % 8 === 0) await appended;
      if (sequence % 100 === 0 && read.lastSeq > journal.cursor('parquet')) {
        await passTo(journal, 'parquet', read.lastSeq);
      }
    }
    await journal.durable();
    await eventually('all read', () => read.lastSeq === 1000);
    expect(read).toEqual({ lastSeq: 1000, sum, damaged: 0 });
    worker.postMessage('stop');
    await once(worker, 'exit');
    await journal.append(entryOf(1001));
    await journal.close();
  });
});
