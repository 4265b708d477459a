/**
 * The seam between agents and the journal: what it takes to make a batch durable, once. The log is
 * separate from the producers' windows (`ProducerState`) and from the books (ledger.ts), because a
 * replicated journal keeps them in different places. This side never sees a position: only the
 * journal knows where a batch is. Readers have a seam of their own: log-reader.ts, cursors.ts.
 */
import type { OperatingError } from '../lib/errors.ts';
import type { SampleColumns, SeriesTable } from '../domain/telemetry.ts';
import type { BatchOutcome, Ledger } from './ledger.ts';

/** What is known of a sequence: never seen, on its way to the disk, on disk, or too old to tell. */
export type ProducerState = 'new' | 'pending' | 'durable' | 'out_of_window';

/** A batch on its way into the journal. */
export interface JournalEntry {
  readonly nodeId: string;
  readonly epoch: number;
  /** 0 = no deduplication. */
  readonly sequence: number;
  /** Unix ms, UTC. */
  readonly receivedAtMs: number;
  readonly table: SeriesTable;
  readonly samples: SampleColumns;
  /** What came and what of it was refused: booked in the transaction of the record. */
  readonly outcome: Pick<BatchOutcome, 'received' | 'rejections'>;
}

/** Where batches become durable. */
export interface AppendLog {
  readonly ledger: Ledger;
  /**
   * Makes a batch durable; its sequence must be new. Rejects with OperatingError JOURNAL_FULL or
   * JOURNAL_UNAVAILABLE; then nothing of the batch is kept and its sequence is new again.
   */
  append(entry: JournalEntry): Promise<unknown>;
  /** Resolves once everything appended so far is durable; rejects if some of it failed. */
  durable(): Promise<void>;
  /** Resolves once everything booked so far is durable; rejects where that does not work. */
  booked(): Promise<void>;
}

/** Whether batches can become durable at the moment. */
export interface LogHealth {
  /** Why the last write failed; undefined while writes succeed. */
  readonly failure: OperatingError | undefined;
  /** Why agents have to wait for room on the disk; undefined while they need not. */
  shortage(): string | undefined;
}
