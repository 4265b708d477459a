import fs from 'node:fs';
import { expect, onTestFinished, test, vi } from 'vitest';
import { parseFamilies } from '../../../trials/torture/options.ts';
import { runTorture, type TortureResult } from '../../../trials/torture/torture.ts';
import { brokenBuild, type Edit } from '../../helpers/broken-build.ts';

vi.setConfig({ testTimeout: 300_000 });

/** Runs, with other seeds, before a broken build counts as not found out. */
const ATTEMPTS = 3;

interface Choice {
  readonly only?: string;
  /** Default 5; faults beside the process end after `seconds` alone. */
  readonly kills?: number;
  readonly seconds?: number;
  /** Less than 1 where what is broken never comes to rest. */
  readonly patience?: number;
  /** Whether a run has found what it must; default: anything. */
  readonly isFound?: (result: TortureResult) => boolean;
}

const hasFindings = ({ findings }: TortureResult) => findings.length > 0;

/** A few seconds of the faults that find this flaw. */
async function torment(
  edits: readonly Edit[],
  faults: string,
  { only = '', kills = 5, seconds = 40, patience = 1, isFound = hasFindings }: Choice = {},
): Promise<TortureResult> {
  const families = parseFamilies(faults);
  const options = {
    seconds,
    kills,
    families,
    only,
    load: 1,
    transport: 'auto' as const,
    json: false,
    keep: false,
  };
  const build = brokenBuild(edits);
  // What a fault meets is a matter of moments: a build is let off only after several runs.
  for (let attempt = 1; ; attempt += 1) {
    const result = await runTorture(
      { ...options, seed: attempt },
      { print: () => {}, build, patience },
    );
    onTestFinished(() => fs.rmSync(result.dir, { recursive: true, force: true }));
    if (attempt === ATTEMPTS || isFound(result)) return result;
  }
}

test('an acknowledgement before the commit is found out as loss', async () => {
  const { verdict, findings } = await torment(
    [
      {
        file: 'src/journal/lmdb/journal.js',
        from: 'this.#work(); return promise; } /** Resolves once everything appended so far',
        to: `this.#work(); promise.catch(() => {}); return Promise.resolve(1); }
    /** Resolves once everything appended so far`,
      },
      {
        file: 'src/journal/lmdb/journal.js',
        from: 'await Promise.resolve(); while (this.#hasWork())',
        to: 'await new Promise((go) => setTimeout(go, 30)); while (this.#hasWork())',
      },
    ],
    'kill',
    { only: 'random' },
  );
  expect(verdict.warehouse.lostSamples).toBeGreaterThan(0);
  expect(verdict.sink?.lostSamples).toBeGreaterThan(0);
  expect(findings.join()).toContain('acknowledged samples are not in the warehouse');
});

test('an acknowledgement before the flush is found out as loss, by a power cut', async () => {
  const unflushed = 'overlappingSync: false, noSync: true,';
  const { verdict, world } = await torment(
    [{ file: 'src/journal/lmdb/environment.js', from: 'overlappingSync: false,', to: unflushed }],
    'power',
  );
  if (world.disks === undefined) process.stderr.write('skipped: no disks that can lose power\n');
  else expect(verdict.warehouse.lostSamples).toBeGreaterThan(0);
});

test('a cursor that is committed before the rename is found out as loss', async () => {
  const file = 'src/collector/writers/parquet/parquet-writer.js';
  const { verdict } = await torment(
    [
      {
        file,
        from: 'if (this.#cursor === this.#reportedCursor)',
        to: 'if (this.#takenSeq === this.#reportedCursor)',
      },
      {
        file,
        from: 'this.#reportedCursor = this.#cursor; const',
        to: 'this.#reportedCursor = this.#takenSeq; const',
      },
      { file, from: 'return { cursor: this.#cursor,', to: 'return { cursor: this.#takenSeq,' },
    ],
    'kill',
    { only: 'random' },
  );
  expect(verdict.warehouse.lostSamples).toBeGreaterThan(0);
  expect(verdict.sink?.lostSamples).toBe(0);
});

test('a forgotten producer window is found out as doubles', async () => {
  const { verdict, findings } = await torment(
    [
      {
        file: 'src/journal/lmdb/producers.js',
        from: 'return producer.window.state(sequence);',
        to: "return 'new';",
      },
    ],
    'kill',
    { only: 'before the ack' },
  );
  expect(verdict.warehouse.doubledSamples).toBeGreaterThan(0);
  expect(findings.join()).toContain('more than once in the warehouse');
});

test('a restart that does not look at the visible files is found out as doubles', async () => {
  const { verdict } = await torment(
    [
      {
        file: 'src/collector/writers/parquet/parquet-writer.js',
        from: 'this.#covered.has(hourMs, record.seq)',
        to: 'hourMs < 0',
      },
    ],
    'kill',
    { only: 'renames' },
  );
  expect(verdict.warehouse.doubledSamples).toBeGreaterThan(0);
});

test('a duplicate that is acknowledged before it is durable is found out as loss', async () => {
  const file = 'src/collector/ingest/ingest.js';
  const { verdict } = await torment(
    [
      { file, from: 'await this.#deps.journal.durable();', to: '' },
      {
        file,
        from: 'await this.#book({ received, duplicate',
        to: 'this.#book({ received, duplicate',
      },
    ],
    'kill',
    { only: 'slow commit', kills: 3 },
  );
  expect(verdict.warehouse.lostSamples).toBeGreaterThan(0);
});

