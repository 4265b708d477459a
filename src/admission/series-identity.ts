/**
 * What makes a series the same series: its node, its metric name, its labels. Kind and unit
 * describe it and may be corrected without making it another.
 */
import { hash } from 'node:crypto';
import type { Series } from '../telemetry.ts';

/**
 * The identity of a node's series in 53 bits, from 1 up, so that it is a number: among a million
 * series the odds that any two share one are one in twenty thousand, and then one of them takes no
 * slot of its own. Kept in the journal: it must not change from one release to the next.
 */
export function seriesHash(nodeId: string, series: Series): number {
  // Lengths separate the texts, since any character may occur inside them: without, {a="bc"} and
  // {ab="c"} would be the same.
  let text = `${nodeId.length}:${nodeId}${series.name.length}:${series.name}`;
  for (const [key, value] of series.labels) {
    text += `${key.length}:${key}${value.length}:${value}`;
  }
  const digest = hash('sha256', text, 'buffer');
  // Never 0, which means "none" where hashes are kept.
  return digest.readUIntBE(0, 6) * 32 + (digest[6]! >>> 3) || 1;
}
