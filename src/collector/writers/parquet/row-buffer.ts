/**
 * The rows of one hour that wait for their row group: four numbers each, in arrays that grow.
 */
import type { RowGroup, SeriesRuns } from '../../../warehouse/encoder.ts';
import type { SeriesIndex } from './series-index.ts';

/** Memory of one buffered row. */
export const BUFFERED_ROW_BYTES = 28;

export class RowBuffer {
  #rows = 0;
  #series: Uint32Array<ArrayBuffer>;
  #timestampsMs: Float64Array<ArrayBuffer>;
  #values: Float64Array<ArrayBuffer>;
  #receivedAtMs: Float64Array<ArrayBuffer>;

  constructor(capacity: number) {
    this.#series = new Uint32Array(capacity);
    this.#timestampsMs = new Float64Array(capacity);
    this.#values = new Float64Array(capacity);
    this.#receivedAtMs = new Float64Array(capacity);
  }

  get rows(): number {
    return this.#rows;
  }

  get capacity(): number {
    return this.#series.length;
  }

  /**
   * Appends samples [from, to). `ids` gives the series index' number of each table entry that
   * `series` points to.
   */
  append(
    ids: Uint32Array,
    samples: { series: Uint32Array; timestampsMs: Float64Array; values: Float64Array },
    receivedAtMs: number,
    from: number,
    to: number,
  ): void {
    const start = this.#rows;
    const end = start + (to - from);
    if (end > this.capacity) this.#grow(end);
    const { series } = samples;
    const target = this.#series;
    for (let i = from, row = start; i < to; i++, row++) target[row] = ids[series[i]!]!;
    this.#timestampsMs.set(samples.timestampsMs.subarray(from, to), start);
    this.#values.set(samples.values.subarray(from, to), start);
    this.#receivedAtMs.fill(receivedAtMs, start, end);
    this.#rows = end;
  }

  clear(): void {
    this.#rows = 0;
  }

  /** The rows sorted by series (in the index' order), then time, then arrival. */
  sorted(index: SeriesIndex): RowGroup {
    const { order, runs } = this.#sortedPlaces(index);
    const rows = this.#rows;
    return {
      rows,
      cells: index,
      runs,
      timestampsMs: gather(this.#timestampsMs, order, rows),
      values: gather(this.#values, order, rows),
      receivedAtMs: gather(this.#receivedAtMs, order, rows),
    };
  }

  /** Counting sort by rank; only runs whose times are out of order are then sorted themselves. */
  #sortedPlaces(index: SeriesIndex): { order: Uint32Array; runs: SeriesRuns } {
    const rows = this.#rows;
    const series = this.#series;
    const { ranks, order: seriesByRank } = index.ranking();
    const ends = new Uint32Array(ranks.length + 1);
    for (let row = 0; row < rows; row++) ends[ranks[series[row]!]! + 1]!++;
    for (let rank = 0; rank < ranks.length; rank++) ends[rank + 1]! += ends[rank]!;
    const order = new Uint32Array(rows);
    const next = ends.slice(0, ranks.length);
    for (let row = 0; row < rows; row++) order[next[ranks[series[row]!]!]!++] = row;
    const runs = { series: new Uint32Array(ranks.length), rows: new Uint32Array(ranks.length) };
    let run = 0;
    for (let rank = 0; rank < ranks.length; rank++) {
      const start = ends[rank]!;
      const end = ends[rank + 1]!;
      if (start === end) continue;
      sortByTime(order, start, end, this.#timestampsMs);
      runs.series[run] = seriesByRank[rank]!;
      runs.rows[run] = end - start;
      run++;
    }
    return {
      order,
      runs: { series: runs.series.subarray(0, run), rows: runs.rows.subarray(0, run) },
    };
  }

  #grow(rows: number): void {
    const capacity = Math.max(rows, Math.min(this.capacity * 2, this.capacity + 65_536));
    const grown = new RowBuffer(capacity);
    grown.#series.set(this.#series.subarray(0, this.#rows));
    grown.#timestampsMs.set(this.#timestampsMs.subarray(0, this.#rows));
    grown.#values.set(this.#values.subarray(0, this.#rows));
    grown.#receivedAtMs.set(this.#receivedAtMs.subarray(0, this.#rows));
    this.#series = grown.#series;
    this.#timestampsMs = grown.#timestampsMs;
    this.#values = grown.#values;
    this.#receivedAtMs = grown.#receivedAtMs;
  }
}

function gather(from: Float64Array, order: Uint32Array, rows: number): Float64Array {
  const to = new Float64Array(rows);
  for (let i = 0; i < rows; i++) to[i] = from[order[i]!]!;
  return to;
}

/**
 * Sorts `order[start, end)`, rows of one series, by time; they mostly are already. Equal times keep
 * their arrival order.
 */
function sortByTime(
  order: Uint32Array,
  start: number,
  end: number,
  timestampsMs: Float64Array,
): void {
  for (let i = start + 1; i < end; i++) {
    if (timestampsMs[order[i]!]! < timestampsMs[order[i - 1]!]!) {
      const rows = order.subarray(start, end);
      rows.sort((a, b) => timestampsMs[a]! - timestampsMs[b]! || a - b);
      return;
    }
  }
}
