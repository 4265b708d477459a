import { expect, test } from 'vitest';
import { SourceRunner } from '../../src/agent/source-runner.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { FakeClock } from '../helpers/fake-clock.ts';
import { createRecordingLogger } from '../helpers/recording-logger.ts';
import { ScriptedSource } from '../helpers/scripted-source.ts';

const INTERVAL_MS = 10_000;
const NOTHING = { readings: [], skipped: [], done: false };

function runnerOf(source: ScriptedSource, clock: Clock) {
  const log = createRecordingLogger();
  const options = { deadlineMs: INTERVAL_MS * 0.9, intervalMs: INTERVAL_MS };
  return { log, runner: new SourceRunner({ clock, logger: log.logger }, source, options) };
}

/** Lets everything that is ready run. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

test('after an outage of an hour a source is read again within two intervals', async () => {
  const clock = new FakeClock(0);
  let works = false;
  const source = new ScriptedSource('gpu', async () => {
    if (!works) throw new Error('driver is gone');
    return NOTHING;
  });
  const { runner } = runnerOf(source, clock);
  for (let round = 0; round < 360; round += 1) {
    await runner.poll();
    clock.advance(INTERVAL_MS);
  }
  expect(source.collections).toBeLessThan(360);
  works = true;
  for (let round = 0; round < 2; round += 1) {
    await runner.poll();
    clock.advance(INTERVAL_MS);
  }
  expect(runner.health.isUp).toBe(true);
});

test('a source slower than the interval stays up, is told once, and is asked as it answers', async () => {
  const clock = new FakeClock(0);
  const answers: (() => void)[] = [];
  const source = new ScriptedSource('gpu', async () => {
    await new Promise<void>((resolve) => answers.push(resolve));
    return NOTHING;
  });
  const { runner, log } = runnerOf(source, clock);
  const ups: boolean[] = [];
  // Each answer takes 15 s, one and a half intervals.
  for (let second = 0; second < 300; second += 5) {
    if (second % INTERVAL_SECONDS === 0) {
      void runner.poll();
      await settle();
    }
    if (second % 15 === 10) for (const answer of answers.splice(0)) answer();
    await settle();
    clock.advance(5000);
    await settle();
    if (second > 60) ups.push(runner.health.isUp);
  }
  expect(ups.every((isUp) => isUp)).toBe(true);
  const told = log.lines.map(({ msg }) => msg);
  expect(told.filter((msg) => msg.startsWith('the source is slower'))).toHaveLength(1);
  expect(told.filter((msg) => msg === 'source fails').length).toBeLessThanOrEqual(1);
  expect(source.collections).toBeGreaterThanOrEqual(14);
});

test('a source that answered before and answers no more is down', async () => {
  const clock = new FakeClock(0);
  const source = new ScriptedSource('gpu', (collection) =>
    collection === 1 ? Promise.resolve(NOTHING) : new Promise(() => {}),
  );
  const { runner } = runnerOf(source, clock);
  await runner.poll();
  for (let round = 0; round < 4; round += 1) {
    void runner.poll();
    await settle();
    clock.advance(INTERVAL_MS);
    await settle();
  }
  expect(runner.health.isUp).toBe(false);
});

const INTERVAL_SECONDS = INTERVAL_MS / 1000;
