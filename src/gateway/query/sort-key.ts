/**
 * The order of rows. A key is the whole tuple that rows are sorted by, ties included, so that a
 * page can begin exactly behind the last row of the page before.
 */

/** What rows are compared by, the most significant first. */
export type SortKey = readonly (string | number | null)[];

/** Negative where `a` comes before `b`; null comes last, in either direction. */
export function compareKeys(a: SortKey, b: SortKey, isDescending = false): number {
  for (let i = 0; i < Math.max(a.length, b.length); i += 1) {
    const left = a[i] ?? null;
    const right = b[i] ?? null;
    if (left === right) continue;
    if (left === null) return 1;
    if (right === null) return -1;
    const order = left < right ? -1 : 1;
    // Only the value that was asked for turns round; what breaks ties stays as it is.
    return isDescending && i === 0 ? -order : order;
  }
  return 0;
}
