/**
 * Rows as the warehouse sorts them, how they are put together, and how they are cut into parts.
 */

import { orderByTime, type TimedColumns } from './time-order.ts';

/** Consecutive rows of one series each, in parallel arrays. */
export interface SeriesRuns {
  /** As `SeriesCells` numbers them. */
  readonly series: Uint32Array;
  readonly rows: Uint32Array;
}

/** Sorted rows: `runs` one after another, the columns row by row. */
export interface SortedRows extends TimedColumns {
  readonly runs: SeriesRuns;
}

/**
 * The same rows in parts of at most `rowsMax`. A run is cut only where it is longer than that, and
 * then each part of it but the last has no other run beside it. The runs of a part are valid until
 * the next one is asked for.
 */
export function* splitRows(sorted: SortedRows, rowsMax: number): Generator<SortedRows> {
  const { runs } = sorted;
  const total = sorted.values.length;
  if (total <= rowsMax) {
    yield sorted;
    return;
  }
  const series = new Uint32Array(rowsMax);
  const rows = new Uint32Array(rowsMax);
  let run = 0;
  let left = runs.rows[0]!;
  for (let start = 0; start < total; ) {
    let end = start;
    let parts = 0;
    while (run < runs.rows.length && end < start + rowsMax) {
      const room = start + rowsMax - end;
      if (left > room && parts > 0) break;
      const count = Math.min(left, room);
      series[parts] = runs.series[run]!;
      rows[parts] = count;
      parts += 1;
      end += count;
      left -= count;
      if (left === 0) left = runs.rows[++run] ?? 0;
    }
    yield {
      runs: { series: series.subarray(0, parts), rows: rows.subarray(0, parts) },
      timestampsMs: sorted.timestampsMs.subarray(start, end),
      values: sorted.values.subarray(start, end),
      receivedAtMs: sorted.receivedAtMs.subarray(start, end),
    };
    start = end;
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

  /** Puts the last `rows` rows, all of one series, in the order of their times. */
  orderLast(rows: number): void {
    const columns = {
      timestampsMs: this.#timestampsMs,
      values: this.#values,
      receivedAtMs: this.#receivedAtMs,
    };
    orderByTime(columns, this.#rows - rows, this.#rows);
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
