import { describe, expect, it } from 'vitest';
import { seriesHashes } from '../../../src/collector/admission/series-identity.ts';
import type { Series } from '../../../src/domain/telemetry.ts';

function series(name: string, ...labels: [string, string][]): Series {
  return { name, labels, kind: 'gauge', unit: '' };
}

function seriesHash(nodeId: string, one: Series): number {
  return seriesHashes(nodeId, [one])[0]!;
}

describe('seriesHashes', () => {
  it('is a safe whole number above 0, and the same in every release', () => {
    const hash = seriesHash('node-1', series('up', ['gpu', '0']));
    expect(hash).toBe(206_446_351_431_249);
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

  it('knows labels by what they are, not by where they stand', () => {
    const shared: [string, string] = ['gpu', '0'];
    const one = series('up', shared);
    const alike = [
      one,
      { ...one, name: 'down' },
      series('up', ['gpu', '0']),
      series('up', ['gpu', '1']),
    ];
    const [up, down, upAgain, other] = seriesHashes('n', alike);
    expect(upAgain).toBe(up);
    expect(new Set([up, down, other]).size).toBe(3);
  });

  it('depends on the node', () => {
    expect(seriesHash('a', series('up'))).not.toBe(seriesHash('b', series('up')));
  });

  it('depends on the unit, which is text that is stored, and not on the kind', () => {
    const watts: Series = { ...series('up'), unit: 'W' };
    const units = ['', 'W', 'mW'].map((unit) => seriesHash('n', { ...watts, unit }));
    expect(new Set(units).size).toBe(3);
    expect(seriesHash('n', { ...watts, kind: 'counter' })).toBe(seriesHash('n', watts));
  });
});