test('a writer that reads what is not yet on disk is found out by a power cut', async () => {
  // A sync that takes long, and a reader that does not wait for it.
  const { verdict, world } = await torment(
    [
      {
        file: 'src/collector/writers/record-feed.js',
        from: 'slice.records.filter(({ seq }) => seq <= durableSeq)',
        to: 'slice.records',
      },
      {
        file: 'src/journal/lmdb/environment.js',
        from: 'overlappingSync: false,',
        to: 'overlappingSync: false, noSync: true,',
      },
      {
        file: 'src/journal/lmdb/environment.js',
        from: 'if (!leaseHolds) {',
        to: `await new Promise((go) => setTimeout(go, 300));
          const file = fs.openSync(path.join(this.dir, DATA_FILE), 'r');
          fs.fsyncSync(file);
          fs.closeSync(file);
          if (!leaseHolds) {`,
      },
    ],
    'power',
    { only: 'after the renames', kills: 3 },
  );
  const { lostSamples, doubledSamples } = verdict.warehouse;
  if (world.disks === undefined) process.stderr.write('skipped: no disks that can lose power\n');
  else expect(lostSamples + doubledSamples).toBeGreaterThan(0);
});

test("rows with another table's series, or another time of receipt, are found out", async () => {
  const { verdict, findings } = await torment(
    [
      {
        file: 'src/collector/writers/parquet/series-index.js',
        from: 'const key = ',
        to: 'const key = nodeId ?? ',
      },
      {
        file: 'src/collector/writers/parquet/waiting-rows.js',
        from: 'record.samples, record.receivedAtMs,',
        to: 'record.samples, Date.now(),',
      },
    ],
    'tables',
    { seconds: 6 },
  );
  expect(verdict.warehouse.unknownRows).toBeGreaterThan(0);
  expect(verdict.warehouse.misdatedRows).toBeGreaterThan(0);
  expect(findings.join()).toContain('rows have a received_at that cannot be');
});

test('files that a wrong clock removes are found out as loss', async () => {
  const { verdict } = await torment(
    [
      {
        file: 'src/collector/writers/parquet/retention.js',
        from: 'Math.min(nowMs, newestMs) - limits.days',
        to: 'nowMs - limits.days',
      },
      {
        file: 'src/collector/writers/parquet/retention.js',
        from: 'Math.ceil(files.length * SHARE_PER_TICK)',
        to: 'files.length',
      },
    ],
    'clock-days',
    {
      only: 'at the start',
      seconds: 8,
      isFound: ({ verdict: { warehouse } }) => warehouse.lostSamples > 0,
    },
  );
  expect(verdict.warehouse.lostSamples).toBeGreaterThan(0);
});

test('a restored journal under its old id, and an owner that no lock keeps out, are found out', async () => {
  const { verdict, findings } = await torment(
    [
      {
        file: 'src/journal/lmdb/journal-opening.js',
        from: 'stored !== undefined && seenSeq > head.seq',
        to: 'stored !== undefined && seenSeq < 0',
      },
      {
        file: 'src/lib/directory-lock.js',
        from: 'if (await answers(dir, name))',
        to: 'if (dir === name)',
      },
    ],
    'rollback,owners',
    {
      only: 'journal',
      kills: 3,
      seconds: 25,
      isFound: ({ verdict: { warehouse }, findings: found }) =>
        warehouse.lostSamples > 0 && found.join().includes('a second daemon ran'),
    },
  );
  expect(verdict.warehouse.lostSamples).toBeGreaterThan(0);
  expect(findings.join()).toContain('a second daemon ran');
});

test('hours without a budget, and staging that is not made again, are found out', async () => {
  const room = 'src/collector/writers/parquet';
  const { findings } = await torment(
    [
      {
        file: 'src/collector/admission/hour-budget.js',
        from: 'const minute = this.#minutes.get(nodeId); if (this.#perMinute === 0',
        to: 'const minute = this.#minutes.get(nodeId); if (this.#perMinute >= 0',
      },
      {
        file: `${room}/staging-probe.js`,
        from: 'fs.makeDirectory(stagingDirectory(root));',
        to: '',
      },
      { file: `${room}/parquet-writer.js`, from: 'if (this.#mustRecover) this.recover();', to: '' },
    ],
    'hours,vanish',
    {
      seconds: 12,
      patience: 1 / 10,
      isFound: ({ findings: found }) =>
        ['old hours in a minute', 'no rows were written'].every((words) =>
          found.join().includes(words),
        ),
    },
  );
  const told = findings.join();
  expect(told).toContain('old hours in a minute');
  expect(told).toContain('no rows were written');
});

test('a search for refused lines that starts over after each pause is found out', async () => {
  const file = 'src/collector/writers/influx/line-delivery.js';
  const { findings } = await torment(
    [
      {
        file,
        from: "if (outcome.kind === 'failed') return outcome;",
        to: "if (outcome.kind === 'failed') { this.restart(); return outcome; }",
      },
      // Where the words lead to all of them at once, there is next to nothing to start over.
      { file, from: 'if (isTimed === true ||', to: 'if (isTimed !== null ||' },
    ],
    'refusals',
    { only: 'busy', seconds: 14 },
  );
  expect(findings.join()).toContain("InfluxDB's cursor stood");
});
