import { expect, test } from 'vitest';
import { ProgressReporter } from '../../../src/collector/writers/progress-reporter.ts';
import type { WriterProgress } from '../../../src/collector/writers/writer.ts';

const FILE = { path: 'a', hourMs: 0, firstSeq: 1, lastSeq: 1, bytes: 9 };

test('reports made while one is being committed become one', async () => {
  const sent: WriterProgress[] = [];
  const reporter = new ProgressReporter((progress) => void sent.push(progress));
  reporter.report({ cursor: 1, writtenSamples: 10, deadLetteredSamples: 1 });
  const files = [FILE];
  reporter.report({ cursor: 2, writtenSamples: 20, deadLetteredSamples: 2, files });
  reporter.report({ cursor: 3, writtenSamples: 30, deadLetteredSamples: 3, files });
  expect(sent).toMatchObject([{ cursor: 1, writtenSamples: 10, deadLetteredSamples: 1 }]);
  let isIdle = false;
  const idle = reporter.idle().then(() => {
    isIdle = true;
  });
  reporter.committed();
  const both = { writtenSamples: 50, deadLetteredSamples: 5, files: [FILE, FILE] };
  expect(sent[1]).toEqual({ cursor: 3, ...both });
  await Promise.resolve();
  expect(isIdle).toBe(false);
  reporter.committed();
  await idle;
  expect(sent.length).toBe(2);
  await reporter.idle();
});
