import { expect, test } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { EventLoopWatch } from '../../src/lib/event-loop-watch.ts';
import { eventually } from '../helpers/eventually.ts';
import { FakeClock } from '../helpers/fake-clock.ts';

function blockFor(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

test('a loop that turns has no stalls', () => {
  const clock = new FakeClock(0);
  const watch = new EventLoopWatch(clock);
  watch.start();
  clock.advance(3_600_000);
  expect([watch.stalls, watch.stalledMs, watch.lastStall]).toEqual([0, 0, undefined]);
  watch.close();
});

test('a blocked loop is a stall, known at once, counted once, with its length and age', async () => {
  const watch = new EventLoopWatch(systemClock);
  watch.start();
  await eventually('the loop turns', () => watch.stalls === 0);
  blockFor(1600);
  expect(watch.lastStall?.durationMs).toBeGreaterThan(1200);
  expect(watch.lastStall?.agoMs).toBe(0);
  await eventually('the stall is counted', () => watch.stalls === 1);
  expect(watch.stalledMs).toBeGreaterThan(1200);
  await eventually('it grows old', () => (watch.lastStall?.agoMs ?? 0) > 300);
  expect(watch.stalls).toBe(1);
  watch.close();
});
