import { expect, test } from 'vitest';
import { RoundThrottle } from '../../src/agent/round-throttle.ts';

const OPTIONS = { isEnabled: true, maxQueueDepth: 10_000, maxBytes: 64_000_000, rate: 0.5 };

/** How many of a hundred rounds are made at a depth. */
function roundsAt(throttle: RoundThrottle, batches: number, bytes = 0): number {
  return Array.from({ length: 100 }, () => throttle.admit({ batches, bytes })).filter(Boolean)
    .length;
}

test('rounds are left out evenly as the spool fills, down to the rate when it is full', () => {
  const throttle = new RoundThrottle(OPTIONS);
  expect(roundsAt(throttle, 0)).toBe(100);
  expect(roundsAt(throttle, 5000)).toBe(100);
  expect(roundsAt(throttle, 7500)).toBe(75);
  expect(roundsAt(throttle, 10_000)).toBe(50);
  expect(roundsAt(throttle, 1_000_000)).toBe(50);
  expect(throttle.rate).toBe(0.5);
  expect(throttle.throttledRounds).toBe(25 + 50 + 50);
  expect(roundsAt(throttle, 0)).toBe(100);
  expect(throttle.rate).toBe(1);
});

test('a spool that is full by bytes is as full as one that is full by batches', () => {
  expect(roundsAt(new RoundThrottle(OPTIONS), 10, 64_000_000)).toBe(50);
  expect(roundsAt(new RoundThrottle(OPTIONS), 10, 32_000_000)).toBe(100);
});

test('no two rounds in a row are left out at a rate of a half or more', () => {
  const throttle = new RoundThrottle(OPTIONS);
  const made = Array.from({ length: 50 }, () => throttle.admit({ batches: 10_000, bytes: 0 }));
  expect(made.some((isMade, round) => !isMade && made[round + 1] === false)).toBe(false);
});

test('where it is off every round is made', () => {
  const throttle = new RoundThrottle({ ...OPTIONS, isEnabled: false });
  expect(roundsAt(throttle, 1_000_000)).toBe(100);
  expect(throttle.rate).toBe(1);
});
