/**
 * Waiting for work with a way out.
 */
import type { Clock } from '../lib/clock.ts';

/**
 * Resolves when `work` has settled, when `deadlineMs` is over (Infinity: never) or when `signal`
 * aborts, whichever comes first; leaves no timer or listener behind. Never rejects.
 */
export function settledWithin(
  clock: Clock,
  work: Promise<unknown>,
  deadlineMs: number,
  signal?: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const finish = () => {
      cancel();
      signal?.removeEventListener('abort', finish);
      resolve();
    };
    const cancel = Number.isFinite(deadlineMs) ? clock.after(deadlineMs, finish) : () => {};
    signal?.addEventListener('abort', finish, { once: true });
    work.then(finish, finish);
  });
}
