import { describe, expect, it } from 'vitest';
import {
  DistinctValues,
  HeavyHitters,
  TopOffenders,
} from '../../../src/collector/admission/top-offenders.ts';

describe('HeavyHitters', () => {
  it('finds the frequent names among any number of rare ones', () => {
    const names = new HeavyHitters();
    for (let round = 0; round < 20_000; round += 1) {
      names.add(`rare-${round}`);
      if (round % 10 === 0) names.add('often');
      if (round % 20 === 0) names.add('less often');
    }
    const [first, second] = names.top(2);
    expect([first?.name, second?.name]).toEqual(['often', 'less often']);
    expect(first?.count).toBeGreaterThanOrEqual(2000);
    expect(first?.count).toBeLessThan(2000 + 23_000 / 256);
    expect(names.top(10_000)).toHaveLength(256);
  });
});

describe('DistinctValues', () => {
  it.each([1, 10, 100, 1000, 10_000, 100_000])('estimates %d values to within a fifth', (count) => {
    const values = new DistinctValues();
    for (let round = 0; round < 2; round += 1) {
      for (let value = 0; value < count; value += 1) values.add(`pod-${value}`);
    }
    expect(Math.abs(values.estimate() - count)).toBeLessThanOrEqual(count * 0.2);
  });
});

describe('TopOffenders', () => {
  it('names the label whose values make the series', () => {
    const offenders = new TopOffenders();
    for (let pod = 0; pod < 500; pod += 1) {
      const labels = [
        ['gpu', String(pod % 8)],
        ['pod', `train-${pod}`],
      ] as const;
      offenders.add('node-1', { name: 'power', labels, kind: 'gauge', unit: 'W' });
    }
    expect(offenders.labels(1)[0]?.name).toBe('pod');
    expect(offenders.metrics(5)).toEqual([{ name: 'power', count: 500 }]);
    expect(offenders.nodes(5)).toEqual([{ name: 'node-1', count: 500 }]);
  });
});
