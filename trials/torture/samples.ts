/**
 * The samples that the torture sends. A sample is a function of its node and round, so the oracle
 * can say of any row, from wherever it comes, whether it was ever sent and what its value must be.
 *
 *     time  = base + round, moved by 0, 1 or 2 hours   (every batch lies in three hours at once)
 *     value = ((round × 32 + series) × 16 + node) + ¼   (unique over everything that is sent)
 */
import { encodeSeriesTable } from '../../src/codec/series-table.ts';
import type { SampleColumns, SeriesTable } from '../../src/domain/telemetry.ts';

export const SERIES = 24;
export const HOURS = 3;
export const HOUR_MS = 3_600_000;
/** Every `STRAY_EVERY`th sample of a stray batch has a time that the collector must refuse. */
export const STRAY_EVERY = 6;
export const STRAYS = SERIES / STRAY_EVERY;
/** Rounds of one node; beyond this times would repeat. */
export const ROUNDS_MAX = 3_000_000;

const GPUS = 4;
const STRAY_MS = 40 * 24 * HOUR_MS;

export interface SampleId {
  /** 1 to 15. */
  readonly node: number;
  readonly round: number;
  readonly series: number;
}

/** The beginning of the hours that are sent: all of them in the past, none too old. */
export function baseOf(nowMs: number): number {
  return Math.floor(nowMs / HOUR_MS) * HOUR_MS - (HOURS + 1) * HOUR_MS;
}

export function nodeName(node: number): string {
  return `torture-${String(node).padStart(2, '0')}`;
}

export function metricName(series: number): string {
  return `torture_${String(series).padStart(2, '0')}`;
}

export function gpuOf(series: number): string {
  return `GPU-${series % GPUS}`;
}

export function sampleValue({ node, round, series }: SampleId): number {
  return (round * 32 + series) * 16 + node + 0.25;
}

export function sampleTime(baseMs: number, { round, series }: SampleId): number {
  return baseMs + round + ((round + (series >> 3)) % HOURS) * HOUR_MS;
}

/** Whether the collector has to refuse a sample of a stray batch because of its time. */
export function isStray(series: number): boolean {
  return series % STRAY_EVERY === 0;
}

/** All series of a node; those of one GPU go into one line of line protocol. */
export function tortureTable(): SeriesTable {
  return encodeSeriesTable(
    Array.from({ length: SERIES }, (_, series) => ({
      name: metricName(series),
      labels: [
        ['gpu_uuid', gpuOf(series)],
        ['note', 'a "b", c=d \\ e'],
      ] as const,
      kind: 'gauge' as const,
      unit: '1',
    })),
  );
}

/** One batch: a sample of each series. In a stray one the clock is far off for some of them. */
export function tortureBatch(
  baseMs: number,
  node: number,
  round: number,
  stray: boolean,
): SampleColumns {
  const ids = Array.from({ length: SERIES }, (_, series) => ({ node, round, series }));
  const moved = round % 2 === 0 ? STRAY_MS : -STRAY_MS;
  return {
    series: Uint32Array.from(ids, ({ series }) => series),
    timestampsMs: Float64Array.from(
      ids,
      (id) => sampleTime(baseMs, id) + (stray && isStray(id.series) ? moved : 0),
    ),
    values: Float64Array.from(ids, sampleValue),
  };
}
