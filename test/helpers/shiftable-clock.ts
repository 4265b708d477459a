/**
 * The real clock, which a test can put forward: what looks at the time sees the jump, timers that
 * are already running do not.
 */
import { type Clock, systemClock } from '../../src/lib/clock.ts';

export class ShiftableClock implements Clock {
  #shiftMs = 0;
  #calendarShiftMs = 0;

  shift(byMs: number): void {
    this.#shiftMs += byMs;
  }

  /** As when somebody sets the date: no time has passed. */
  shiftCalendar(byMs: number): void {
    this.#calendarShiftMs += byMs;
  }

  nowMs(): number {
    return systemClock.nowMs() + this.#shiftMs + this.#calendarShiftMs;
  }

  monotonicMs(): number {
    return systemClock.monotonicMs() + this.#shiftMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    return systemClock.after(delayMs, callback);
  }
}
