/**
 * How often the module panicked of late. Once may be bad luck; three times within a minute look
 * like somebody who has found out how, and then strangers must prove their address first.
 */
import type { Clock } from '../../lib/clock.ts';

const WINDOW_MS = 60_000;
const OFTEN = 3;

export class PanicCount {
  readonly #clock: Clock;
  #timesMs: number[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(): void {
    this.#timesMs = [...this.#recent(), this.#clock.monotonicMs()];
  }

  /** Whether it happened three times within the last minute. */
  get isOften(): boolean {
    return this.#recent().length >= OFTEN;
  }

  #recent(): number[] {
    const sinceMs = this.#clock.monotonicMs() - WINDOW_MS;
    return this.#timesMs.filter((timeMs) => timeMs > sinceMs);
  }
}
