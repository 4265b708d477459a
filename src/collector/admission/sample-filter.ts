/**
 * Which samples of a batch are kept. A bad sample goes, its batch goes on; nearly always nothing
 * goes, and then the batch's own columns are passed on and nothing is allocated.
 */
import {
  describeSeries,
  type Rejection,
  type SampleColumns,
  type SampleRejectReason,
  type SeriesTable,
} from '../../domain/telemetry.ts';
import { isSentinel, SMALLEST_SENTINEL } from './sentinels.ts';

/** Bounds of believable times, Unix ms, both still believed. */
export interface TimeWindow {
  readonly oldestMs: number;
  readonly newestMs: number;
}

export interface FilterResult {
  /** What is kept; the very columns that came in where that is all of them. */
  readonly samples: SampleColumns;
  readonly rejections: readonly Rejection[];
}

/** Marks of refused samples: index in this list + 1. */
const REASONS: readonly SampleRejectReason[] = [
  'not_a_number',
  'infinite',
  'too_old',
  'too_far_ahead',
  'sentinel',
];
const HOUR_MS = 3_600_000;
const KEPT = 0;
const NOT_A_NUMBER = 1;
const INFINITE = 2;
const TOO_OLD = 3;
const TOO_FAR_AHEAD = 4;
const SENTINEL = 5;

/** Refuses samples whose value or time can't be real. */
export function filterValues(
  table: SeriesTable,
  samples: SampleColumns,
  window: TimeWindow,
): FilterResult {
  const { series, timestampsMs, values } = samples;
  const { oldestMs, newestMs } = window;
  let marks: Uint8Array | undefined;
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index]!;
    const time = timestampsMs[index]!;
    // A finite value minus itself is 0; an infinite one, like NaN, gives NaN.
    if (
      value - value === 0 &&
      time >= oldestMs &&
      time <= newestMs &&
      (value < SMALLEST_SENTINEL || !isSentinel(value, table.series[series[index]!]!.name))
    ) {
      continue;
    }
    marks ??= new Uint8Array(values.length);
    marks[index] = markOf(value, time, window);
  }
  if (marks === undefined) return { samples, rejections: [] };
  return {
    samples: keepUnmarked(samples, marks),
    rejections: countMarks(table, samples, marks, REASONS),
  };
}

/** Refuses samples of some series: `admitted` has a 1 for each series whose samples stay. */
export function filterSeries(
  table: SeriesTable,
  samples: SampleColumns,
  admitted: Uint8Array,
  reason: SampleRejectReason,
): FilterResult {
  const { series } = samples;
  let marks: Uint8Array | undefined;
  for (let index = 0; index < series.length; index += 1) {
    if (admitted[series[index]!] === 1) continue;
    marks ??= new Uint8Array(series.length);
    marks[index] = 1;
  }
  if (marks === undefined) return { samples, rejections: [] };
  return {
    samples: keepUnmarked(samples, marks),
    rejections: countMarks(table, samples, marks, [reason]),
  };
}

/** Keeps the samples of the first `maxHours` hours that occur, and refuses those of others. */
export function filterHours(
  table: SeriesTable,
  samples: SampleColumns,
  maxHours: number,
): FilterResult {
  const { timestampsMs } = samples;
  if (spreadMs(timestampsMs) < (maxHours - 1) * HOUR_MS) return { samples, rejections: [] };
  const hours = new Set<number>();
  let marks: Uint8Array | undefined;
  for (let index = 0; index < timestampsMs.length; index += 1) {
    const hour = Math.floor(timestampsMs[index]! / HOUR_MS);
    if (hours.has(hour)) continue;
    if (hours.size < maxHours) {
      hours.add(hour);
      continue;
    }
    marks ??= new Uint8Array(timestampsMs.length);
    marks[index] = 1;
  }
  if (marks === undefined) return { samples, rejections: [] };
  return {
    samples: keepUnmarked(samples, marks),
    rejections: countMarks(table, samples, marks, ['too_many_hours']),
  };
}

function spreadMs(timestampsMs: Float64Array): number {
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (let index = 0; index < timestampsMs.length; index += 1) {
    const time = timestampsMs[index]!;
    if (time < first) first = time;
    if (time > last) last = time;
  }
  return last - first;
}

function markOf(value: number, time: number, window: TimeWindow): number {
  if (Number.isNaN(value)) return NOT_A_NUMBER;
  if (!Number.isFinite(value)) return INFINITE;
  if (time < window.oldestMs) return TOO_OLD;
  if (time > window.newestMs) return TOO_FAR_AHEAD;
  return SENTINEL;
}

function keepUnmarked(samples: SampleColumns, marks: Uint8Array): SampleColumns {
  let kept = 0;
  for (let index = 0; index < marks.length; index += 1) if (marks[index] === KEPT) kept += 1;
  const series = new Uint32Array(kept);
  const timestampsMs = new Float64Array(kept);
  const values = new Float64Array(kept);
  let at = 0;
  for (let index = 0; index < marks.length; index += 1) {
    if (marks[index] !== KEPT) continue;
    series[at] = samples.series[index]!;
    timestampsMs[at] = samples.timestampsMs[index]!;
    values[at] = samples.values[index]!;
    at += 1;
  }
  return { series, timestampsMs, values };
}

/** One rejection for each mark that occurs, in the order of `reasons`. */
function countMarks(
  table: SeriesTable,
  samples: SampleColumns,
  marks: Uint8Array,
  reasons: readonly SampleRejectReason[],
): Rejection[] {
  const counts = new Uint32Array(reasons.length);
  for (let index = 0; index < marks.length; index += 1) {
    const mark = marks[index]!;
    if (mark !== KEPT) counts[mark - 1]! += 1;
  }
  const rejections: Rejection[] = [];
  for (const [reasonIndex, reason] of reasons.entries()) {
    const count = counts[reasonIndex]!;
    if (count === 0) continue;
    const first = samples.series[marks.indexOf(reasonIndex + 1)]!;
    rejections.push({ reason, count, firstSeries: describeSeries(table.series[first]!) });
  }
  return rejections;
}
