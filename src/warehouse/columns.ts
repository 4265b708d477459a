/**
 * The warehouse table: its columns, and what a series puts into those that are the same for all of
 * its samples. docs/format/warehouse.md describes them for readers; only nullable columns may be
 * added, and then `WAREHOUSE_SCHEMA_VERSION` rises.
 */
import { type IdentityKey, identifyLabels } from '../domain/gpu-identity.ts';
import type { Labels } from '../domain/telemetry.ts';

export const WAREHOUSE_SCHEMA_VERSION = 1;

/** A string column whose value depends on the series alone. */
export interface SeriesColumn {
  readonly name: string;
  /** Absent values are NULL (with parquetjs, which cannot write NULL, the empty string). */
  readonly nullable: boolean;
}

/** The first four are of the series; the others are in the order of `labelCells`. */
export const SERIES_COLUMNS = [
  { name: 'metric', nullable: false },
  { name: 'unit', nullable: false },
  { name: 'kind', nullable: false },
  { name: 'node_id', nullable: false },
  { name: 'gpu_uuid', nullable: true },
  { name: 'gpu_index', nullable: true },
  { name: 'gpu_model', nullable: true },
  { name: 'namespace', nullable: true },
  { name: 'pod', nullable: true },
  { name: 'container', nullable: true },
  { name: 'job', nullable: true },
  { name: 'labels', nullable: false },
] as const satisfies readonly SeriesColumn[];

/** Where the values of a column come from: a sample's own fields, or `SERIES_COLUMNS[index]`. */
export type ColumnSource = 'timestamp' | 'value' | 'received' | number;

export interface WarehouseColumn {
  readonly name: string;
  readonly nullable: boolean;
  readonly source: ColumnSource;
}

const seriesColumn = (name: (typeof SERIES_COLUMNS)[number]['name']): WarehouseColumn => {
  const index = SERIES_COLUMNS.findIndex((column) => column.name === name);
  return { name, nullable: SERIES_COLUMNS[index]!.nullable, source: index };
};

/** In file order: what a query for one metric of one GPU reads comes first. */
export const WAREHOUSE_COLUMNS: readonly WarehouseColumn[] = [
  { name: 'ts', nullable: false, source: 'timestamp' },
  seriesColumn('metric'),
  { name: 'value', nullable: false, source: 'value' },
  ...SERIES_COLUMNS.slice(1).map((column) => seriesColumn(column.name)),
  { name: 'received_at', nullable: false, source: 'received' },
];

const COLUMN_IDENTITIES = [
  'gpu_uuid',
  'gpu_index',
  'gpu_model',
  'namespace',
  'pod',
  'container',
  'job',
] as const satisfies readonly IdentityKey[];

/** Identities without a column of their own; they are in `labels` under their canonical name. */
export const LABEL_IDENTITIES = [
  'gpu_instance_id',
  'gpu_instance_profile',
  'pci_bus_id',
] as const satisfies readonly IdentityKey[];

/** What a series puts into the columns that come of its labels, the last of `SERIES_COLUMNS`. */
export function labelCells(labels: Labels): (string | null)[] {
  const { identities, rest } = identifyLabels(labels);
  const others = new Map(rest);
  for (const key of LABEL_IDENTITIES) {
    const value = identities[key];
    if (value !== undefined) others.set(freeKey(others, key), value);
  }
  return [...COLUMN_IDENTITIES.map((key) => identities[key] ?? null), toJson(others)];
}

/** A series may spell an identity twice (`GPU_I_ID` and `gpu_instance_id`); keep both values. */
function freeKey(labels: ReadonlyMap<string, string>, key: string): string {
  return labels.has(key) ? freeKey(labels, `${key}_`) : key;
}

/** A JSON object with sorted keys; `{}` where there is none, so that JSON functions always work. */
function toJson(labels: ReadonlyMap<string, string>): string {
  const entries = [...labels].sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`;
}

/**
 * The cells that order series in a row group, most significant first: metric, node, GPU, labels,
 * then the rest so that the order is total. Texts compare as `compareText` has it; NULL is first.
 */
export const SORT_CELLS: readonly number[] = orderOfCells(
  'metric',
  'node_id',
  'gpu_uuid',
  'labels',
);

function orderOfCells(...first: (typeof SERIES_COLUMNS)[number]['name'][]): number[] {
  const names = SERIES_COLUMNS.map(({ name }) => name);
  const rest = names.filter((name) => !first.includes(name));
  return [...first, ...rest].map((name) => names.indexOf(name));
}

/**
 * Compares texts by code point, the order of their UTF-8 bytes; `<` compares UTF-16 units, which
 * puts U+1F600 before U+FF61.
 */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return codeUnitRank(x) - codeUnitRank(y);
  }
  return a.length - b.length;
}

/** Moves surrogates above the rest of the basic plane, where their code points belong. */
function codeUnitRank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}
