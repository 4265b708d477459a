import { describe, expect, it } from 'vitest';
import { editDistance, nearestName } from '../../src/config/nearest-name.ts';

describe('nearestName', () => {
  it('counts insertions, deletions, replacements and swaps as one mistake each', () => {
    expect(editDistance('abc', 'abc')).toBe(0);
    expect(editDistance('abc', 'ab')).toBe(1);
    expect(editDistance('abc', 'abcd')).toBe(1);
    expect(editDistance('abc', 'axc')).toBe(1);
    expect(editDistance('abc', 'acb')).toBe(1);
    expect(editDistance('', 'abc')).toBe(3);
    expect(editDistance('kitten', 'sitting')).toBe(3);
  });

  it('finds the nearest name and none that is far off', () => {
    const names = ['listen_addr', 'max_connections', 'max_handshakes'];
    expect(nearestName('listen_adrr', names)).toBe('listen_addr');
    expect(nearestName('MAX_CONECTIONS', names)).toBe('max_connections');
    expect(nearestName('colour', names)).toBe(undefined);
    expect(nearestName('x', [])).toBe(undefined);
  });

  it('does not guess at what is far too long', () => {
    expect(nearestName('listen_addr'.repeat(100_000), ['listen_addr'])).toBe(undefined);
  });
});
