/**
 * What the warehouse writer asks of a Parquet library. Two implement it: hyparquet-encoder.ts and
 * parquetjs-encoder.ts.
 */
import type { ParquetConfig } from '../config/schema.ts';
import { programVersion } from '../lib/program-version.ts';
import type { SortedRows } from './sorted-rows.ts';

/** The cells of numbered series. Equal texts have equal numbers, so that no string is hashed. */
export interface SeriesCells {
  /** The number of the text in a cell of a series; 0 for NULL. */
  textId(series: number, cell: number): number;
  /** The text of a number; NULL for 0. */
  text(textId: number): string | null;
}

/** Sorted rows with the cells of their series. */
export interface RowGroup extends SortedRows {
  readonly rows: number;
  readonly cells: SeriesCells;
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

/** Which program and library write a file, in the form that Parquet readers parse. */
export function createdBy(encoder: ParquetConfig['encoder']): string {
  return `telemetry-collector version ${programVersion()} (build ${encoder})`;
}
