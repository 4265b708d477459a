/**
 * Open loop: things leave at their times, whatever becomes of those before.
 */
import { systemClock } from '../src/lib/clock.ts';
import { pause, turn } from './pause.ts';

/** Below this distance a due time is waited for by turning the event loop. */
const SPIN_MS = 2;

/** Calls `send` with the number of each and the time it was due, evenly for `seconds`. */
export async function onSchedule(
  perSecond: number,
  seconds: number,
  send: (index: number, dueMs: number) => void,
): Promise<void> {
  const stepMs = 1000 / perSecond;
  const count = Math.floor(seconds * perSecond);
  const beganMs = systemClock.monotonicMs();
  for (let index = 0; index < count; index += 1) {
    const dueMs = beganMs + index * stepMs;
    for (let leftMs = 1; leftMs > 0; ) {
      leftMs = dueMs - systemClock.monotonicMs();
      if (leftMs > SPIN_MS) await pause(leftMs - SPIN_MS);
      else if (leftMs > 0) await turn();
    }
    send(index, dueMs);
  }
}
