/**
 * Rows of any hours that wait in memory: three numbers each, in arrays that grow, and a fourth for
 * each batch. Sorted, they are the rows of each hour by series, time and arrival.
 */
import { SERIES_COLUMNS } from '../../../warehouse/columns.ts';
import {
  type SeriesRuns,
  type SortedRows,
  SortedRowsBuilder,
} from '../../../warehouse/sorted-rows.ts';
import { orderByTime, type TimedColumns } from '../../../warehouse/time-order.ts';
import { HOUR_MS, hourOf } from '../../../warehouse/warehouse.ts';
import type { SeriesIndex } from './series-index.ts';

/** Memory of one buffered row, 20 bytes, of its sorted copy, 24, and of its hour's copy, 32. */
export const BUFFERED_ROW_BYTES = 76;
/** Memory of one batch, of which there may be as many as rows. */
const BATCH_BYTES = 12;
const FIRST_ROWS = 4096;
const FIRST_BATCHES = 64;
const NODE_CELL = SERIES_COLUMNS.findIndex(({ name }) => name === 'node_id');
const NONE = 0xffffffff;

export class RowBuffer {
  #rows = 0;
  #series = new Uint32Array(0);
  #timestampsMs = new Float64Array(0);
  #values = new Float64Array(0);
  /** Rows of one table that came together: their first row, and when they came. */
  #batches = 0;
  #lastIds: Uint32Array | undefined;
  #batchStarts = new Uint32Array(0);
  #batchReceivedAtMs = new Float64Array(0);
  readonly #rowsByHour = new Map<number, number>();
  /** Used again by every sort: fresh memory for each would be collected garbage. */
  #sortedColumns: TimedColumns = {
    timestampsMs: new Float64Array(0),
    values: new Float64Array(0),
    receivedAtMs: new Float64Array(0),
  };

  get rows(): number {
    return this.#rows;
  }

  /** By the start of the hour, Unix ms. */
  get rowsByHour(): ReadonlyMap<number, number> {
    return this.#rowsByHour;
  }

  /** What the buffer takes in memory, with what sorting it will take. */
  get bytes(): number {
    return this.#series.length * BUFFERED_ROW_BYTES + this.#batchStarts.length * BATCH_BYTES;
  }

  /**
   * Appends samples [from, to) of one node, all of the hour `hourMs`. `ids` gives the series index'
   * number of each table entry that `series` points to.
   */
  append(
    hourMs: number,
    ids: Uint32Array,
    samples: { series: Uint32Array; timestampsMs: Float64Array; values: Float64Array },
    receivedAtMs: number,
    from: number,
    to: number,
  ): void {
    const start = this.#rows;
    const end = start + (to - from);
    if (end > this.#series.length) this.#grow(end);
    this.#followBatch(ids, receivedAtMs);
    const { series } = samples;
    const target = this.#series;
    for (let i = from, row = start; i < to; i++, row++) target[row] = ids[series[i]!]!;
    this.#timestampsMs.set(samples.timestampsMs.subarray(from, to), start);
    this.#values.set(samples.values.subarray(from, to), start);
    this.#rows = end;
    this.#rowsByHour.set(hourMs, (this.#rowsByHour.get(hourMs) ?? 0) + (to - from));
  }

  /** The next rows belong to the last batch, or begin one. */
  #followBatch(ids: Uint32Array, receivedAtMs: number): void {
    const last = this.#batches - 1;
    if (ids === this.#lastIds && receivedAtMs === this.#batchReceivedAtMs[last]) return;
    this.#lastIds = ids;
    if (this.#batches === this.#batchStarts.length) {
      const grown = Math.max(this.#batches * 2, FIRST_BATCHES);
      this.#batchStarts = copyInto(new Uint32Array(grown), this.#batchStarts);
      this.#batchReceivedAtMs = copyInto(new Float64Array(grown), this.#batchReceivedAtMs);
    }
    this.#batchStarts[this.#batches] = this.#rows;
    this.#batchReceivedAtMs[this.#batches] = receivedAtMs;
    this.#batches += 1;
  }

  clear(): void {
    this.#rows = 0;
    this.#batches = 0;
    this.#lastIds = undefined;
    this.#rowsByHour.clear();
  }

  /**
   * The rows of each hour, sorted by series (in the index' order), then time, then arrival. Valid
   * until the next call.
   */
  sorted(index: SeriesIndex): Map<number, SortedRows> {
    const all = this.#sortedRows(index);
    const [hourMs] = this.#rowsByHour.keys();
    if (this.#rowsByHour.size <= 1) return new Map(hourMs === undefined ? [] : [[hourMs, all]]);
    return dealByHour(all, this.#rowsByHour);
  }

  /**
   * A counting sort by rank that moves each row straight to its place: rows of one series keep the
   * order of their arrival. Only runs whose times are out of order are then sorted themselves.
   *
   * Batches are moved node by node: the places of one node's series stay in the processor's cache,
   * those of a whole fleet do not.
   */
  #sortedRows(index: SeriesIndex): SortedRows {
    const rows = this.#rows;
    const series = this.#series;
    const { ranks, order } = index.ranking();
    const next = new Uint32Array(ranks.length + 1);
    for (let row = 0; row < rows; row++) next[ranks[series[row]!]! + 1]!++;
    const runs = runsOf(next, order);
    for (let rank = 0; rank < ranks.length; rank++) next[rank + 1]! += next[rank]!;
    const sorted = { runs, ...this.#columnsFor(rows) };
    for (const batch of this.#batchesByNode(index)) {
      const receivedAtMs = this.#batchReceivedAtMs[batch]!;
      const end = batch + 1 < this.#batches ? this.#batchStarts[batch + 1]! : rows;
      for (let row = this.#batchStarts[batch]!; row < end; row++) {
        const place = next[ranks[series[row]!]!]!++;
        sorted.timestampsMs[place] = this.#timestampsMs[row]!;
        sorted.values[place] = this.#values[row]!;
        sorted.receivedAtMs[place] = receivedAtMs;
      }
    }
    sortRunsByTime(sorted);
    return sorted;
  }

  #columnsFor(rows: number): TimedColumns {
    if (this.#sortedColumns.values.length < rows) {
      this.#sortedColumns = {
        timestampsMs: new Float64Array(this.#series.length),
        values: new Float64Array(this.#series.length),
        receivedAtMs: new Float64Array(this.#series.length),
      };
    }
    const { timestampsMs, values, receivedAtMs } = this.#sortedColumns;
    return {
      timestampsMs: timestampsMs.subarray(0, rows),
      values: values.subarray(0, rows),
      receivedAtMs: receivedAtMs.subarray(0, rows),
    };
  }

  /** Those of one node after the other, each node's in the order of their arrival. */
  #batchesByNode(index: SeriesIndex): Uint32Array {
    const following = new Uint32Array(this.#batches).fill(NONE);
    const ends = new Map<number, { readonly first: number; last: number }>();
    for (let batch = 0; batch < this.#batches; batch++) {
      const series = this.#series[this.#batchStarts[batch]!]!;
      const node = index.textId(series, NODE_CELL);
      const known = ends.get(node);
      if (known === undefined) {
        ends.set(node, { first: batch, last: batch });
        continue;
      }
      following[known.last] = batch;
      known.last = batch;
    }
    const batches = new Uint32Array(this.#batches);
    let place = 0;
    for (const { first } of ends.values()) {
      for (let batch = first; batch !== NONE; batch = following[batch]!) batches[place++] = batch;
    }
    return batches;
  }

  #grow(rows: number): void {
    const capacity = this.#series.length;
    const grown = Math.max(rows, capacity * 2, FIRST_ROWS);
    this.#series = copyInto(new Uint32Array(grown), this.#series);
    this.#timestampsMs = copyInto(new Float64Array(grown), this.#timestampsMs);
    this.#values = copyInto(new Float64Array(grown), this.#values);
  }
}

function copyInto<T extends Uint32Array | Float64Array>(target: T, source: T): T {
  target.set(source);
  return target;
}

/** The runs of the series that have rows: `counts[rank + 1]` of `order[rank]`. */
function runsOf(counts: Uint32Array, order: Uint32Array): SeriesRuns {
  const series = new Uint32Array(order.length);
  const rows = new Uint32Array(order.length);
  let runs = 0;
  for (let rank = 0; rank < order.length; rank++) {
    if (counts[rank + 1] === 0) continue;
    series[runs] = order[rank]!;
    rows[runs] = counts[rank + 1]!;
    runs += 1;
  }
  return { series: series.subarray(0, runs), rows: rows.subarray(0, runs) };
}

/** Rows of equal times keep their order. */
function sortRunsByTime(sorted: SortedRows): void {
  let start = 0;
  for (const rows of sorted.runs.rows) {
    orderByTime(sorted, start, start + rows);
    start += rows;
  }
}

/** Deals sorted rows out by their hour: within a run, the rows of an hour are together. */
function dealByHour(
  all: SortedRows,
  rowsByHour: ReadonlyMap<number, number>,
): Map<number, SortedRows> {
  const hours = new Map<number, SortedRowsBuilder>();
  for (const hourMs of [...rowsByHour.keys()].sort((a, b) => a - b)) {
    hours.set(hourMs, new SortedRowsBuilder(rowsByHour.get(hourMs)!));
  }
  let row = 0;
  for (let run = 0; run < all.runs.rows.length; run++) {
    const series = all.runs.series[run]!;
    for (const runEnd = row + all.runs.rows[run]!; row < runEnd; ) {
      const hourMs = hourOf(all.timestampsMs[row]!);
      let end = row + 1;
      while (end < runEnd && all.timestampsMs[end]! < hourMs + HOUR_MS) end++;
      hours.get(hourMs)!.append(series, all, row, end);
      row = end;
    }
  }
  return new Map([...hours].map(([hourMs, builder]) => [hourMs, builder.sorted()]));
}
