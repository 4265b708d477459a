/**
 * The seam between the journal and those who read it: records in the order in which they became
 * durable, from any place that is still kept. A reader is safe to use beside the process that
 * appends, and it never changes anything.
 */
import type { SampleColumns } from '../domain/telemetry.ts';

/** A batch as read back. The columns belong to the caller. */
export interface JournalRecord {
  /** Place in the journal: rising, not necessarily without holes. */
  readonly seq: number;
  readonly nodeId: string;
  readonly epoch: number;
  readonly sequence: number;
  /** Unix ms, UTC. */
  readonly receivedAtMs: number;
  /** For `LogReader.table`. */
  readonly tableId: string;
  readonly samples: SampleColumns;
  /** Samples of this journal since it began, up to and including this record. */
  readonly cumulativeSamples: number;
  /** Size of the record in the journal. */
  readonly bytes: number;
}

/** A record that is not what was written, and how that shows. */
export interface DamagedRecord {
  readonly seq: number;
  readonly why: string;
}

/** What one call of `read` found. */
export interface JournalSlice {
  /** In seq order. */
  readonly records: readonly JournalRecord[];
  /** Records that are damaged, in seq order; nothing of them can be trusted. */
  readonly damaged: readonly DamagedRecord[];
  /** The last seq looked at, damaged ones included; the place to read on from. */
  readonly lastSeq: number;
}

/** A journal, as a writer reads it. */
export interface LogReader {
  /**
   * The records after `afterSeq`: up to `maxRecords`, and no further once they hold `maxBytes`; at
   * least one where there is one. Empty at the head.
   */
  read(afterSeq: number, maxRecords: number, maxBytes: number): JournalSlice;
  /**
   * Samples of the journal up to and including the record `seq`; undefined where that record is
   * damaged, or removed and not the last one that was.
   */
  samplesUpTo(seq: number): number | undefined;
  /** A copy of an encoded series table; undefined where it is not stored. */
  table(id: string): Uint8Array | undefined;
  /** The newest record that has been removed, and the samples up to it; 0 before the first. */
  tail(): { readonly seq: number; readonly cumulativeSamples: number };
  /** The newest durable record; 0 before the first. */
  headSeq(): number;
  /** How often the journal has been opened for writing: rises when another process takes over. */
  lease(): number;
  /** Idempotent. */
  close(): Promise<void>;
}
