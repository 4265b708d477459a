/** A worker that hangs without ending: with a thread that really does. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Registry } from 'prom-client';
import { expect, onTestFinished, test } from 'vitest';
import { encodeSeriesTable } from '../../../src/codec/series-table.ts';
import { configSchema } from '../../../src/config/schema.ts';
import { packageFile } from '../../../src/lib/package-root.ts';
import { SilenceWatch } from '../../../src/collector/writers/silence-watch.ts';
import { createWritersMetrics } from '../../../src/collector/writers/writers-metrics.ts';
import { eventually } from '../../helpers/eventually.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { entryOf, openJournal } from '../../helpers/journal-bench.ts';
import { createRecordingLogger } from '../../helpers/recording-logger.ts';
import { ShiftableClock } from '../../helpers/shiftable-clock.ts';
import { tempDir } from '../../helpers/temp-dir.ts';
import { deadLettersBeside } from '../../helpers/writer-deps.ts';

const COMPILED = packageFile('dist/src/collector/writers/writer-thread.js');
type Compiled = typeof import('../../../src/collector/writers/writer-thread.ts');
const { WriterThread } = (await import(COMPILED)) as Compiled;

test('patience doubles with each hang and returns with progress', () => {
  const clock = new FakeClock(0);
  const watch = new SilenceWatch(clock);
  watch.heard();
  const patience: number[] = [];
  for (let hang = 0; hang < 6; hang++) {
    let waited = 0;
    for (; !watch.takeHang(); waited += 1) clock.advance(1000);
    patience.push(waited);
    watch.heard();
  }
  expect(patience).toEqual([60, 120, 240, 480, 960, 960]);
  watch.progressed();
  clock.advance(60_000);
  expect(watch.takeHang()).toBe(true);
});

test('a thread that hangs is ended, and another one does its work', async () => {
  const root = tempDir();
  const dir = path.join(root, 'journal');
  const clock = new ShiftableClock();
  const journal = await openJournal(dir, { writers: ['parquet'] });
  const { logger, lines } = createRecordingLogger();
  const { parquet } = configSchema.parse({ parquet: { output_dir: root } });
  const settings = { ...parquet, collector_id: 'c1' };
  const thread = new WriterThread(
    { clock, logger, metrics: createWritersMetrics(new Registry()) },
    {
      name: 'parquet',
      settings,
      journalDir: dir,
      deadLetters: deadLettersBeside(dir),
      startCursor: 0,
      incarnation: journal.incarnation,
    },
  );
  onTestFinished(() => thread.close());
  thread.start((progress) => journal.commitCursor('parquet', progress));
  await eventually('it speaks', () => thread.status.stats.visible_files === 0);
  // Opening a pipe that nobody reads blocks the thread in the system.
  const pipe = path.join(root, '.staging', 'part-c1-canary.tmp');
  execFileSync('mkfifo', [pipe]);
  const canary = entryOf(0, { size: 0, table: encodeSeriesTable([]) });
  thread.notifyHead(await journal.append(canary));
  await eventually('it is silent', () => thread.status.silentMs > 2500);
  expect(thread.status.failingMs).toBe(0);
  clock.shift(60_000);
  await eventually('the hang is noticed', () => {
    return lines.some(({ msg }) => msg === 'writer hangs; ending its thread');
  });
  // The call returns, and the next one finds no pipe.
  const reader = fs.openSync(pipe, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  fs.rmSync(pipe, { force: true });
  fs.closeSync(reader);
  await eventually('another one is planned', () => thread.status.restarts === 1);
  expect(thread.status.lastError).toMatch(/its thread said nothing for 6\d s/);
  await eventually('the canary is through', () => journal.cursor('parquet') === 1);
  expect(thread.status.silentMs).toBeLessThan(3000);
});
