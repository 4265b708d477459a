/**
 * Keeps a flood of equal failures from becoming a flood of log lines: one line per reason and
 * interval, which then says how many there were.
 */
import type { Clock } from '../../lib/clock.ts';

const INTERVAL_MS = 10_000;

export class FailureLog {
  readonly #clock: Clock;
  /** By reason; reasons are words from a bounded list. */
  readonly #byReason = new Map<string, { quietUntilMs: number; suppressed: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Undefined where this failure is not to be logged; else how many were left out before it. */
  admit(reason: string): { readonly suppressed: number } | undefined {
    const nowMs = this.#clock.monotonicMs();
    const entry = this.#byReason.get(reason);
    if (entry !== undefined && nowMs < entry.quietUntilMs) {
      entry.suppressed += 1;
      return undefined;
    }
    this.#byReason.set(reason, { quietUntilMs: nowMs + INTERVAL_MS, suppressed: 0 });
    return { suppressed: entry?.suppressed ?? 0 };
  }
}
