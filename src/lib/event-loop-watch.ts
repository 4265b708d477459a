/**
 * Whether the event loop turns. A timer that comes late shows how long nothing else came either: a
 * long computation, a blocking call, a stopped process, a machine without CPU time to give.
 */
import type { Clock } from './clock.ts';

const TICK_MS = 250;
/** A delay from here on counts as a stall. */
const STALL_MS = 1000;

export interface Stall {
  readonly durationMs: number;
  /** Since it ended; 0 for one that goes on. */
  readonly agoMs: number;
}

export class EventLoopWatch {
  readonly #clock: Clock;
  readonly #onTurn: () => void;
  #cancel: () => void = () => {};
  /** When the timer is due; undefined while not watching. */
  #dueMs: number | undefined;
  #stalls = 0;
  #stalledMs = 0;
  #last: { durationMs: number; endedMs: number } | undefined;

  /** `onTurn` is called at each turn of the timer, four times a second. */
  constructor(clock: Clock, onTurn: () => void = () => {}) {
    this.#clock = clock;
    this.#onTurn = onTurn;
  }

  /** Stalls since the start, those over a second. */
  get stalls(): number {
    return this.#stalls;
  }

  /** Time lost in them. */
  get stalledMs(): number {
    return this.#stalledMs;
  }

  /**
   * The newest stall. Asked right after one, before the timer's turn came, it tells that one, too;
   * undefined before the first.
   */
  get lastStall(): Stall | undefined {
    const nowMs = this.#clock.monotonicMs();
    const lateMs = nowMs - (this.#dueMs ?? nowMs);
    if (lateMs >= STALL_MS) return { durationMs: lateMs, agoMs: 0 };
    if (this.#last === undefined) return undefined;
    const { durationMs, endedMs } = this.#last;
    return { durationMs, agoMs: nowMs - endedMs };
  }

  start(): void {
    this.#dueMs = this.#clock.monotonicMs() + TICK_MS;
    this.#cancel = this.#clock.after(TICK_MS, () => {
      this.#tick();
      this.start();
    });
  }

  close(): void {
    this.#cancel();
    this.#dueMs = undefined;
  }

  #tick(): void {
    this.#onTurn();
    const nowMs = this.#clock.monotonicMs();
    const durationMs = nowMs - (this.#dueMs ?? nowMs);
    if (durationMs < STALL_MS) return;
    this.#stalls += 1;
    this.#stalledMs += durationMs;
    this.#last = { durationMs, endedMs: nowMs };
  }
}
