/**
 * What a collection passed over, counted. Bounded: whatever a source meets, its report stays small.
 */
import type { SkippedReading } from '../../client/reading.ts';

const MAX_ENTRIES = 100;

export class SkipTally {
  readonly #entries = new Map<string, { what: string; why: string; count: number }>();

  /** Counts `count` things named `what` that were skipped because of `why`. */
  add(what: string, why: string, count = 1): void {
    const known = this.#entries.get(`${why}\0${what}`);
    if (known !== undefined) known.count += count;
    else if (this.#entries.size < MAX_ENTRIES) this.#insert(what, why, count);
    // Reasons are few, so the entries past the bound are few as well: one for each reason.
    else if (what === OTHERS) this.#insert(what, why, count);
    else this.add(OTHERS, why, count);
  }

  /** Everything counted so far, in the order in which it was first met. */
  list(): readonly SkippedReading[] {
    return [...this.#entries.values()].map((entry) => ({ ...entry }));
  }

  #insert(what: string, why: string, count: number): void {
    this.#entries.set(`${why}\0${what}`, { what: what.slice(0, 200), why, count });
  }
}

const OTHERS = 'others';
