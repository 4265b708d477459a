/**
 * What the warehouse writer asks of a Parquet library. Two implement it: hyparquet-encoder.ts and
 * parquetjs-encoder.ts.
 */
import type { ParquetConfig } from '../../config/schema.ts';
import type { SeriesRow } from './columns.ts';

/** A series whose texts are numbered, so that encoding a run of it hashes no string. */
export interface IndexedSeries extends SeriesRow {
  /** By cell: the number of its text within the index it comes from; 0 for NULL. */
  readonly textIds: readonly number[];
}

/** Consecutive rows of one series. All runs of a row group come from the same index. */
export interface SeriesRun {
  readonly series: IndexedSeries;
  readonly rows: number;
}

/** Sorted rows: `runs` one after another, the columns row by row. */
export interface RowGroup {
  readonly rows: number;
  readonly runs: readonly SeriesRun[];
  readonly timestampsMs: Float64Array;
  readonly values: Float64Array;
  readonly receivedAtMs: Float64Array;
}

/** One Parquet file that is being written. After an error only the file's `close` is left to do. */
export interface FileEncoder {
  /** Encodes and writes `group`; nothing of it is kept. */
  writeRowGroup(group: RowGroup): Promise<void>;
  /** Writes the footer with `metadata`; the caller syncs and closes the file. */
  finish(metadata: ReadonlyMap<string, string>): Promise<void>;
  /** Bytes handed to the file so far. */
  readonly bytes: number;
}

export interface EncoderOptions {
  readonly compression: ParquetConfig['compression'];
  /** For the footer: which program wrote the file. */
  readonly createdBy: string;
}
