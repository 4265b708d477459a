import fs from 'node:fs';
import path from 'node:path';
import { Registry } from 'prom-client';
import { expect, onTestFinished, test } from 'vitest';
import { Journal } from '../../../src/journal/lmdb/journal.ts';
import { createJournalMetrics } from '../../../src/journal/lmdb/journal-metrics.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { packageFile } from '../../../src/lib/package-root.ts';
import type { WriterProgress } from '../../../src/collector/writers/writer.ts';
import { createWritersMetrics } from '../../../src/collector/writers/writers-metrics.ts';
import { eventually } from '../../helpers/eventually.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { addFleet } from '../../helpers/gpu-fleet.ts';
import { influxSettings } from '../../helpers/influx-settings.ts';
import { InfluxStandIn } from '../../helpers/influx-stand-in.ts';
import { createRecordingLogger } from '../../helpers/recording-logger.ts';
import { tempDir } from '../../helpers/temp-dir.ts';
import { deadLettersBeside } from '../../helpers/writer-deps.ts';
import { RecordBook } from '../../helpers/writer-records.ts';

// A worker's entry is a file of its own, so the thread runs as it is shipped: compiled.
const COMPILED = packageFile('dist/src/collector/writers/writer-thread.js');
type Compiled = typeof import('../../../src/collector/writers/writer-thread.ts');
const { WriterThread } = (await import(COMPILED)) as Compiled;

const FLEET = { nodes: 5, gpus: 4, metrics: 10, rounds: 40 };
const RECORDS = FLEET.nodes * FLEET.rounds;
const SAMPLES = RECORDS * (FLEET.gpus * FLEET.metrics + 2);

async function setUp(changes: Record<string, unknown> = {}) {
  const server = await InfluxStandIn.start();
  const journalDir = path.join(tempDir(), 'journal');
  const { logger, lines } = createRecordingLogger();
  const registry = new Registry();
  const journal = await Journal.open({
    ...{ dir: journalDir, maxBytes: 1 << 30, minFreeBytes: 0, writers: ['influxdb'], logger },
    ...{ clock: systemClock, metrics: createJournalMetrics(registry) },
  });
  const thread = new WriterThread(
    { clock: systemClock, logger, metrics: createWritersMetrics(registry) },
    {
      ...{ name: 'influxdb', settings: influxSettings(server.url, changes), journalDir },
      deadLetters: deadLettersBeside(journalDir),
      startCursor: journal.cursor('influxdb'),
      incarnation: journal.incarnation,
    },
  );
  onTestFinished(async () => {
    await thread.close();
    await thread.close();
    await journal.close();
  });
  const commits: WriterProgress[] = [];
  const commit = async (progress: WriterProgress) => {
    await journal.commitCursor('influxdb', progress);
    commits.push(progress);
  };
  journal.onAppended((seq) => thread.notifyHead(seq));
  const book = new RecordBook();
  addFleet(book, FLEET);
  async function append(from = 0, to = RECORDS): Promise<void> {
    const appended = book.records.slice(from, to).map((record) =>
      journal.append({
        ...record,
        table: book.table(record.tableId),
        outcome: { received: record.samples.values.length },
      }),
    );
    await Promise.all(appended);
  }
  const numericPoints = () =>
    [...server.points()].filter(([, value]) => typeof value === 'number').length;
  return {
    ...{ server, journal, journalDir, thread, commits, commit, append, numericPoints },
    ...{ registry, lines },
  };
}

test('everything in the journal reaches the server, and the cursor follows', async () => {
  const { thread, journal, commit, append, numericPoints, registry } = await setUp();
  thread.start(commit);
  await append();
  await thread.drain(20_000);
  expect(journal.cursor('influxdb')).toBe(RECORDS);
  expect(journal.pendingSamples('influxdb')).toBe(0);
  expect(numericPoints()).toBe(SAMPLES);
  expect(thread.status).toMatchObject({ state: 'running', cursor: RECORDS, headSeq: RECORDS });
  const page = await registry.metrics();
  expect(page).toContain('telemetry_collector_writers_lag_records{writer="influxdb"} 0');
  expect(page).toContain(`telemetry_collector_writers_fields_total{writer="influxdb"} ${SAMPLES}`);
  await thread.close();
  expect(thread.status.state).toBe('stopped');
});

