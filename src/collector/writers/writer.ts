/**
 * The seam between the journal and the outside world. A writer lives in its own worker thread, is
 * handed journal records in order and says how far everything is safely at its destination. The
 * loop around it (writer-loop.ts) owns reading, waiting, retrying and reporting.
 *
 * A writer may be asked for the same records again, after a failure or a restart: it must then
 * arrive at the same result (InfluxDB: the same points; Parquet: the same files).
 */
import type { InfluxConfig, ParquetConfig } from '../../config/schema.ts';
import type { Clock } from '../../lib/clock.ts';
import type { FileSystem } from '../../lib/filesystem.ts';
import type { SeriesTable } from '../../domain/telemetry.ts';
import type { CursorProgress } from '../../journal/cursors.ts';
import type { JournalRecord } from '../../journal/log-reader.ts';

/** The writers there are: metrics label, cursor name and ledger name. */
export const WRITER_NAMES = ['influxdb', 'parquet'] as const;
export type WriterName = (typeof WRITER_NAMES)[number];

/** One journalled batch as a writer sees it. The columns are the writer's until `write` settles. */
export type WriterRecord = Omit<JournalRecord, 'cumulativeSamples'>;

/** A file that readers of the warehouse can see since this progress. */
export interface PublishedFile {
  readonly path: string;
  /** Start of the UTC hour of its rows, Unix ms. */
  readonly hourMs: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly bytes: number;
}

/** How far a writer has come, as the journal books it, and what others can see of it now. */
export interface WriterProgress extends CursorProgress {
  /** The warehouse's files between the cursor of before and this one; absent for other writers. */
  readonly files?: readonly PublishedFile[];
}

export interface Writer {
  /**
   * Takes `records`, in seq order and following those of earlier calls. Resolves with the progress
   * made, undefined while nothing new is safe yet (a writer may hold records back). Throws where
   * the destination refuses or fails; the loop then waits and calls again, with the same records
   * unless `readFrom` says that the writer has kept them, or lost records of earlier calls.
   */
  write(records: readonly WriterRecord[]): Promise<WriterProgress | undefined>;
  /**
   * The least seq the writer wants next; asked before every read of the journal. It goes back after
   * a failure that cost the writer records it held. Absent: the writer holds no records between
   * calls.
   */
  readFrom?(): number;
  /**
   * What waits inside the writer: with `some`, the loop calls `write` again even where there are no
   * new records; with `full`, it reads none. Absent: a call of `write` leaves nothing to do.
   */
  backlog?(): 'none' | 'some' | 'full';
  /**
   * Asks the destination whether it would take anything, after several failures in a row. Throws
   * where it would not. Absent: the next record is tried instead.
   */
  probe?(): Promise<void>;
  /**
   * Whether a failure cost the writer something that it has not made up for: until then it counts
   * as failing, however well it takes records. Absent: never.
   */
  owes?(): boolean;
  /** Called about once a second, never during another call, for work that depends on time. */
  tick(): Promise<WriterProgress | undefined>;
  /** Makes everything taken so far safe, for a stop. */
  flush(): Promise<WriterProgress | undefined>;
  /** Frees what the writer holds; what is not safe yet is given up and comes again. Idempotent. */
  close(): Promise<void>;
  /**
   * Figures for metrics, by the names of `WRITER_STATS` where they fit. Names that end in `_total`
   * rise for as long as the writer lives; a new worker starts them at 0 again.
   */
  stats(): Record<string, number>;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Posts log lines to the main thread, which owns the logger. Fields never hold secrets. */
export type WriterLog = (
  level: LogLevel,
  message: string,
  fields?: Readonly<Record<string, string | number | boolean>>,
) => void;

/** What cannot be written, ever: kept for a person, one JSON line each. */
export interface DeadLetter {
  /** Why, in the destination's words. */
  readonly reason: string;
  /** HTTP status; 0 where there was none. */
  readonly status: number;
  readonly nodeId: string;
  /** The journal record it came from. */
  readonly seq: number;
  readonly samples: number;
  /** What was refused, as it was sent; '' where it cannot be shown. */
  readonly line: string;
}

/** What a writer needs from its worker. */
export interface WriterDeps {
  readonly clock: Clock;
  readonly log: WriterLog;
  /**
   * The decoded series table of a record, from a cache bounded in bytes. The loop has resolved it
   * before the record is handed over, so for those records it does not throw.
   */
  readonly table: (id: string) => SeriesTable;
  /**
   * A record of an earlier `write` that is not safe yet, read again. Throws where that fails.
   */
  readonly record: (seq: number) => WriterRecord;
  readonly fs: FileSystem;
  /** In [0, 1). */
  readonly random: () => number;
  /** Returns once the letters are on disk; throws OperatingError where they cannot be kept. */
  readonly deadLetter: (letters: readonly DeadLetter[]) => void;
  /** Whether journal and destination are still this process' own. */
  readonly isOwner: () => boolean;
  /** The journal's newest record. */
  readonly headSeq: () => number;
  /** The committed cursor that reading starts after. */
  readonly startCursor: number;
  /** Aborts when the worker is to stop: requests under way end, and the call that waits throws. */
  readonly signal?: AbortSignal;
}

/** Which writer to open, and with which settings. Plain data: it crosses to the worker thread. */
export type WriterTask =
  | { readonly name: 'influxdb'; readonly settings: InfluxConfig }
  | {
      readonly name: 'parquet';
      readonly settings: ParquetConfig & {
        readonly collector_id: string;
        /** Files are finished early once they cover this much of the journal. 0 = no bound. */
        readonly seal_after_journal_bytes?: number;
        /** Tells one journal from another: a new journal counts its seqs from the start again. */
        readonly journal_id?: string;
        /** Journals of which this one was an older copy; up to `lastSeq` their records are its. */
        readonly journal_ancestors?: readonly { readonly id: string; readonly lastSeq: number }[];
      };
    };
