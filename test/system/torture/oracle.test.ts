import fs from 'node:fs';
import { expect, onTestFinished, test, vi } from 'vitest';
import { parseFamilies } from '../../../trials/torture/options.ts';
import { runTorture, type TortureResult } from '../../../trials/torture/torture.ts';
import { brokenBuild, type Edit } from '../../helpers/broken-build.ts';

vi.setConfig({ testTimeout: 180_000 });

/** A few seconds of the faults that find this flaw. */
async function torment(edits: readonly Edit[], faults: string, only = ''): Promise<TortureResult> {
  const families = parseFamilies(faults);
  const options = {
    seed: 1,
    seconds: 40,
    kills: 5,
    families,
    only,
    load: 1,
    json: false,
    keep: false,
  };
  const result = await runTorture(options, { print: () => {}, build: brokenBuild(edits) });
  onTestFinished(() => fs.rmSync(result.dir, { recursive: true, force: true }));
  return result;
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
    'random',
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
  const { verdict } = await torment(
    [
      {
        file: 'src/collector/writers/parquet/parquet-writer.js',
        from: 'if (this.#hours.size === 0) this.#advance();',
        to: 'this.#advance();',
      },
      {
        file: 'src/collector/writers/parquet/parquet-writer.js',
        from: 'firstSeq: this.#cursor + 1, lastSeq: this.#takenSeq };',
        to: 'firstSeq: this.#firstTakenSeq, lastSeq: this.#takenSeq };',
      },
    ],
    'kill',
    'random',
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
    'before the ack',
  );
  expect(verdict.warehouse.doubledSamples).toBeGreaterThan(0);
  expect(findings.join()).toContain('more than once in the warehouse');
});

test('a restart that does not look at the visible files is found out as doubles', async () => {
  const { verdict } = await torment(
    [
      {
        file: 'src/collector/writers/parquet/parquet-writer.js',
        from: 'if (this.#covered.has(hourMs, seq))',
        to: 'if (hourMs < 0)',
      },
    ],
    'kill',
    'renames',
  );
  expect(verdict.warehouse.doubledSamples).toBeGreaterThan(0);
});
