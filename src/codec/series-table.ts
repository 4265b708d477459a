/**
 * Series tables as the wire and the journal hold them, and the identity that is computed from their
 * bytes. Two tables with the same bytes are the same table.
 */
import { hash } from 'node:crypto';
import type { Series, SeriesTable } from '../domain/telemetry.ts';
import { OperatingError } from '../lib/errors.ts';
import { encodeTable } from './encode-table.ts';
import { parseSeriesTable, type TableLimits } from './table-parser.ts';

/** A table's id: so many bytes of the SHA-256 of its bytes, in this program as hex digits. */
export const TABLE_ID_BYTES = 16;
const NO_LIMITS: TableLimits = {
  maxLabelsPerSeries: Number.POSITIVE_INFINITY,
  maxNameBytes: Number.POSITIVE_INFINITY,
  maxLabelValueBytes: Number.POSITIVE_INFINITY,
  maxSeries: Number.POSITIVE_INFINITY,
  maxTextCharacters: Number.POSITIVE_INFINITY,
  // Not infinite, for a table may have no bytes.
  maxTextPerByte: Number.MAX_VALUE,
};

/**
 * Encodes series into a table. The same series in the same order give the same bytes, and so the
 * same id. The table keeps `series`; labels must be as `Series` demands.
 */
export function encodeSeriesTable(series: readonly Series[]): SeriesTable {
  const bytes = encodeTable(series);
  return { id: seriesTableId(bytes), bytes, series };
}

/**
 * Decodes a table that was once accepted, for example from the journal. Copies `bytes`. Throws
 * OperatingError BAD_SERIES_TABLE where they are not a series table.
 */
export function decodeSeriesTable(bytes: Uint8Array): SeriesTable {
  const parsed = parseSeriesTable(bytes, NO_LIMITS);
  if (!parsed.ok) {
    throw new OperatingError(
      'BAD_SERIES_TABLE',
      `cannot decode series table of ${bytes.length} bytes: ${parsed.message}`,
    );
  }
  return seriesTableOf(bytes, parsed.series);
}

/**
 * Puts together a table from its bytes, which are copied, and the series they were found to hold.
 */
export function seriesTableOf(bytes: Uint8Array, series: readonly Series[]): SeriesTable {
  const owned = new Uint8Array(bytes);
  return { id: seriesTableId(owned), bytes: owned, series };
}

/** The id of the table with these bytes. */
export function seriesTableId(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex').slice(0, 2 * TABLE_ID_BYTES);
}
