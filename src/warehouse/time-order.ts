/**
 * Puts the rows of one series in the order of their times. Pure. They mostly are already, or
 * consist of a few ascending stretches, one of each source: so stretches are merged, and rows are
 * not compared one with another.
 */

/** Parallel columns of rows. */
export interface TimedColumns {
  readonly timestampsMs: Float64Array;
  readonly values: Float64Array;
  readonly receivedAtMs: Float64Array;
}

/** Sorts rows [from, to) by time, in place; rows of equal times keep their order. */
export function orderByTime(columns: TimedColumns, from: number, to: number): void {
  const { timestampsMs, values, receivedAtMs } = columns;
  if (isAscending(timestampsMs, from, to)) return;
  const places = sortedPlaces(timestampsMs.subarray(from, to));
  for (const column of [timestampsMs, values, receivedAtMs]) {
    const unsorted = column.slice(from, to);
    for (let i = 0; i < places.length; i++) column[from + i] = unsorted[places[i]!]!;
  }
}

function isAscending(times: Float64Array, from: number, to: number): boolean {
  for (let row = from + 1; row < to; row++) if (times[row]! < times[row - 1]!) return false;
  return true;
}

/** By place in the order, the row that belongs there. */
function sortedPlaces(times: Float64Array): Uint32Array {
  let places = new Uint32Array(times.length).map((_, row) => row);
  let merged = new Uint32Array(times.length);
  let bounds = stretchBounds(times);
  while (bounds.length > 2) {
    const left: number[] = [0];
    for (let i = 0; i + 1 < bounds.length; i += 2) {
      const start = bounds[i]!;
      const middle = bounds[i + 1]!;
      const end = bounds[i + 2] ?? middle;
      mergeStretches(times, places, merged, { start, middle, end });
      left.push(end);
    }
    [places, merged] = [merged, places];
    bounds = left;
  }
  return places;
}

/** Where each ascending stretch begins, and the end of the last one. */
function stretchBounds(times: Float64Array): number[] {
  const bounds = [0];
  for (let row = 1; row < times.length; row++) {
    if (times[row]! < times[row - 1]!) bounds.push(row);
  }
  bounds.push(times.length);
  return bounds;
}

/** Merges `places` [start, middle) and [middle, end) into the same part of `merged`. */
function mergeStretches(
  times: Float64Array,
  places: Uint32Array,
  merged: Uint32Array,
  { start, middle, end }: { start: number; middle: number; end: number },
): void {
  let left = start;
  let right = middle;
  for (let at = start; at < end; at++) {
    const isRight =
      left === middle || (right < end && times[places[right]!]! < times[places[left]!]!);
    merged[at] = isRight ? places[right++]! : places[left++]!;
  }
}
