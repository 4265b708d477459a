/**
 * Rows as the warehouse sorts them, and how they are cut into parts.
 */

/** Consecutive rows of one series each, in parallel arrays. */
export interface SeriesRuns {
  /** As `SeriesCells` numbers them. */
  readonly series: Uint32Array;
  readonly rows: Uint32Array;
}

/** Sorted rows: `runs` one after another, the columns row by row. */
export interface SortedRows {
  readonly runs: SeriesRuns;
  readonly timestampsMs: Float64Array;
  readonly values: Float64Array;
  readonly receivedAtMs: Float64Array;
}

/** The same rows in parts of at most `rowsMax`; a run may be cut in two. */
export function* splitRows(sorted: SortedRows, rowsMax: number): Generator<SortedRows> {
  const { runs } = sorted;
  const total = sorted.values.length;
  if (total <= rowsMax) {
    yield sorted;
    return;
  }
  let run = 0;
  let taken = 0;
  for (let start = 0; start < total; start += rowsMax) {
    const end = Math.min(start + rowsMax, total);
    const series: number[] = [];
    const rows: number[] = [];
    for (let missing = end - start; missing > 0; ) {
      const count = Math.min(missing, runs.rows[run]! - taken);
      series.push(runs.series[run]!);
      rows.push(count);
      missing -= count;
      taken += count;
      if (taken === runs.rows[run]) {
        run++;
        taken = 0;
      }
    }
    yield {
      runs: { series: Uint32Array.from(series), rows: Uint32Array.from(rows) },
      timestampsMs: sorted.timestampsMs.subarray(start, end),
      values: sorted.values.subarray(start, end),
      receivedAtMs: sorted.receivedAtMs.subarray(start, end),
    };
  }
}
