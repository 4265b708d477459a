/**
 * The samples that the torture sends. A sample is a function of its node and round, so the oracle
 * can say of any row, from wherever it comes, whether it was ever sent and what its value must be.
 *
 *     time  = base + round, moved by 0, 1 or 2 hours   (every batch lies in three hours at once)
 *           = base + round, back by 1 to 120 hours      (a scattered batch: an hour a sample)
 *     value = ((round × 32 + series) × 16 + node) + ¼   (unique over everything that is sent)
 *
 * What else is particular about a batch, its `BatchForm`, is noted with the obligation.
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
/** Far beyond any bound of time, also of a daemon whose clock is wrong by weeks. */
const STRAY_MS = 400 * 24 * HOUR_MS;
/** Hours that the samples of scattered batches lie in; young enough to be kept. */
export const SCATTER_HOURS = 120;
/** Tables up to this number have a label of their own; those above differ in their order alone. */
export const LABELLED_TABLES = 16;

export interface BatchForm {
  /** Some of its samples have to be refused because of their times. */
  readonly stray: boolean;
  /** Its samples lie in as many hours as it has samples. */
  readonly scattered: boolean;
  /** The series table that it is sent with; 0 is the usual one. */
  readonly table: number;
}

export const PLAIN: BatchForm = { stray: false, scattered: false, table: 0 };

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

export function scatteredTime(baseMs: number, { round, series }: SampleId): number {
  return baseMs + round - (1 + scatteredHour(round, series)) * HOUR_MS;
}

/** The hours of a scattered batch, counted back from the oldest of the usual ones. */
export function scatteredHours(round: number): number[] {
  return Array.from({ length: SERIES }, (_, series) => scatteredHour(round, series));
}

function scatteredHour(round: number, series: number): number {
  return (round + series) % SCATTER_HOURS;
}

/** The round of a sample, from its time. */
export function roundOfTime(baseMs: number, timeMs: number): number {
  return (((timeMs - baseMs) % HOUR_MS) + HOUR_MS) % HOUR_MS;
}

/** Whether the collector has to refuse a sample of a stray batch because of its time. */
export function isStray(series: number): boolean {
  return series % STRAY_EVERY === 0;
}

/** What the label `variant` says in a table of this number; 0 where there is none. */
export function variantOf(table: number): number {
  return table <= LABELLED_TABLES ? table : 0;
}

/**
 * All series of a node; those of one GPU go into one line of line protocol. Each table has them in
 * another order, so that a row that is read with the wrong table is another series' row.
 */
export function tortureTable(table = 0): { readonly table: SeriesTable; readonly order: number[] } {
  const order = Array.from({ length: SERIES }, (_, at) => (at + table) % SERIES);
  const variant = variantOf(table);
  const extra = variant > 0 ? [['variant', String(variant)] as const] : [];
  const series = order.map((one) => ({
    name: metricName(one),
    labels: [['gpu_uuid', gpuOf(one)], ['note', 'a "b", c=d \\ e'], ...extra] as const,
    kind: 'gauge' as const,
    unit: '1',
  }));
  return { table: encodeSeriesTable(series), order };
}

/**
 * One batch: a sample of each series, in the order of its table. In a stray one the clock is far
 * off for some of them.
 */
export function tortureBatch(
  baseMs: number,
  { node, round }: Pick<SampleId, 'node' | 'round'>,
  form: BatchForm,
  order: readonly number[],
): SampleColumns {
  const ids = order.map((series) => ({ node, round, series }));
  const moved = round % 2 === 0 ? STRAY_MS : -STRAY_MS;
  const time = form.scattered ? scatteredTime : sampleTime;
  return {
    series: Uint32Array.from(ids, (_, at) => at),
    timestampsMs: Float64Array.from(
      ids,
      (id) => time(baseMs, id) + (form.stray && isStray(id.series) ? moved : 0),
    ),
    values: Float64Array.from(ids, sampleValue),
  };
}