test('a worker that is killed again and again loses nothing', async () => {
  const { server, thread, journal, commits, commit, append, numericPoints, lines } = await setUp({
    max_batch_bytes: 20_000,
  });
  thread.start(commit);
  for (let kill = 1; kill <= 3; kill++) {
    const seen = server.requests.length;
    await append(((kill - 1) * RECORDS) / 4, (kill * RECORDS) / 4);
    await eventually('a request arrives', () => server.requests.length > seen, 40_000);
    thread.restart();
    await eventually('another worker is planned', () => thread.status.restarts === kill);
  }
  await append((3 * RECORDS) / 4, RECORDS);
  await eventually('all is committed', () => journal.cursor('influxdb') === RECORDS, 40_000);
  expect(numericPoints()).toBe(SAMPLES);
  const cursors = commits.map(({ cursor }) => cursor);
  expect(cursors).toEqual([...cursors].sort((a, b) => a - b));
  expect(lines.filter(({ msg }) => msg.startsWith('writer ended')).length).toBe(3);
});

test('a server that is down holds the journal back and nothing else, and says so', async () => {
  const { server, thread, journal, commit, append, numericPoints, lines } = await setUp();
  server.answer = () => ({ status: 503 });
  thread.start(commit);
  await append();
  await eventually('it backs off', () => thread.status.state === 'backing_off');
  expect(thread.status.lastError).toContain('HTTP 503');
  expect(thread.status.failingMs).toBeGreaterThan(0);
  const startedMs = performance.now();
  await thread.drain(500);
  expect(performance.now() - startedMs).toBeLessThan(3000);
  expect(journal.cursor('influxdb')).toBe(0);
  expect(numericPoints()).toBe(0);
  expect(JSON.stringify(lines)).not.toContain('very-secret');
});

test('progress that cannot be committed yet is committed later', async () => {
  const { thread, journal, commit, append, lines } = await setUp();
  let refusals = 2;
  thread.start(async (progress) => {
    if (refusals-- > 0) throw new Error('the disk is full');
    await commit(progress);
  });
  await append();
  await eventually('all is committed', () => journal.cursor('influxdb') === RECORDS);
  expect(lines.filter(({ msg }) => msg === 'cannot commit progress').length).toBe(2);
});

test('refused lines lie in the dead-letter file beside the journal and in the ledger', async () => {
  const { server, thread, journal, journalDir, commit, append } = await setUp();
  server.answer = ({ lines }) => ({
    status: lines.some((line) => /^gpu,.*node_id=node-2,/.test(line)) ? 400 : 204,
  });
  thread.start(commit);
  await append();
  await thread.drain(30_000);
  expect(journal.cursor('influxdb')).toBe(RECORDS);
  const dir = path.join(journalDir, '..', 'dead-letter');
  const letters = fs
    .readdirSync(dir)
    .flatMap((name) => fs.readFileSync(path.join(dir, name), 'utf8').trimEnd().split('\n'))
    .map((line) => JSON.parse(line) as { node: string; samples: number });
  expect(new Set(letters.map(({ node }) => node))).toEqual(new Set(['node-2']));
  const samples = letters.reduce((sum, letter) => sum + letter.samples, 0);
  expect(samples).toBe(FLEET.rounds * FLEET.gpus * FLEET.metrics);
  const { written, deadLettered } = journal.ledger.writers.get('influxdb')!;
  expect([written, deadLettered]).toEqual([SAMPLES - samples, samples]);
});

test('a worker that cannot even start is tried slowly, and the status says why', async () => {
  const clock = new FakeClock(1_700_000_000_000);
  const { logger } = createRecordingLogger();
  const thread = new WriterThread(
    { clock, logger, metrics: createWritersMetrics(new Registry()) },
    {
      ...{
        name: 'influxdb',
        settings: influxSettings('http://127.0.0.1:9'),
        incarnation: 1,
        startCursor: 0,
      },
      journalDir: path.join(tempDir(), 'nowhere'),
      deadLetters: deadLettersBeside(tempDir()),
    },
  );
  thread.start(async () => {});
  for (let restarts = 1; restarts <= 6; restarts++) {
    await eventually(`restart ${restarts}`, () => thread.status.restarts === restarts);
    expect(thread.status.state).toBe(restarts <= 5 ? 'backing_off' : 'broken');
    clock.advance(restarts <= 5 ? 9000 : 59_000);
  }
  expect(thread.status.lastError).toContain('writer ended: ');
  expect(thread.status.failingMs).toBeGreaterThan(0);
  await thread.drain(1000);
  await thread.close();
  expect(thread.status.state).toBe('stopped');
});
