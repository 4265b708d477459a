/**
 * A seal that failed. Its rows are dropped and read again; it is due once they are all back, not
 * with a part of them, and not at once: reading them again costs time, and a disk that is full now
 * will be full in a second.
 */
import type { Clock } from '../../../lib/clock.ts';

const FIRST_WAIT_MS = 1000;
const WAIT_MAX_MS = 60_000;

export class SealDebt {
  readonly #clock: Clock;
  #failures = 0;
  #seq = 0;
  #notBeforeMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isOwed(): boolean {
    return this.#failures > 0;
  }

  /** A seal of the records up to `seq` failed. */
  owe(seq: number): void {
    const waitMs = Math.min(WAIT_MAX_MS, FIRST_WAIT_MS * 2 ** this.#failures);
    this.#failures += 1;
    this.#seq = Math.max(this.#seq, seq);
    this.#notBeforeMs = this.#clock.monotonicMs() + waitMs;
  }

  /** Whether to try again, with the records up to `takenSeq` back. */
  isDue(takenSeq: number): boolean {
    return takenSeq >= this.#seq && this.#clock.monotonicMs() >= this.#notBeforeMs;
  }

  /** The records up to `seq` are safe. */
  settle(seq: number): void {
    if (seq < this.#seq) return;
    this.#failures = 0;
    this.#seq = 0;
  }
}
