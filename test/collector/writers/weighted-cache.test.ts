import { expect, test } from 'vitest';
import { WeightedCache } from '../../../src/collector/writers/weighted-cache.ts';

test('what was not asked for the longest goes first, and the weight stays within the bound', () => {
  const cache = new WeightedCache<number>(10);
  cache.add('a', 1, 4);
  cache.add('b', 2, 4);
  expect(cache.find('a')).toBe(1);
  cache.add('c', 3, 4);
  expect(cache.find('b')).toBeUndefined();
  expect([cache.find('a'), cache.find('c'), cache.weight, cache.size]).toEqual([1, 3, 8, 2]);
});

test('an entry over the bound is kept alone', () => {
  const cache = new WeightedCache<number>(10);
  cache.add('a', 1, 4);
  cache.add('big', 2, 50);
  expect([cache.find('a'), cache.find('big')]).toEqual([undefined, 2]);
  cache.add('big', 3, 1);
  expect([cache.find('big'), cache.weight]).toEqual([3, 1]);
});
