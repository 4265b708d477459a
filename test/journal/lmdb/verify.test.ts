/**
 * Every way in which a journal can be wrong is found, and nothing else, beside a running daemon.
 */
import path from 'node:path';
import { open } from 'lmdb';
import { expect, test } from 'vitest';
import { decodeSeriesTable, encodeSeriesTable } from '../../../src/codec/series-table.ts';
import type { JournalKey } from '../../../src/journal/lmdb/environment.ts';
import type { Journal } from '../../../src/journal/lmdb/journal.ts';
import { readPosition, sealRecord } from '../../../src/journal/lmdb/record.ts';
import { verifyJournal } from '../../../src/journal/lmdb/verify.ts';
import { entryOf, openJournal, WRITERS } from '../../helpers/journal-bench.ts';
import { tempDir } from '../../helpers/temp-dir.ts';
import { gauge } from '../../helpers/writer-records.ts';

const TABLE = encodeSeriesTable(Array.from({ length: 10 }, (_, i) => gauge(`m${i}`)));
const OTHER = encodeSeriesTable([gauge('other'), gauge('another')]);
const RECORDS = 30;

const seriesCount = (bytes: Uint8Array) => decodeSeriesTable(bytes).series.length;

function verify(dir: string, onSlice?: (seq: number) => Promise<void>) {
  return verifyJournal(dir, { seriesCount, ...(onSlice && { onSlice }) });
}

/** Appends without waiting in between, so that many records share a commit. */
async function fill(journal: Journal, from = 1, to = RECORDS): Promise<void> {
  const appended: Promise<number>[] = [];
  for (let sequence = from; sequence <= to; sequence++) {
    const table = sequence % 7 === 0 ? OTHER : TABLE;
    appended.push(journal.append(entryOf(sequence, { table, size: sizeOf(sequence) })));
  }
  await Promise.all(appended);
}

const sizeOf = (sequence: number) => (sequence % 7 === 0 ? 2 : 10);

/** Moves a cursor over records of the first filling, all but `deadLetteredSamples` written. */
async function pass(journal: Journal, writer: string, cursor: number, deadLetteredSamples = 0) {
  let passed = 0;
  for (let seq = journal.cursor(writer) + 1; seq <= cursor; seq++) passed += sizeOf(seq);
  const writtenSamples = passed - deadLetteredSamples;
  await journal.commitCursor(writer, { cursor, writtenSamples, deadLetteredSamples });
}

/** A closed journal of thirty records, the first ten of them removed. */
async function journalOf(): Promise<string> {
  const dir = path.join(tempDir(), 'journal');
  const journal = await openJournal(dir);
  await fill(journal);
  await pass(journal, 'influxdb', 20, 5);
  await pass(journal, 'parquet', 10);
  await journal.close();
  return dir;
}

type Tables = Record<'log' | 'tables' | 'producers' | 'cursors', ReturnType<typeof openTable>>;

function openTable(root: ReturnType<typeof open>, name: string) {
  return root.openDB<Uint8Array, JournalKey>({
    name,
    encoding: 'binary',
  });
}

/** Changes rows behind the journal's back. */
async function tamper(dir: string, change: (tables: Tables) => void): Promise<void> {
  const root = open({ path: dir, encoding: 'binary', pageSize: 4096 });
  const names = ['log', 'tables', 'producers', 'cursors'] as const;
  const tables = Object.fromEntries(names.map((name) => [name, openTable(root, name)])) as Tables;
  await root.transaction(() => change(tables));
  await root.close();
}

function bytesAt(table: Tables['log'], key: JournalKey): Buffer {
  return Buffer.from(table.getBinary(key)!);
}

test('a sound journal is found sound, and so is an empty one', async () => {
  const dir = await journalOf();
  expect(await verify(dir)).toEqual({
    ...{ records: 20, samples: 176, tables: 2, producers: 1, cursors: 2, faults: 0, told: [] },
  });
  const empty = path.join(tempDir(), 'journal');
  await (await openJournal(empty)).close();
  expect(await verify(empty)).toMatchObject({ records: 0, faults: 0 });
});

