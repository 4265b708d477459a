/**
 * What went wrong while a run was going on, with its time.
 */
import type { Clock } from '../../src/lib/clock.ts';

export interface Complaint {
  /** Unix ms. */
  readonly atMs: number;
  readonly text: string;
}

export class Complaints {
  readonly all: Complaint[] = [];
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  push(text: string): void {
    this.all.push({ atMs: this.#clock.nowMs(), text });
  }
}
