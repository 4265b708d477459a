/**
 * Totals over all workers that a writer has had: each worker counts from 0, metrics must not go
 * back.
 */
import { countFor, type DeadLetterCounts } from './dead-letters.ts';
import type { WriteFaultReason } from './write-fault.ts';
import type { WorkerStatus } from './writer-messages.ts';

export interface TotalSums {
  readonly writes: number;
  readonly failures: Readonly<Partial<Record<WriteFaultReason, number>>>;
  readonly deadLetters: DeadLetterCounts;
  readonly damagedRecords: number;
  /** Names that end in `_total` are summed, others are the latest figure. */
  readonly stats: Readonly<Record<string, number>>;
}

const NOTHING: TotalSums = {
  writes: 0,
  failures: {},
  deadLetters: { kept: 0, skipped: {} },
  damagedRecords: 0,
  stats: {},
};

export class StatusTotals {
  #earlier = NOTHING;
  #current = NOTHING;
  #lastProgressMs = 0;

  /** Unix ms; 0 is never. */
  get lastProgressMs(): number {
    return this.#lastProgressMs;
  }

  /** The latest figures of the worker that runs. */
  take(status: WorkerStatus): void {
    this.#current = status;
    this.#lastProgressMs = Math.max(this.#lastProgressMs, status.lastProgressMs);
  }

  /** The next figures are another worker's. */
  workerEnded(): void {
    this.#earlier = this.sums();
    this.#current = NOTHING;
  }

  sums(): TotalSums {
    const [a, b] = [this.#earlier, this.#current];
    return {
      writes: a.writes + b.writes,
      failures: addAll(a.failures, b.failures, () => true),
      deadLetters: {
        kept: a.deadLetters.kept + b.deadLetters.kept,
        skipped: addNodes(a.deadLetters.skipped, b.deadLetters.skipped),
      },
      damagedRecords: a.damagedRecords + b.damagedRecords,
      stats: addAll(a.stats, b.stats, (name) => name.endsWith('_total')),
    };
  }
}

/** Each worker names nodes of its own; together they must not name more than one may. */
function addNodes(
  a: Readonly<Record<string, number>>,
  b: Readonly<Record<string, number>>,
): Record<string, number> {
  const sums = new Map(Object.entries(a));
  for (const [nodeId, letters] of Object.entries(b)) countFor(sums, nodeId, letters);
  return Object.fromEntries(sums);
}

function addAll(
  a: Readonly<Record<string, number>>,
  b: Readonly<Record<string, number>>,
  isSummed: (name: string) => boolean,
): Record<string, number> {
  const sums = { ...a };
  for (const [name, figure] of Object.entries(b)) {
    sums[name] = isSummed(name) ? (sums[name] ?? 0) + figure : figure;
  }
  return sums;
}
