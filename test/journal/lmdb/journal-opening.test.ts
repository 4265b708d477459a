import fs from 'node:fs';
import path from 'node:path';
import { Registry } from 'prom-client';
import { open } from 'lmdb';
import { describe, expect, test } from 'vitest';
import { JournalEnvironment, WriteList } from '../../../src/journal/lmdb/environment.ts';
import { createJournalMetrics } from '../../../src/journal/lmdb/journal-metrics.ts';
import { inspectJournal } from '../../../src/journal/lmdb/inspect.ts';
import { JournalReader } from '../../../src/journal/lmdb/journal-reader.ts';
import { heldUpTo } from '../../../src/warehouse/progress-note.ts';
import { eventually } from '../../helpers/eventually.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { entryOf, expectEvenBooks, openJournal, passTo } from '../../helpers/journal-bench.ts';
import { createRecordingLogger } from '../../helpers/recording-logger.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

describe('opening a journal', () => {
  test('a second time is refused while the first has it, also by another path', async () => {
    const dir = tempDir();
    const link = `${tempDir()}/link`;
    fs.symlinkSync(dir, link);
    const journal = await openJournal(dir);
    await expect(openJournal(dir)).rejects.toMatchObject({ code: 'JOURNAL_LOCKED' });
    await expect(openJournal(link)).rejects.toMatchObject({ code: 'JOURNAL_LOCKED' });
    await journal.close();
    await openJournal(link);
  });

  test('that another has taken over all the same makes the first stop writing', async () => {
    const dir = tempDir();
    const journal = await openJournal(dir);
    const broken: string[] = [];
    journal.onBroken((reason) => broken.push(reason));
    await journal.append(entryOf(1));
    const intruder = JournalEnvironment.openForWriting(dir, 2 ** 30);
    await intruder.takeLease(new WriteList());
    const failed = journal.append(entryOf(2));
    await expect(failed).rejects.toMatchObject({ code: 'JOURNAL_UNAVAILABLE' });
    await expect(journal.append(entryOf(2))).rejects.toThrow('another daemon');
    await expect(passTo(journal, 'parquet', 1)).rejects.toThrow('another daemon');
    expect(broken).toEqual(['another daemon has taken the directory over']);
    expect([journal.headSeq, intruder.lastLogSeq()]).toEqual([1, 1]);
    await intruder.close();
  });

  test('of another format is refused, saying so', async () => {
    const dir = tempDir();
    await (await openJournal(dir)).close();
    const env = open({ path: dir, overlappingSync: false });
    const meta = env.openDB({ name: 'meta', encoding: 'binary', useVersions: true });
    await meta.put('format', Buffer.from('99'));
    await env.close();
    await expect(openJournal(dir)).rejects.toMatchObject({
      code: 'JOURNAL_FORMAT',
      message: expect.stringContaining('format 99, this program knows 2 and 3'),
    });
    await expect(inspectJournal(dir)).rejects.toMatchObject({ code: 'JOURNAL_FORMAT' });
  });

  test.each([
    ['something else entirely', Buffer.alloc(20_000, 'garbage')],
    ['cut off', Buffer.alloc(100)],
  ])('whose file is %s is refused, not crashed upon', async (_, bytes) => {
    const dir = tempDir();
    fs.writeFileSync(path.join(dir, 'data.mdb'), bytes);
    await expect(openJournal(dir)).rejects.toMatchObject({ code: 'JOURNAL_DAMAGED' });
    fs.writeFileSync(path.join(dir, 'data.mdb'), '');
    await openJournal(dir);
  });

  test('in a place that cannot be is an operating error', async () => {
    const dir = tempDir();
    fs.writeFileSync(path.join(dir, 'file'), '');
    const opening = openJournal(path.join(dir, 'file', 'journal'));
    await expect(opening).rejects.toMatchObject({ code: 'JOURNAL_UNAVAILABLE' });
  });

  test('for reading where there is none is an operating error', async () => {
    const dir = tempDir();
    expect(() => JournalReader.open(dir)).toThrow('there is none');
    await expect(inspectJournal(dir)).rejects.toMatchObject({ code: 'JOURNAL_MISSING' });
    expect(fs.readdirSync(dir)).toEqual([]);
  });

  test('keeps its id and counts its openings', async () => {
    const dir = tempDir();
    const first = await openJournal(dir);
    expect([first.incarnation, first.unclean]).toEqual([1, false]);
    await first.close();
    const second = await openJournal(dir);
    expect([second.id, second.incarnation, second.unclean]).toEqual([first.id, 2, false]);
    expect((await openJournal(tempDir())).id).not.toBe(first.id);
  });

  test('that a destination knows more of goes on under a new id, from where it ends', async () => {
    const dir = tempDir();
    const first = await openJournal(dir);
    for (const sequence of [1, 2, 3]) await first.append(entryOf(sequence));
    await first.close();
    const same = await openJournal(dir, { newestSeen: (_id, headSeq) => headSeq });
    expect([same.id, same.ancestors]).toEqual([first.id, []]);
    await same.close();
    const registry = new Registry();
    const metrics = createJournalMetrics(registry);
    const newestSeen = (id: string) => (id === first.id ? 9 : 0);
    const { logger, lines } = createRecordingLogger();
    const forked = await openJournal(dir, { newestSeen, metrics, logger });
    expect(forked.id).not.toBe(first.id);
    expect(await forked.append(entryOf(4))).toBe(4);
    expect(await registry.metrics()).toContain('telemetry_collector_journal_rolled_back 1');
    expect(lines.some(({ msg }) => msg.includes('older copy'))).toBe(true);
    await forked.close();
    const again = await openJournal(dir, { newestSeen });
    expect(again.id).toBe(forked.id);
    expect(again.ancestors).toEqual([{ id: first.id, lastSeq: 3 }]);
  });

  test('whose warehouse is an older copy hands it again what it still holds', async () => {
    const dir = tempDir();
    const first = await openJournal(dir);
    for (const sequence of [1, 2, 3, 4, 5, 6]) await first.append(entryOf(sequence));
    await passTo(first, 'influxdb', 2);
    await passTo(first, 'parquet', 5);
    await eventually('removed', () => first.tailSeq === 2);
    await first.close();
    const { logger, lines } = createRecordingLogger();
    const registry = new Registry();
    const heldUpTo = (writer: string) => ({ parquet: 3 })[writer];
    const metrics = createJournalMetrics(registry);
    const second = await openJournal(dir, { heldUpTo, logger, metrics });
    expect([second.cursor('parquet'), second.cursor('influxdb')]).toEqual([3, 2]);
    expect(second.ledger.writers.get('parquet')).toMatchObject({ written: 50, requeued: 20 });
    expectEvenBooks(second);
    expect(await registry.metrics()).toContain('destination_rolled_back 1');
    expect(await registry.metrics()).toContain('destination_gone_records 0');
    expect(lines.some(({ msg }) => msg.includes('the destination is an older copy'))).toBe(true);
    await passTo(second, 'parquet', 6);
    expectEvenBooks(second);
    await second.close();
    const third = await openJournal(dir, { heldUpTo: () => 6 });
    expect(third.cursor('parquet')).toBe(6);
    expect(third.ledger.writers.get('parquet')).toMatchObject({ written: 80, requeued: 20 });
  });

  test('that has less than its warehouse lost tells how much is gone', async () => {
    const dir = tempDir();
    const first = await openJournal(dir);
    for (const sequence of [1, 2, 3, 4, 5]) await first.append(entryOf(sequence));
    await passTo(first, 'influxdb', 4);
    await passTo(first, 'parquet', 5);
    await eventually('removed', () => first.tailSeq === 4);
    await first.close();
    const registry = new Registry();
    const metrics = createJournalMetrics(registry);
    const heldUpTo = (writer: string) => ({ parquet: 1 })[writer];
    const second = await openJournal(dir, { heldUpTo, metrics });
    expect(second.cursor('parquet')).toBe(4);
    expect(second.ledger.writers.get('parquet')).toMatchObject({ written: 50, requeued: 10 });
    expectEvenBooks(second);
    expect(await registry.metrics()).toContain('destination_gone_records 3');
  });

  test.each([
    ['of the same age', { held: 5, noted: 6 }, { cursor: 5, requeued: 0, isForked: false }],
    ['the warehouse older', { held: 2, noted: 3 }, { cursor: 2, requeued: 30, isForked: false }],
    ['the journal older', { held: 9, noted: 12 }, { cursor: 5, requeued: 0, isForked: true }],
  ])('restored together with its warehouse, %s', async (_ages, { held, noted }, expected) => {
    const dir = tempDir();
    const first = await openJournal(dir);
    for (const sequence of [1, 2, 3, 4, 5, 6]) await first.append(entryOf(sequence));
    await passTo(first, 'parquet', 5);
    await first.close();
    const note = { journalId: first.id, cursor: held, headSeq: noted };
    const second = await openJournal(dir, {
      newestSeen: () => note.headSeq,
      heldUpTo: (writer, lineage) => (writer === 'parquet' ? heldUpTo(note, lineage) : undefined),
    });
    const { requeued } = second.ledger.writers.get('parquet')!;
    const isForked = second.id !== first.id;
    expect({ cursor: second.cursor('parquet'), requeued, isForked }).toEqual(expected);
    expectEvenBooks(second);
  });

  test('stores the ledger and the series within a second or so when nothing else happens', async () => {
    const dir = tempDir();
    const clock = new FakeClock(1_700_000_000_000);
    const journal = await openJournal(dir, { clock });
    journal.ledger.book({ received: 7, duplicate: 7 });
    const rejections = [{ reason: 'identity', count: 5 }] as const;
    journal.ledger.book({ received: 5, rejections });
    const hashes = Float64Array.of(1);
    journal.persistSeries([{ kind: 'put', nodeId: 'n', seenSecs: 2, hashes }]);
    clock.advance(1000);
    await eventually('stored', () => journal.lastCommitMs > 0);
    const inspection = await inspectJournal(dir);
    expect(inspection.ledger).toMatchObject({ duplicate: 7, rejected: { identity: 5 } });
    expect(inspection.series).toBe(1);
  });

  test('can be looked at while it is open', async () => {
    const dir = tempDir();
    const journal = await openJournal(dir);
    for (const sequence of [1, 2, 3]) await journal.append(entryOf(sequence));
    await passTo(journal, 'influxdb', 2, { deadLettered: 5 });
    const inspection = await inspectJournal(dir, { checkRecords: true });
    expect(inspection).toMatchObject({
      ...{ id: journal.id, headSeq: 3, tailSeq: 0, records: 3, liveBytes: journal.liveBytes },
      ...{ producers: 1, tables: 1, series: 0, knownGaps: 0, openOrUnclean: true, damaged: [] },
      acceptedSamples: 30,
      writers: {
        influxdb: {
          cursor: 2,
          pendingRecords: 1,
          pendingSamples: 10,
          written: 15,
          deadLettered: 5,
        },
        parquet: { cursor: 0, pendingRecords: 3, pendingSamples: 30, written: 0 },
      },
    });
    await journal.append(entryOf(4));
    expectEvenBooks(journal);
  });
});