test('a journal that is written and trimmed meanwhile is found sound', async () => {
  const dir = path.join(tempDir(), 'journal');
  const journal = await openJournal(dir);
  await fill(journal, 1, 2000);
  let slices = 0;
  const { records, ...rest } = await verify(dir, async (seq) => {
    slices += 1;
    // Everything that the next slice would have looked at goes, and more comes.
    const gone = Math.min(seq + 300, 1900);
    for (const writer of WRITERS) await pass(journal, writer, gone);
    while (journal.tailSeq < gone) await journal.booked();
    await fill(journal, 2000 + slices, 2000 + slices);
  });
  expect(rest).toMatchObject({ faults: 0, told: [] });
  expect(slices).toBeGreaterThan(2);
  expect(records).toBeLessThan(1500);
});

const FAULTS: [name: string, change: (tables: Tables) => void, where: string, what: RegExp][] = [
  [
    'a flipped byte in a record',
    ({ log }) => {
      const bytes = bytesAt(log, 15);
      bytes[100]! ^= 1;
      void log.put(15, bytes);
    },
    'record 15',
    /checksum mismatch/,
  ],
  ['a record that is missing', ({ log }) => void log.remove(17), 'record 17', /missing/],
  [
    'a record in the place of another',
    ({ log }) => void log.put(18, bytesAt(log, 19)),
    'record 18',
    /is record 19/,
  ],
  [
    'a record with a wrong running total',
    ({ log }) => {
      const bytes = bytesAt(log, 16);
      const { cumulativeSamples, cumulativeBytes } = readPosition(16, bytes)!;
      sealRecord(bytes, { seq: 16, cumulativeSamples: cumulativeSamples + 1, cumulativeBytes });
      void log.put(16, bytes);
    },
    'record 16',
    /running total of samples rises by 11, it has 10/,
  ],
  [
    'a series table that is missing',
    ({ tables }) => void tables.remove(OTHER.id),
    `table ${OTHER.id}`,
    /missing, record 14 needs it/,
  ],
  [
    'a series table with other bytes',
    ({ tables }) => void tables.put(OTHER.id, TABLE.bytes),
    `table ${OTHER.id}`,
    /not those of its id/,
  ],
  [
    'a duplicate filter that forgot a batch',
    ({ producers }) => {
      const bytes = bytesAt(producers, ['node-1', 1]);
      bytes.writeDoubleLE(29, 16);
      void producers.put(['node-1', 1], bytes);
    },
    'record 30',
    /duplicate filter does not know node-1\/1\/30/,
  ],
  [
    'a window that makes no sense',
    ({ producers }) => {
      const bytes = bytesAt(producers, ['node-1', 1]);
      bytes.writeDoubleLE(1.5, 16);
      void producers.put(['node-9', 1], bytes);
    },
    'producer node-9/1',
    /is a row of node-1\/1/,
  ],
];

test.each(FAULTS)('%s is found', async (_, change, where, what) => {
  const dir = await journalOf();
  await tamper(dir, change);
  const { told, faults } = await verify(dir);
  expect(faults).toBe(told.length);
  expect(told).toContainEqual({ where, what: expect.stringMatching(what) });
  // One cause: everything that is said is about it or about the counters next to it.
  expect(told.length).toBeLessThanOrEqual(2);
});

test.each([
  ['out of range', { seq: 99 }, /is at 99, outside 10 to 30/],
  ['with other books', { cumulativeSamples: 1 }, /accounts for \d+ of 1 samples/],
] as const)('a cursor %s is found', async (_, position, what) => {
  const dir = await journalOf();
  await tamper(dir, ({ cursors }) => {
    const row = JSON.parse(bytesAt(cursors, 'influxdb').toString('utf8'));
    row.position = { ...row.position, ...position };
    void cursors.put('influxdb', Buffer.from(JSON.stringify(row)));
  });
  const { told } = await verify(dir);
  expect(told).toContainEqual({ where: 'cursor influxdb', what: expect.stringMatching(what) });
});

test('no journal is an error, not a fault', async () => {
  await expect(verify(path.join(tempDir(), 'none'))).rejects.toMatchObject({
    code: 'JOURNAL_MISSING',
  });
});
