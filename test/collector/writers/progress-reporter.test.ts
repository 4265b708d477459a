import { expect, test } from 'vitest';
import { ProgressReporter } from '../../../src/collector/writers/progress-reporter.ts';
import type { WriterProgress } from '../../../src/collector/writers/writer.ts';

test('reports made while one is being committed become one', async () => {
  const sent: WriterProgress[] = [];
  const reporter = new ProgressReporter((progress) => void sent.push(progress));
  reporter.report({ cursor: 1, writtenSamples: 10, deadLetteredSamples: 1 });
  reporter.report({ cursor: 2, writtenSamples: 20, deadLetteredSamples: 2 });
  reporter.report({ cursor: 3, writtenSamples: 30, deadLetteredSamples: 3 });
  expect(sent).toEqual([{ cursor: 1, writtenSamples: 10, deadLetteredSamples: 1 }]);
  let isIdle = false;
  const idle = reporter.idle().then(() => {
    isIdle = true;
  });
  reporter.committed();
  expect(sent[1]).toEqual({ cursor: 3, writtenSamples: 50, deadLetteredSamples: 5 });
  await Promise.resolve();
  expect(isIdle).toBe(false);
  reporter.committed();
  await idle;
  expect(sent.length).toBe(2);
  await reporter.idle();
});
