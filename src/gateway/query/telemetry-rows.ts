/**
 * Samples of GPUs out of the tail: the rows as they came, or one value for each series and step.
 */
import { identifyLabels } from '../../domain/gpu-identity.ts';
import type { Series } from '../../domain/telemetry.ts';
import type { FirstRows } from './first-rows.ts';
import { compareKeys, type SortKey } from './sort-key.ts';
import { Selection, type LiveFilter } from '../live/live-filter.ts';
import type { Scope } from '../access/roles.ts';
import type { Tail } from '../tail/tail.ts';

/** One sample. */
export interface TelemetryRow {
  readonly tsMs: number;
  readonly node: string;
  readonly series: Series;
  readonly value: number;
  /** Tells equal rows apart: the batch and the place in it. */
  readonly occurrence: string;
}

export const AGGREGATES = ['avg', 'min', 'max', 'last', 'p50', 'p95', 'p99', 'increase'] as const;
export type Aggregate = (typeof AGGREGATES)[number];

export interface TelemetryQuestion {
  readonly nodes: readonly string[];
  readonly filter: LiveFilter;
  readonly scope: Scope;
  /** Unix ms, half-open. */
  readonly startMs: number;
  readonly endMs: number;
}

/** Records of one turn; other requests go in between. */
const RECORDS_PER_TURN = 500;

/** What rows are sorted by. */
export function rowKey({ tsMs, node, series, occurrence }: TelemetryRow): SortKey {
  return [tsMs, node, series.name, occurrence];
}

/** Hands every row of the question to `first`, in turns. */
export async function collectRows(
  tail: Tail,
  question: TelemetryQuestion,
  first: FirstRows<TelemetryRow>,
): Promise<void> {
  let records = 0;
  for (const row of matchingRows(tail, question)) {
    if (row !== 'record') first.add(rowKey(row), row);
    else if (++records % RECORDS_PER_TURN === 0) await new Promise(setImmediate);
  }
}

/** The rows of the question in the order of the tail, and a word at the end of each record. */
function* matchingRows(
  tail: Tail,
  { nodes, filter, scope, startMs, endMs }: TelemetryQuestion,
): Iterable<TelemetryRow | 'record'> {
  const selection = new Selection(filter, scope);
  for (const node of nodes) {
    for (const { source, seq, table, samples } of tail.ofNode(node)) {
      yield 'record';
      const taken = selection.of(node, table);
      if (taken === null) continue;
      const { series, timestampsMs, values } = samples;
      for (let i = 0; i < series.length; i += 1) {
        const index = series[i]!;
        const tsMs = timestampsMs[i]!;
        if (taken[index] !== 1 || tsMs < startMs || tsMs >= endMs) continue;
        const occurrence = `${source}:${seq}:${i}`;
        yield { tsMs, node, series: table.series[index]!, value: values[i]!, occurrence };
      }
    }
  }
}

/**
 * One row for each series and step; a step begins at a multiple of `stepMs` and its row carries
 * that time. A step without samples has no row. An increase needs two samples, one of which may be
 * in a step before; a counter that falls has started again from 0.
 */
export function aggregateRows(
  rows: readonly TelemetryRow[],
  stepMs: number,
  aggregate: Aggregate,
): TelemetryRow[] {
  const bySeries = new Map<string, TelemetryRow[]>();
  for (const row of rows) {
    const key = JSON.stringify([row.node, row.series.name, row.series.unit, row.series.labels]);
    const list = bySeries.get(key);
    if (list === undefined) bySeries.set(key, [row]);
    else list.push(row);
  }
  const steps = [...bySeries.values()].flatMap((list) =>
    aggregate === 'increase' ? increases(list, stepMs) : reduceSteps(list, stepMs, aggregate),
  );
  return steps.sort((a, b) => compareKeys(rowKey(a), rowKey(b)));
}

function reduceSteps(rows: readonly TelemetryRow[], stepMs: number, aggregate: Aggregate) {
  const steps = new Map<number, TelemetryRow[]>();
  for (const row of rows) {
    const startMs = Math.floor(row.tsMs / stepMs) * stepMs;
    const list = steps.get(startMs);
    if (list === undefined) steps.set(startMs, [row]);
    else list.push(row);
  }
  return [...steps].map(([tsMs, list]) => {
    const values = list.map(({ value }) => value);
    return { ...list[0]!, tsMs, value: reduceValues(values, aggregate) };
  });
}

function reduceValues(values: readonly number[], aggregate: Aggregate): number {
  switch (aggregate) {
    case 'avg':
      return values.reduce((sum, value) => sum + value, 0) / values.length;
    case 'min':
      return values.reduce((a, b) => Math.min(a, b));
    case 'max':
      return values.reduce((a, b) => Math.max(a, b));
    case 'p50':
      return percentile(values, 0.5);
    case 'p95':
      return percentile(values, 0.95);
    case 'p99':
      return percentile(values, 0.99);
    default:
      return values.at(-1)!;
  }
}

/** Between the two nearest values, in proportion. */
function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const low = sorted[Math.floor(place)]!;
  const high = sorted[Math.ceil(place)]!;
  return low + (high - low) * (place - Math.floor(place));
}

function increases(rows: readonly TelemetryRow[], stepMs: number): TelemetryRow[] {
  const steps = new Map<number, TelemetryRow>();
  for (let i = 1; i < rows.length; i += 1) {
    const row = rows[i]!;
    const before = rows[i - 1]!.value;
    const grown = row.value >= before ? row.value - before : row.value;
    const tsMs = Math.floor(row.tsMs / stepMs) * stepMs;
    const value = (steps.get(tsMs)?.value ?? 0) + grown;
    steps.set(tsMs, { ...row, tsMs, value });
  }
  return [...steps.values()];
}

/** A row as the API shows it. */
export function describeRow({ tsMs, node, series, value }: TelemetryRow): Record<string, unknown> {
  const { identities, rest } = identifyLabels(series.labels);
  return {
    ts: new Date(tsMs).toISOString(),
    node,
    gpu_uuid: identities.gpu_uuid ?? null,
    gpu_index: identities.gpu_index ?? null,
    gpu_instance_id: identities.gpu_instance_id ?? null,
    metric: series.name,
    unit: series.unit,
    value,
    namespace: identities.namespace ?? null,
    pod: identities.pod ?? null,
    container: identities.container ?? null,
    job: identities.job ?? null,
    labels: Object.fromEntries(rest),
  };
}
