import { expect, test } from 'vitest';
import { LagTracker } from '../../../src/collector/writers/lag-tracker.ts';

test('the oldest record above the cursor is known to the second', () => {
  const lag = new LagTracker();
  expect(lag.oldestUnsafeMs(0)).toBe(0);
  for (let seq = 1; seq <= 100; seq++) lag.add(seq, 1_000_000 + seq * 100);
  expect(lag.oldestUnsafeMs(0)).toBe(1_000_100);
  expect(lag.oldestUnsafeMs(5)).toBe(1_000_100);
  const behind = 1_000_000 + 56 * 100 - lag.oldestUnsafeMs(55);
  expect(behind).toBeGreaterThanOrEqual(0);
  expect(behind).toBeLessThan(1000);
  lag.add(20, 5_000_000);
  expect(lag.oldestUnsafeMs(99)).toBeGreaterThan(1_009_000);
  expect(lag.oldestUnsafeMs(100)).toBe(0);
  lag.add(101, 1_011_000);
  expect(lag.oldestUnsafeMs(100)).toBe(1_011_000);
});

test('days of held back records cost a bounded number of notes', () => {
  const lag = new LagTracker();
  for (let seq = 1; seq <= 200_000; seq++) lag.add(seq, seq * 1000);
  expect(lag.oldestUnsafeMs(0)).toBe(1000);
  const behind = 150_001_000 - lag.oldestUnsafeMs(150_000);
  expect(behind).toBeGreaterThanOrEqual(0);
  expect(behind).toBeLessThan(64_000);
});
