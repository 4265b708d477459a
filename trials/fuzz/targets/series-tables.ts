/**
 * Series tables on their own: as an agent sends them, and as the journal hands them to its readers.
 */
import { decodeSeriesTable, encodeSeriesTable } from '../../../src/codec/series-table.ts';
import { parseSeriesTable } from '../../../src/codec/table-parser.ts';
import { OperatingError } from '../../../src/lib/errors.ts';
import { type FuzzTarget, must } from '../fuzz-target.ts';
import { validTables, WIRE_TOKENS } from './wire-samples.ts';

const LIMITS = {
  maxLabelsPerSeries: 4,
  maxNameBytes: 64,
  maxLabelValueBytes: 64,
  maxSeries: 100,
  maxTextCharacters: 10_000,
  maxTextPerByte: 32,
};

/** The parser with limits and without, and what it makes of what it made. */
export function seriesTableTarget(): FuzzTarget {
  return {
    name: 'series-tables',
    what: 'SeriesTable, with limits and as journal readers read it',
    seeds: validTables(),
    tokens: WIRE_TOKENS,
    run(input) {
      const limited = parseSeriesTable(input, LIMITS);
      must(limited.ok || limited.message.length < 500, 'a refusal is brief');
      const table = decodeOrRefuse(input);
      must(!limited.ok || table !== undefined, 'what passes the limits passes without them');
      if (table === undefined) return;
      if (limited.ok) must(limited.series.length <= LIMITS.maxSeries, 'the bound holds');
      const again = decodeSeriesTable(encodeSeriesTable(table.series).bytes);
      must(
        JSON.stringify(again.series) === JSON.stringify(table.series),
        'it comes back as it was',
      );
    },
  };
}

function decodeOrRefuse(input: Buffer) {
  try {
    return decodeSeriesTable(input);
  } catch (error) {
    must(error instanceof OperatingError, 'only an OperatingError is thrown');
    must(error.code === 'BAD_SERIES_TABLE', 'its code is BAD_SERIES_TABLE');
    return undefined;
  }
}
