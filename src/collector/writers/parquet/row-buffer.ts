/**
 * Rows of any hours that wait in memory: four numbers each, in arrays that grow. Sorted, they are
 * the rows of each hour by series, time and arrival.
 */
import type { SortedRows } from '../../../warehouse/sorted-rows.ts';
import { HOUR_MS } from '../../../warehouse/warehouse.ts';
import type { SeriesIndex } from './series-index.ts';

/** Memory of one buffered row, 28 bytes, and of its copy while it is sorted, 32. */
export const BUFFERED_ROW_BYTES = 60;
const FIRST_ROWS = 4096;

export class RowBuffer {
  #rows = 0;
  #series = new Uint32Array(0);
  #timestampsMs = new Float64Array(0);
  #values = new Float64Array(0);
  #receivedAtMs = new Float64Array(0);
  readonly #rowsByHour = new Map<number, number>();

  get rows(): number {
    return this.#rows;
  }

  /** By the start of the hour, Unix ms. */
  get rowsByHour(): ReadonlyMap<number, number> {
    return this.#rowsByHour;
  }

  /** What the buffer takes in memory, with what sorting it will take. */
  get bytes(): number {
    return this.#series.length * BUFFERED_ROW_BYTES;
  }

  /**
   * Appends samples [from, to), all of the hour `hourMs`. `ids` gives the series index' number of
   * each table entry that `series` points to.
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
    const { series } = samples;
    const target = this.#series;
    for (let i = from, row = start; i < to; i++, row++) target[row] = ids[series[i]!]!;
    this.#timestampsMs.set(samples.timestampsMs.subarray(from, to), start);
    this.#values.set(samples.values.subarray(from, to), start);
    this.#receivedAtMs.fill(receivedAtMs, start, end);
    this.#rows = end;
    this.#rowsByHour.set(hourMs, (this.#rowsByHour.get(hourMs) ?? 0) + (to - from));
  }

  clear(): void {
    this.#rows = 0;
    this.#rowsByHour.clear();
  }

  /** The rows of each hour, sorted by series (in the index' order), then time, then arrival. */
  sorted(index: SeriesIndex): Map<number, SortedRows> {
    const order = this.#orderByHour(this.#orderBySeries(index));
    const sorted = new Map<number, SortedRows>();
    let start = 0;
    for (const hourMs of [...this.#rowsByHour.keys()].sort((a, b) => a - b)) {
      const end = start + this.#rowsByHour.get(hourMs)!;
      sorted.set(hourMs, this.#gather(order.subarray(start, end)));
      start = end;
    }
    return sorted;
  }

  /** Counting sort by rank: rows of one series keep the order of their arrival. */
  #orderBySeries(index: SeriesIndex): Uint32Array {
    const rows = this.#rows;
    const series = this.#series;
    const { ranks } = index.ranking();
    const next = new Uint32Array(ranks.length + 1);
    for (let row = 0; row < rows; row++) next[ranks[series[row]!]! + 1]!++;
    for (let rank = 0; rank < ranks.length; rank++) next[rank + 1]! += next[rank]!;
    const order = new Uint32Array(rows);
    for (let row = 0; row < rows; row++) order[next[ranks[series[row]!]!]!++] = row;
    return order;
  }

  /** Deals rows out by their hour, oldest first; within one they keep their order. */
  #orderByHour(order: Uint32Array): Uint32Array {
    if (this.#rowsByHour.size <= 1) return order;
    const next = new Map<number, number>();
    let start = 0;
    for (const hourMs of [...this.#rowsByHour.keys()].sort((a, b) => a - b)) {
      next.set(hourMs, start);
      start += this.#rowsByHour.get(hourMs)!;
    }
    const dealt = new Uint32Array(order.length);
    for (const row of order) {
      const hourMs = Math.floor(this.#timestampsMs[row]! / HOUR_MS) * HOUR_MS;
      const place = next.get(hourMs)!;
      dealt[place] = row;
      next.set(hourMs, place + 1);
    }
    return dealt;
  }

  /** Copies the rows at `places`, cuts them into runs and puts each run in order of time. */
  #gather(places: Uint32Array): SortedRows {
    const rows = places.length;
    const timestampsMs = new Float64Array(rows);
    const values = new Float64Array(rows);
    const receivedAtMs = new Float64Array(rows);
    const runs = { series: new Uint32Array(rows), rows: new Uint32Array(rows) };
    let run = -1;
    let isInOrder = true;
    for (let i = 0; i < rows; i++) {
      const row = places[i]!;
      const series = this.#series[row]!;
      const timestampMs = this.#timestampsMs[row]!;
      if (run < 0 || series !== runs.series[run]) runs.series[++run] = series;
      else if (timestampMs < timestampsMs[i - 1]!) isInOrder = false;
      runs.rows[run]! += 1;
      timestampsMs[i] = timestampMs;
      values[i] = this.#values[row]!;
      receivedAtMs[i] = this.#receivedAtMs[row]!;
    }
    if (!isInOrder) {
      this.#sortRuns(places, runs.rows);
      return this.#gather(places);
    }
    const [ofSeries, ofRows] = [runs.series, runs.rows].map((part) => part.slice(0, run + 1));
    return { runs: { series: ofSeries!, rows: ofRows! }, timestampsMs, values, receivedAtMs };
  }

  /** Sorts the places of each run by time; rows of equal times keep the order of their arrival. */
  #sortRuns(places: Uint32Array, runRows: Uint32Array): void {
    const times = this.#timestampsMs;
    let start = 0;
    for (const rows of runRows) {
      if (rows === 0) break;
      places.subarray(start, start + rows).sort((a, b) => times[a]! - times[b]! || a - b);
      start += rows;
    }
  }

  #grow(rows: number): void {
    const capacity = this.#series.length;
    const grown = Math.max(rows, capacity * 2, FIRST_ROWS);
    this.#series = copyInto(new Uint32Array(grown), this.#series);
    this.#timestampsMs = copyInto(new Float64Array(grown), this.#timestampsMs);
    this.#values = copyInto(new Float64Array(grown), this.#values);
    this.#receivedAtMs = copyInto(new Float64Array(grown), this.#receivedAtMs);
  }
}

function copyInto<T extends Uint32Array | Float64Array>(target: T, source: T): T {
  target.set(source);
  return target;
}
