/**
 * Whether the daemon has held a node to its budget of old hours: scattered batches, and what was
 * accepted of them while a daemon had not yet run for a minute. After that its budget may have
 * begun anew at any time, and says nothing about a short span.
 */
import type { Obligations, SentBatch } from './obligations.ts';
import { scatteredHours } from './samples.ts';

/** `limits.node_hours_per_minute`, whose default the runs use. */
const HOURS_PER_MINUTE = 96;
/** A minute, less the time for which an acknowledgement may be under way. */
const SPAN_MS = 55_000;

/**
 * One sentence for the node that was let into most hours; undefined where all is well. `starts` of
 * daemons are in Unix ms, oldest first.
 */
export function hoursFinding(
  obligations: Obligations,
  starts: readonly number[],
): string | undefined {
  const touched = new Map<string, Set<number>>();
  for (const batch of obligations.batches.values()) {
    const startedMs = startOf(batch, obligations, starts);
    if (startedMs === undefined) continue;
    const key = `node ${batch.node} since ${new Date(startedMs).toISOString()}`;
    const hours = touched.get(key) ?? new Set();
    touched.set(key, hours);
    for (const hour of scatteredHours(batch.round)) hours.add(hour);
  }
  const worst = [...touched].sort(([, a], [, b]) => b.size - a.size)[0];
  if (worst === undefined || worst[1].size <= HOURS_PER_MINUTE) return undefined;
  const most = `${HOURS_PER_MINUTE} are allowed`;
  return `${worst[0]} was let into ${worst[1].size} old hours in a minute, ${most}`;
}

/** The young daemon that has accepted a scattered batch; undefined where it is not known. */
function startOf(
  { form, sentMs, ackedMs, kept = 0 }: SentBatch,
  { mayRefuseTimes }: Obligations,
  starts: readonly number[],
): number | undefined {
  if (!form.scattered || ackedMs === undefined || kept === 0) return undefined;
  // By a clock that is wrong by days, other hours are old.
  if (mayRefuseTimes(sentMs, ackedMs)) return undefined;
  const startedMs = starts.findLast((atMs) => atMs <= ackedMs);
  // What was sent to an earlier one may have been accepted there.
  if (startedMs === undefined || sentMs < startedMs) return undefined;
  return ackedMs - startedMs < SPAN_MS ? startedMs : undefined;
}
