import { expect, test } from 'vitest';
import { Backoff } from '../../src/lib/backoff.ts';

test('waits double up to the bound, between half and all of it', () => {
  const shortest = new Backoff({ initialMs: 100, maxMs: 1000 }, () => 0);
  const longest = new Backoff({ initialMs: 100, maxMs: 1000 }, () => 1);
  const delays = (backoff: Backoff) => Array.from({ length: 6 }, () => backoff.nextDelayMs());
  expect(delays(shortest)).toEqual([50, 100, 200, 400, 500, 500]);
  expect(delays(longest)).toEqual([100, 200, 400, 800, 1000, 1000]);
});

test('never waits less than it was told to, and begins anew after a success', () => {
  const backoff = new Backoff({ initialMs: 100, maxMs: 1000 }, () => 1);
  expect(backoff.nextDelayMs(5000)).toBe(5000);
  expect(backoff.failures).toBe(1);
  backoff.reset();
  expect(backoff.failures).toBe(0);
  expect(backoff.nextDelayMs()).toBe(100);
});

test('stays bounded after any number of failures', () => {
  const backoff = new Backoff({ initialMs: 1, maxMs: 60_000 }, () => 1);
  for (let failure = 0; failure < 5000; failure += 1) backoff.nextDelayMs();
  expect(backoff.nextDelayMs()).toBe(60_000);
});
