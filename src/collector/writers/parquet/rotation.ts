/**
 * When files are finished for the sake of time.
 *
 * Files are finished a little after the multiples of the interval (UTC), so that with the default
 * of an hour the hour that has just ended appears once, complete, at one minute past: batches that
 * were under way at the full hour are still in it.
 */

/** The longest wait after a multiple of the interval. */
const GRACE_MAX_MS = 60_000;

/** How long after each multiple of the interval files are finished: 5 % of it, at most a minute. */
export function rotationGraceMs(intervalSecs: number): number {
  return Math.min(GRACE_MAX_MS, intervalSecs * 50);
}

/** When rows of which the first came at `firstMs` are finished; Unix ms, later than `firstMs`. */
export function rotationDueMs(firstMs: number, intervalSecs: number): number {
  const intervalMs = intervalSecs * 1000;
  const graceMs = rotationGraceMs(intervalSecs);
  const period = Math.floor((firstMs - graceMs) / intervalMs) + 1;
  return period * intervalMs + graceMs;
}
