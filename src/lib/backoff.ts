/**
 * Waiting times between tries: exponential growth with full jitter, so that many clients that
 * failed together do not come back together.
 */

export interface BackoffOptions {
  readonly initialMs: number;
  readonly maxMs: number;
}

export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: () => number;
  #failures = 0;

  constructor(options: BackoffOptions, random: () => number = Math.random) {
    this.#options = options;
    this.#random = random;
  }

  /** Consecutive failures so far. */
  get failures(): number {
    return this.#failures;
  }

  /** The next delay in ms: between half and all of the doubled bound, and at least `floorMs`. */
  nextDelayMs(floorMs = 0): number {
    const { initialMs, maxMs } = this.#options;
    const bound = Math.min(maxMs, initialMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return Math.max(floorMs, bound * (0.5 + this.#random() / 2));
  }

  reset(): void {
    this.#failures = 0;
  }
}
