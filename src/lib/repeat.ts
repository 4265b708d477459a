/**
 * Work that recurs: the next round is planned when the last one has ended, so rounds never overlap.
 */
import type { Clock } from './clock.ts';

/** Runs `work` every `intervalMs` until the returned function is called; `work` must not throw. */
export function repeat(
  clock: Clock,
  intervalMs: number,
  work: () => void | Promise<void>,
): () => void {
  let stopped = false;
  let cancel = () => {};
  const plan = () => {
    cancel = clock.after(intervalMs, () => {
      void Promise.resolve(work()).then(() => {
        if (!stopped) plan();
      });
    });
  };
  plan();
  return () => {
    stopped = true;
    cancel();
  };
}
