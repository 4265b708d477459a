/** Each equation of the books can fail: who counts wrongly is found out on the metrics page. */
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { createLedgerMetrics } from '../../src/journal/ledger-metrics.ts';
import { inspectJournal } from '../../src/journal/lmdb/inspect.ts';
import type { Journal } from '../../src/journal/lmdb/journal.ts';
import { entryOf, expectEvenBooks, openJournal, passTo } from '../helpers/journal-bench.ts';
import { tempDir } from '../helpers/temp-dir.ts';

/** A journal of three batches, two of them written, and what its page says of an equation. */
async function setUp() {
  const dir = tempDir();
  const journal = await openJournal(dir, { writers: ['parquet'] });
  for (const sequence of [1, 2, 3]) await journal.append(entryOf(sequence));
  await passTo(journal, 'parquet', 2);
  expectEvenBooks(journal);
  return { dir, journal, imbalance: (name: string) => imbalanceOf(journal, name) };
}

async function imbalanceOf(journal: Journal, equation: string): Promise<number> {
  const registry = new Registry();
  createLedgerMetrics(registry, journal);
  const page = await registry.metrics();
  const pattern = new RegExp(`samples_imbalance\\{equation="${equation}".*\\} (-?\\d+)$`, 'm');
  return Number(pattern.exec(page)?.[1]);
}

const progress = (cursor: number, writtenSamples: number, deadLetteredSamples = 0) => ({
  ...{ cursor, writtenSamples, deadLetteredSamples },
});

test('even books say 0', async () => {
  const { imbalance } = await setUp();
  expect(await imbalance('received')).toBe(0);
  expect(await imbalance('written')).toBe(0);
});

test('a batch of which samples went astray between door and log is told', async () => {
  const { journal, imbalance } = await setUp();
  await journal.append(entryOf(4, { size: 7, outcome: { received: 10 } }));
  expect(await imbalance('received')).toBe(3);
});

test.each([
  ['duplicate', { received: 5, duplicate: 4 }],
  ['rejected', { received: 5, rejections: [{ reason: 'sentinel', count: 4 }] }],
  ['throttled', { received: 5, throttled: { reason: 'node_rate', count: 4 } }],
] as const)('a batch booked as %s with a sample less than came is told', async (_, outcome) => {
  const { journal, imbalance } = await setUp();
  journal.ledger.book(outcome);
  await journal.booked();
  expect(await imbalance('received')).toBe(1);
});

test.each([
  ['too few', progress(3, 9), 1],
  ['too many', progress(3, 11), -1],
  ['some of them twice', progress(3, 10, 2), -2],
])('a writer that counts %s is told', async (_, wrong, expected) => {
  const { journal, imbalance } = await setUp();
  await journal.commitCursor('parquet', wrong);
  expect(await imbalance('written')).toBe(expected);
});

test('an imbalance survives a restart', async () => {
  const { dir, journal } = await setUp();
  await journal.commitCursor('parquet', progress(3, 9));
  journal.ledger.book({ received: 5, duplicate: 4 });
  await journal.close();
  const again = await openJournal(dir, { writers: ['parquet'] });
  expect(await imbalanceOf(again, 'written')).toBe(1);
  expect(await imbalanceOf(again, 'received')).toBe(1);
});

test('the refused samples of an accepted batch are stored with its record', async () => {
  const { dir, journal } = await setUp();
  const rejections = [{ reason: 'sentinel', count: 3 }] as const;
  await journal.append(entryOf(4, { outcome: { received: 13, rejections } }));
  // Read from the disk, as the next daemon would after a kill at this moment.
  expect(await inspectJournal(dir)).toMatchObject({
    acceptedSamples: 40,
    ledger: { received: 43, rejected: { sentinel: 3 } },
  });
});

test('what the page shows is stored, so that a restart sets nothing back', async () => {
  const { journal } = await setUp();
  const registry = new Registry();
  createLedgerMetrics(registry, journal);
  journal.ledger.book({ received: 5, duplicate: 5 });
  expect(await registry.metrics()).toContain('samples_duplicate_total 0\n');
  await journal.booked();
  expect(await registry.metrics()).toContain('samples_duplicate_total 5\n');
});

test('a batch that is not answered is under way', async () => {
  const { journal } = await setUp();
  journal.ledger.arrive(10);
  expect(journal.ledger.underWay).toBe(10);
  journal.ledger.leave(10);
  expect(journal.ledger.underWay).toBe(0);
});

test('books of a version that did not count at the door go on as even', async () => {
  const { journal } = await setUp();
  journal.ledger.restore({ duplicate: 1, rejected: { sentinel: 2 }, throttled: { node_rate: 3 } });
  expect(journal.ledger.books.received).toBe(36);
  expect(await imbalanceOf(journal, 'received')).toBe(0);
});
