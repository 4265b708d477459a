/**
 * Moves a recording's times to now. The distances between the rows of one pass stay as they were
 * (divided by the speed), passes never overlap, and no time is in the future.
 */

/**
 * A pass begins this long ago, so that a scrape whose queries took a few seconds (4 s in real
 * exports) comes out whole in one collection instead of in two.
 */
const LEAD_MS = 5000;
const MAX_LEAP_MS = 24 * 3600 * 1000;

export class ReplayClock {
  /** 0 means: no waiting, each row gets the time at which it is read. */
  readonly #speed: number;
  /**
   * The first time in the recording, and the time that it was given; undefined before the first
   * row.
   */
  #origin: { readonly recordedMs: number; readonly replayedMs: number } | undefined;
  /** The latest time given out; the next pass starts after it. */
  #latestMs = Number.NEGATIVE_INFINITY;

  constructor(speed: number) {
    this.#speed = speed;
  }

  /** Whether a row with a time past now has to wait. */
  get isPaced(): boolean {
    return this.#speed > 0;
  }

  /** The next row is the first one of a pass. */
  startPass(): void {
    this.#origin = undefined;
  }

  /** The time, Unix ms, for a row recorded at `recordedMs`. Asking twice for one row is fine. */
  stamp(recordedMs: number, nowMs: number): number {
    if (this.#speed === 0) return nowMs;
    this.#origin ??= { recordedMs, replayedMs: Math.max(nowMs - LEAD_MS, this.#latestMs + 1) };
    const { recordedMs: firstMs, replayedMs } = this.#origin;
    const stampMs = replayedMs + (recordedMs - firstMs) / this.#speed;
    if (!this.isLeap(stampMs, nowMs)) this.#latestMs = Math.max(this.#latestMs, stampMs);
    return stampMs;
  }

  /**
   * Whether so late a time is taken for a mistake: waiting for it would stop the replay for good.
   */
  isLeap(stampMs: number, nowMs: number): boolean {
    return stampMs > nowMs + MAX_LEAP_MS;
  }
}
