/**
 * The only door to time. Everything else takes a `Clock`, so that tests can turn it by hand.
 */

export interface Clock {
  /** Wall time: Unix ms, UTC. May jump. */
  nowMs(): number;
  /** Time since some start, in ms; never goes back. For durations and deadlines. */
  monotonicMs(): number;
  /**
   * Runs `callback` once after `delayMs`; the returned function cancels it. Does not keep the
   * process alive.
   */
  after(delayMs: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** For commands: they have nothing else to stay alive for while they wait. */
export const commandClock: Clock = {
  ...systemClock,
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

/**
 * Resolves after `delayMs`, or at once when `signal` aborts; an abort is a quiet exit, not an
 * error.
 */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const finish = () => {
      cancel();
      signal?.removeEventListener('abort', finish);
      resolve();
    };
    const cancel = clock.after(delayMs, finish);
    signal?.addEventListener('abort', finish, { once: true });
  });
}
