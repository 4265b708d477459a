import { describe, expect, it } from 'vitest';
import { RateLimiter } from '../../../src/collector/admission/rate-limiter.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';

/** As admission does it: asks, and takes where nothing speaks against it. */
function charge(rates: RateLimiter, nodeId: string, amount: number): number {
  const waitMs = rates.waitMs(nodeId, amount);
  if (waitMs === 0) rates.take(nodeId, amount);
  return waitMs;
}

describe('RateLimiter', () => {
  it('lets ten seconds of samples through at once, then asks for a wait as long as the deficit', () => {
    const clock = new FakeClock(0);
    const rates = new RateLimiter(clock, 100, 10);
    expect(charge(rates, 'a', 600)).toBe(0);
    expect(charge(rates, 'a', 400)).toBe(0);
    expect(charge(rates, 'a', 50)).toBe(500);
    clock.advance(499);
    expect(charge(rates, 'a', 50)).toBe(1);
    clock.advance(1);
    expect(charge(rates, 'a', 50)).toBe(0);
  });

  it('holds each node to its own rate', () => {
    const rates = new RateLimiter(new FakeClock(0), 1, 10);
    expect(charge(rates, 'a', 10)).toBe(0);
    expect(charge(rates, 'a', 1)).toBe(1000);
    expect(charge(rates, 'b', 10)).toBe(0);
  });

  it('lets a batch larger than a whole bucket through, and has the node pay for it after', () => {
    const clock = new FakeClock(0);
    const rates = new RateLimiter(clock, 1, 10);
    expect(charge(rates, 'a', 30)).toBe(0);
    expect(charge(rates, 'a', 30)).toBe(30_000);
    clock.advance(30_000);
    expect(charge(rates, 'a', 30)).toBe(0);
  });

  it('never asks for more than a minute, since the rate may be raised', () => {
    const rates = new RateLimiter(new FakeClock(0), 1, 10);
    rates.take('a', 1000);
    expect(charge(rates, 'a', 1)).toBe(60_000);
  });

  it('is off at 0 and remembers nobody then', () => {
    const rates = new RateLimiter(new FakeClock(0), 0, 10);
    expect(charge(rates, 'a', 1e9)).toBe(0);
    expect(rates.size).toBe(0);
  });

  it('forgets nodes whose buckets are full again', () => {
    const clock = new FakeClock(0);
    const rates = new RateLimiter(clock, 10, 10);
    for (let node = 0; node < 50; node += 1) rates.take(`node-${node}`, 10);
    expect(rates.size).toBe(50);
    clock.advance(1000);
    for (let call = 0; call < 50; call += 1) rates.take('busy', 1);
    expect(rates.size).toBe(1);
  });

  it('takes a new rate at once', () => {
    const rates = new RateLimiter(new FakeClock(0), 1, 10);
    rates.take('a', 10);
    rates.reconfigure(0);
    expect(charge(rates, 'a', 1000)).toBe(0);
  });

  it('says how much of its bucket each node has used', () => {
    const clock = new FakeClock(0);
    const rates = new RateLimiter(clock, 10, 10);
    const shares = () => [...rates.usedShares()].map(({ nodeId, share }) => [nodeId, share]);
    expect(shares()).toEqual([]);
    rates.take('a', 30);
    rates.take('b', 75);
    expect(shares()).toEqual([
      ['a', expect.closeTo(0.3)],
      ['b', 0.75],
    ]);
    clock.advance(2500);
    expect(shares()).toEqual([
      ['a', expect.closeTo(0.05)],
      ['b', 0.5],
    ]);
  });
});
