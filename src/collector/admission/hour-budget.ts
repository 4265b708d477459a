/**
 * How many old hours a node may touch in a minute. Every hour that samples fall into is a directory
 * and files of the warehouse, and those are everybody's: without a bound, one node could make it
 * open hundreds of files for a handful of samples each.
 *
 * The hour that runs and the one before cost nothing, so that a node that sends what it measures is
 * not even remembered. An hour that the node touched this minute costs nothing again. Draining a
 * spool of three days takes 72 hours and fits into a minute of the default.
 */
import type { Clock } from '../../lib/clock.ts';
import type { UsedShare } from './rate-limiter.ts';

const HOUR_MS = 3_600_000;
const WINDOW_MS = 60_000;
/** Past this the node whose minute began first is forgotten. */
const MAX_NODES = 100_000;
const FORGOTTEN_PER_CALL = 2;

const NO_HOURS: ReadonlySet<number> = new Set();

interface Minute {
  readonly startedMs: number;
  readonly hours: Set<number>;
}

/** The hours (Unix time in hours) before the last full one that times in Unix ms fall into. */
export function oldHoursOf(timestampsMs: Float64Array, nowMs: number): ReadonlySet<number> {
  const recentFromMs = (Math.floor(nowMs / HOUR_MS) - 1) * HOUR_MS;
  let hours: Set<number> | undefined;
  for (let index = 0; index < timestampsMs.length; index += 1) {
    const time = timestampsMs[index]!;
    if (time >= recentFromMs) continue;
    hours ??= new Set();
    hours.add(Math.floor(time / HOUR_MS));
  }
  return hours ?? NO_HOURS;
}

export class HourBudget {
  readonly #clock: Clock;
  #perMinute: number;
  /** By node, in the order in which their minutes began. */
  readonly #minutes = new Map<string, Minute>();

  /** `perMinute` 0 = no limit. */
  constructor(clock: Clock, perMinute: number) {
    this.#clock = clock;
    this.#perMinute = perMinute;
  }

  /** Nodes that touched old hours within the last minute. */
  get size(): number {
    return this.#minutes.size;
  }

  /** How much of the budget the nodes have used that are in their minute. */
  *usedShares(): Iterable<UsedShare> {
    for (const [nodeId, minute] of this.#minutes) {
      if (this.#isOver(minute)) continue;
      yield { nodeId, share: minute.hours.size / this.#perMinute };
    }
  }

  /** Takes effect at once. */
  reconfigure(perMinute: number): void {
    this.#perMinute = perMinute;
    if (perMinute === 0) this.#minutes.clear();
  }

  /**
   * 0 where the node may touch these hours now, else after how many ms its minute is over. Takes
   * nothing. A fresh minute takes a batch of any number of hours, or such a batch could never pass.
   */
  waitMs(nodeId: string, hours: ReadonlySet<number>): number {
    const minute = this.#minutes.get(nodeId);
    if (this.#perMinute === 0 || minute === undefined || this.#isOver(minute)) return 0;
    let touched = minute.hours.size;
    for (const hour of hours) if (!minute.hours.has(hour)) touched += 1;
    if (touched === minute.hours.size || touched <= this.#perMinute) return 0;
    return Math.max(1, Math.ceil(minute.startedMs + WINDOW_MS - this.#clock.monotonicMs()));
  }

  /** The node touches these hours: `waitMs` was asked before. */
  take(nodeId: string, hours: ReadonlySet<number>): void {
    if (this.#perMinute === 0 || hours.size === 0) return;
    this.#forgetMinutesThatAreOver();
    let minute = this.#minutes.get(nodeId);
    if (minute === undefined || this.#isOver(minute)) {
      this.#minutes.delete(nodeId);
      minute = { startedMs: this.#clock.monotonicMs(), hours: new Set() };
      this.#minutes.set(nodeId, minute);
      if (this.#minutes.size > MAX_NODES) this.#forgetFirst();
    }
    for (const hour of hours) minute.hours.add(hour);
  }

  #isOver({ startedMs }: Minute): boolean {
    return this.#clock.monotonicMs() - startedMs >= WINDOW_MS;
  }

  /** A few at every call, so that no call does much. */
  #forgetMinutesThatAreOver(): void {
    for (let count = 0; count < FORGOTTEN_PER_CALL; count += 1) {
      const [first] = this.#minutes.values();
      if (first === undefined || !this.#isOver(first)) return;
      this.#forgetFirst();
    }
  }

  #forgetFirst(): void {
    const [first] = this.#minutes.keys();
    if (first !== undefined) this.#minutes.delete(first);
  }
}
