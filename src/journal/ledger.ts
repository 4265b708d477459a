/**
 * The books, in samples. Two equations hold at rest and across crashes, and can fail: each side is
 * counted by another part.
 *
 *     received = accepted + duplicate + rejected + throttled
 *     accepted + requeued = skipped + written + dead-lettered + pending       for each writer
 *
 * `received` is counted at the door, as the frame says; it is booked when the batch is answered, in
 * one step with what became of it. What was received and is not answered yet is under way, and is
 * lost with the process, as the batch is. `accepted` and `pending` are what the log holds.
 * `written` and `deadLettered` are what the writers report. `skipped` was accepted and gone before
 * the writer was first enabled. `requeued` was written, lost by the destination (an older copy of
 * it was restored), and handed to the writer again.
 *
 * The journal stores the books in its transactions: those of an accepted batch together with its
 * record, those of a writer together with its cursor. What is shown to the outside (`stored`) is
 * what the last transaction made durable, so that no figure ever goes back over a restart.
 */
import type { RejectReason, ThrottleReason } from '../domain/telemetry.ts';

/** The books of one writer. */
export interface WriterLedger {
  readonly written: number;
  readonly deadLettered: number;
  readonly skipped: number;
  readonly requeued: number;
}

/** What became of one batch, besides the samples that the log holds of it. */
export interface BatchOutcome {
  /** Samples of the batch, as counted at the door. */
  readonly received: number;
  readonly duplicate?: number;
  readonly rejections?: readonly { readonly reason: RejectReason; readonly count: number }[];
  readonly throttled?: { readonly reason: ThrottleReason; readonly count: number };
}

/**
 * What the journal keeps of the ledger in each transaction; `accepted` is kept by the log itself.
 */
export interface LedgerSnapshot {
  readonly received: number;
  readonly duplicate: number;
  readonly rejected: Readonly<Record<string, number>>;
  readonly throttled: Readonly<Record<string, number>>;
}

/** The books of a journal that has seen nothing. */
export const EMPTY_BOOKS: LedgerSnapshot = {
  received: 0,
  duplicate: 0,
  rejected: {},
  throttled: {},
};

export class Ledger {
  readonly #acceptedSamples: () => number;
  readonly #writers = new Map<string, WriterLedger>();
  #books = EMPTY_BOOKS;
  #stored = EMPTY_BOOKS;
  #underWay = 0;
  #onChange = () => {};

  /** Accepted samples are those of the log's head; they are asked for, not kept twice. */
  constructor(acceptedSamples: () => number) {
    this.#acceptedSamples = acceptedSamples;
  }

  /** For the journal only: tells of changes that no other transaction would store. */
  onChange(listener: () => void): void {
    this.#onChange = listener;
  }

  /** What has been booked, stored or not. */
  get books(): LedgerSnapshot {
    return this.#books;
  }

  /** The books as of the last transaction, like `accepted` and `writers`. */
  get stored(): LedgerSnapshot {
    return this.#stored;
  }

  get accepted(): number {
    return this.#acceptedSamples();
  }

  get writers(): ReadonlyMap<string, WriterLedger> {
    return this.#writers;
  }

  /** Samples that came in and are not answered yet. */
  get underWay(): number {
    return this.#underWay;
  }

  /** A batch is at the door. The caller calls `leave` once it is answered. */
  arrive(samples: number): void {
    this.#underWay += samples;
  }

  /** The batch is answered. */
  leave(samples: number): void {
    this.#underWay -= samples;
  }

  /** Books a batch of which the log holds nothing. */
  book(outcome: BatchOutcome): void {
    if (outcome.received === 0) return;
    this.#books = withOutcome(this.#books, outcome);
    this.#onChange();
  }

  /** For the journal only: the books with batches that are about to become durable. */
  with(outcomes: readonly BatchOutcome[]): LedgerSnapshot {
    return outcomes.reduce(withOutcome, this.#books);
  }

  /** For the journal only: those batches are durable. */
  bookDurable(outcomes: readonly BatchOutcome[]): void {
    this.#books = this.with(outcomes);
  }

  /** For the journal only: a transaction has made `books` durable. */
  keep(books: LedgerSnapshot): void {
    this.#stored = books;
  }

  /** For the journal only: what a cursor's transaction has made durable. */
  setWriter(name: string, figures: WriterLedger): void {
    this.#writers.set(name, figures);
  }

  /**
   * For the journal only: continues from what is stored. Books of a version that did not count at
   * the door are taken as even.
   */
  restore(stored: Omit<LedgerSnapshot, 'received'> & { readonly received?: number }): void {
    const even = this.accepted + stored.duplicate + sum(stored.rejected) + sum(stored.throttled);
    this.#books = { ...stored, received: stored.received ?? even };
    this.#stored = this.#books;
  }

  /** Samples received less what became of them, as stored; 0 unless samples are missing. */
  receivedImbalance(): number {
    const { received, duplicate, rejected, throttled } = this.#stored;
    return received - (this.accepted + duplicate + sum(rejected) + sum(throttled));
  }

  /** Samples handed to a writer less what became of them; 0 unless samples are missing. */
  writerImbalance(writer: string, pending: number): number {
    const figures = this.#writers.get(writer);
    if (figures === undefined) return 0;
    const { written, deadLettered, skipped, requeued } = figures;
    return this.accepted + requeued - (skipped + written + deadLettered + pending);
  }
}

function withOutcome(books: LedgerSnapshot, outcome: BatchOutcome): LedgerSnapshot {
  const { received, duplicate = 0, rejections = [], throttled } = outcome;
  return {
    received: books.received + received,
    duplicate: books.duplicate + duplicate,
    rejected: rejections.length === 0 ? books.rejected : add(books.rejected, rejections),
    throttled: throttled === undefined ? books.throttled : add(books.throttled, [throttled]),
  };
}

function add(
  counts: Readonly<Record<string, number>>,
  more: readonly { readonly reason: string; readonly count: number }[],
): Record<string, number> {
  const sums = { ...counts };
  for (const { reason, count } of more) sums[reason] = (sums[reason] ?? 0) + count;
  return sums;
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
