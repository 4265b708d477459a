import { describe, expect, it } from 'vitest';
import { seriesHash } from '../../src/admission/series-identity.ts';
import type { Series } from '../../src/telemetry.ts';

function series(name: string, ...labels: [string, string][]): Series {
  return { name, labels, kind: 'gauge', unit: '' };
}

describe('seriesHash', () => {
  it('is a safe whole number above 0, and the same in every release', () => {
    const hash = seriesHash('node-1', series('up', ['gpu', '0']));
    expect(hash).toBe(2_016_306_340_849_738);
    expect(Number.isSafeInteger(hash) && hash > 0).toBe(true);
  });

  it('tells series apart whose texts run together the same way', () => {
    const hashes = [
      seriesHash('n', series('m', ['a', 'bc'])),
      seriesHash('n', series('m', ['ab', 'c'])),
      seriesHash('nm', series('', ['a', 'bc'])),
      seriesHash('n', series('ma', ['b', 'c'])),
      seriesHash('n', series('m', ['a', 'b'], ['c', 'd'])),
      seriesHash('n', series('m', ['a', 'b\0c\0d'])),
      seriesHash('n', series('m', ['a', '1:b1:c1:d'])),
      seriesHash('n', series('m')),
    ];
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  it('depends on the node', () => {
    expect(seriesHash('a', series('up'))).not.toBe(seriesHash('b', series('up')));
  });

  it('does not depend on what only describes the series', () => {
    const described: Series = { ...series('up'), kind: 'counter', unit: 'W' };
    expect(seriesHash('n', described)).toBe(seriesHash('n', series('up')));
  });
});
