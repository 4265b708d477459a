/**
 * What makes a series the same series: its node, its metric name, its labels, its unit. The unit is
 * part of it because it is text that is stored: a node could otherwise fill the warehouse and every
 * cache with units, all in one slot. The kind has three values; it may change.
 */
import { hash } from 'node:crypto';
import type { Labels, Series } from '../../domain/telemetry.ts';

/**
 * The identities of a node's series, in 53 bits each, from 1 up, so that they are numbers: among a
 * million series the odds that any two share one are one in twenty thousand, and then one of them
 * takes no slot of its own. Kept in the journal: they must not change from one release to the next.
 *
 * A digest of the labels goes into that of the series, because series of one table share their
 * label arrays: forty metrics of a GPU pay for its fifteen labels once.
 */
export function seriesHashes(nodeId: string, series: readonly Series[]): Float64Array {
  const digests = new Map<Labels, string>();
  const node = measured(nodeId);
  return Float64Array.from(series, ({ name, labels, unit }) => {
    let digest = digests.get(labels);
    if (digest === undefined) {
      digest = hash('sha256', labels.map((label) => label.map(measured).join('')).join(''), 'hex');
      digests.set(labels, digest);
    }
    // The digest is of one length, so what follows needs no mark of its own.
    const described = unit === '' ? digest : digest + measured(unit);
    const bytes = hash('sha256', node + measured(name) + described, 'buffer');
    // Never 0, which means "none" where hashes are kept.
    return bytes.readUIntBE(0, 6) * 32 + (bytes[6]! >>> 3) || 1;
  });
}

/**
 * Lengths separate the texts, since any character may occur inside them: without, {a="bc"} and
 * {ab="c"} would be the same.
 */
function measured(text: string): string {
  return `${text.length}:${text}`;
}
