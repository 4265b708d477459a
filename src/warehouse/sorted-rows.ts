/**
 * Rows as the warehouse sorts them, how they are put together, and how they are cut into parts.
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

/** Sorted rows that are put together, up to `capacity`. */
export class SortedRowsBuilder {
  readonly #timestampsMs: Float64Array;
  readonly #values: Float64Array;
  readonly #receivedAtMs: Float64Array;
  readonly #runSeries: Uint32Array;
  readonly #runRows: Uint32Array;
  #rows = 0;
  #runs = 0;

  constructor(capacity: number) {
    this.#timestampsMs = new Float64Array(capacity);
    this.#values = new Float64Array(capacity);
    this.#receivedAtMs = new Float64Array(capacity);
    this.#runSeries = new Uint32Array(capacity);
    this.#runRows = new Uint32Array(capacity);
  }

  get rows(): number {
    return this.#rows;
  }

  get room(): number {
    return this.#values.length - this.#rows;
  }

  /** Appends rows [from, to) of `source`, all of `series`. */
  append(series: number, source: SortedRows, from: number, to: number): void {
    const at = this.#rows;
    for (let row = from, place = at; row < to; row++, place++) {
      this.#timestampsMs[place] = source.timestampsMs[row]!;
      this.#values[place] = source.values[row]!;
      this.#receivedAtMs[place] = source.receivedAtMs[row]!;
    }
    this.#rows = at + (to - from);
    if (this.#runs > 0 && this.#runSeries[this.#runs - 1] === series) {
      this.#runRows[this.#runs - 1]! += to - from;
      return;
    }
    this.#runSeries[this.#runs] = series;
    this.#runRows[this.#runs] = to - from;
    this.#runs += 1;
  }

  /** What was appended, until `clear`. */
  sorted(): SortedRows {
    return {
      runs: {
        series: this.#runSeries.subarray(0, this.#runs),
        rows: this.#runRows.subarray(0, this.#runs),
      },
      timestampsMs: this.#timestampsMs.subarray(0, this.#rows),
      values: this.#values.subarray(0, this.#rows),
      receivedAtMs: this.#receivedAtMs.subarray(0, this.#rows),
    };
  }

  clear(): void {
    this.#rows = 0;
    this.#runs = 0;
  }
}
