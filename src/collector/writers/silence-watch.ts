/**
 * Notices a worker that neither speaks nor ends. A worker speaks every second, but long work
 * without a pause (a large row group on a busy machine) looks the same as a hang from outside: so
 * each restart for silence doubles the patience with the next worker, until one makes progress.
 */
import type { Clock } from '../../lib/clock.ts';

/** How long a worker may be silent before it is taken to hang. */
const PATIENCE_MS = 60_000;
const PATIENCE_DOUBLINGS_MAX = 4;

export class SilenceWatch {
  readonly #clock: Clock;
  #lastHeardMs = 0;
  #hangs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The worker started just now, or said something. */
  heard(): void {
    this.#lastHeardMs = this.#clock.monotonicMs();
  }

  /** The worker achieves something: the next one is given the usual time again. */
  progressed(): void {
    this.#hangs = 0;
  }

  /** How long nothing was heard. */
  get silentMs(): number {
    return this.#clock.monotonicMs() - this.#lastHeardMs;
  }

  /** True where it is time to end the worker; once, until the patience is over again. */
  takeHang(): boolean {
    const patienceMs = PATIENCE_MS * 2 ** Math.min(this.#hangs, PATIENCE_DOUBLINGS_MAX);
    if (this.silentMs < patienceMs) return false;
    this.#hangs += 1;
    return true;
  }
}
