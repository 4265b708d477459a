import { expect, onTestFinished, test } from 'vitest';
import { JournalEnvironment, WriteList } from '../../../src/journal/lmdb/environment.ts';
import { countMembers, readSeriesLog, SeriesLog } from '../../../src/journal/lmdb/series-log.ts';
import { encodeSeriesRow } from '../../../src/journal/lmdb/series-row.ts';
import { verifyJournal } from '../../../src/journal/lmdb/verify.ts';
import type { SeriesChange } from '../../../src/domain/telemetry.ts';
import { openJournal } from '../../helpers/journal-bench.ts';
import { createRecordingLogger } from '../../helpers/recording-logger.ts';
import { seededRandom } from '../../helpers/seeded-random.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

const LARGEST_HASH = 2 ** 53 - 1;

function put(nodeId: string, seenSecs: number, ...hashes: number[]): SeriesChange {
  return { kind: 'put', nodeId, seenSecs, hashes: Float64Array.from(hashes) };
}

function remove(...hashes: number[]): SeriesChange {
  return { kind: 'remove', hashes: Float64Array.from(hashes) };
}

async function openEnvironment(dir: string): Promise<JournalEnvironment> {
  const env = JournalEnvironment.openForWriting(dir, 2 ** 30);
  onTestFinished(() => env.close());
  await env.takeLease(new WriteList());
  return env;
}

async function write(env: JournalEnvironment, log: SeriesLog): Promise<void> {
  const writes = new WriteList();
  const fold = log.plan(writes, log.take());
  await env.commit(writes);
  fold();
  env.refresh();
}

/** What the log amounts to: hash → node and time. */
function replayed(env: JournalEnvironment): Map<number, string> {
  const members = new Map<number, string>();
  for (const change of readSeriesLog(env.tables.series)) {
    for (const hash of change.hashes) {
      if (change.kind === 'remove') members.delete(hash);
      else members.set(hash, `${change.nodeId} ${change.seenSecs}`);
    }
  }
  return members;
}

test('a change survives as it was, also after the journal was opened again', async () => {
  const dir = tempDir();
  const changes = [
    put('nöde', 4_000_000_000, 1, LARGEST_HASH, 5),
    remove(LARGEST_HASH),
    put('', 0, 7),
  ];
  const first = await openJournal(dir);
  first.persistSeries(changes.slice(0, 2));
  await first.close();
  const second = await openJournal(dir);
  second.persistSeries(changes.slice(2));
  await second.close();
  expect([...(await openJournal(dir)).storedSeries()]).toEqual(changes);
  const env = JournalEnvironment.openForReading(dir);
  onTestFinished(() => env.close());
  expect(countMembers(env.tables.series)).toBe(3);
});

test('what a failed transaction took goes first with the next one', async () => {
  const log = new SeriesLog((await openEnvironment(tempDir())).tables.series);
  log.add([put('a', 1, 1), put('b', 1, 2, 3)]);
  const taken = log.take();
  log.add([put('c', 1, 4)]);
  log.putBack(taken);
  expect(log.waiting).toBe(4);
  expect(log.take().map((change) => change.kind === 'put' && change.nodeId)).toEqual([
    'a',
    'b',
    'c',
  ]);
  expect(log.waiting).toBe(0);
});

test('the log stays short while its members come, are seen again and go, and loses none', async () => {
  const random = seededRandom();
  const env = await openEnvironment(tempDir());
  const log = new SeriesLog(env.tables.series);
  const members = new Map<number, { node: string; seenSecs: number }>();
  log.attach({
    get size() {
      return members.size;
    },
    isLatest: (hash, seenSecs) => members.get(hash)?.seenSecs === seenSecs,
  });
  for (let step = 1; step <= 100; step += 1) {
    const node = `node-${random.below(30)}`;
    const seen = Array.from({ length: 2000 }, () => 1 + random.below(15_000));
    const ofNode = [...new Set(seen)].filter((hash) => (members.get(hash)?.node ?? node) === node);
    for (const hash of ofNode) members.set(hash, { node, seenSecs: step });
    log.add([put(node, step, ...ofNode)]);
    const gone = [...members.keys()].filter(() => random.chance(0.02));
    for (const hash of gone) members.delete(hash);
    log.add([remove(...gone)]);
    await write(env, log);
    const stored = [...readSeriesLog(env.tables.series)].reduce(
      (n, { hashes }) => n + hashes.length,
      0,
    );
    expect(stored, `seed ${random.seed}, step ${step}`).toBeLessThan(65_536 + 2 * 15_000 + 8192);
  }
  expect(env.entries(env.tables.series)).toBeLessThan(200);
  const expected = [...members].map(([hash, { node, seenSecs }]) => [hash, `${node} ${seenSecs}`]);
  expect([...replayed(env)].sort(byHash), `seed ${random.seed}`).toEqual(expected.sort(byHash));
});

test('a journal that knows its members keeps the list short by itself', async () => {
  const dir = tempDir();
  const rounds = 40;
  const hashes = Array.from({ length: 4096 }, (_, at) => at + 1);
  const journal = await openJournal(dir);
  journal.attachSeries({ size: hashes.length, isLatest: (_, seenSecs) => seenSecs === rounds });
  for (let round = 1; round <= rounds; round += 1) {
    journal.persistSeries([put('node', round, ...hashes)]);
  }
  await journal.close();
  const stored = [...(await openJournal(dir)).storedSeries()];
  expect(stored.at(-1)).toEqual(put('node', rounds, ...hashes));
  expect(stored.length).toBeLessThan((65_536 + 2 * 4096) / 4096 + 3);
});

test('damage costs what is behind it in its row, and is told', async () => {
  const dir = tempDir();
  const env = await openEnvironment(dir);
  const good = encodeSeriesRow([put('n', 9, 1, 2)]);
  const writes = new WriteList();
  writes.put(env.tables.series, 3, good);
  writes.put(env.tables.series, 4, Buffer.concat([good, good.subarray(0, 20)]));
  writes.put(env.tables.series, 5, Buffer.concat([encodeSeriesRow([put('n', 9, 0.5)]), good]));
  writes.put(env.tables.series, 6, Buffer.concat([good, Buffer.alloc(12)]));
  writes.put(env.tables.series, 7, encodeSeriesRow([put('m', 9, 3)]));
  await env.commit(writes);
  await env.close();
  const { logger, lines } = createRecordingLogger();
  const journal = await openJournal(dir, { logger });
  expect([...journal.storedSeries()]).toEqual([
    put('n', 9, 1, 2),
    put('n', 9, 1, 2),
    put('n', 9, 1, 2),
    put('m', 9, 3),
  ]);
  expect(lines.flatMap(({ row, why }) => (row === undefined ? [] : [[row, why]]))).toEqual([
    [4, 'it is cut off'],
    [5, 'a hash is not one'],
    [6, 'a change is of the unknown kind 0'],
  ]);
  const { told } = await verifyJournal(dir, { seriesCount: () => 0 });
  expect(told.map(({ where }) => where)).toEqual(['series row 4', 'series row 5', 'series row 6']);
});

function byHash([a]: readonly unknown[], [b]: readonly unknown[]): number {
  return Number(a) - Number(b);
}
