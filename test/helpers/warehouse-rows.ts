/**
 * Records for the warehouse writer, the rows that readers must find for them, and two independent
 * readers: DuckDB and hyparquet.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { DuckDBInstance } from '@duckdb/node-api';
import { parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import type { Series, SeriesTable } from '../../src/domain/telemetry.ts';
import type { WriterRecord } from '../../src/collector/writers/writer.ts';

/** One row as a reader sees it; times in microseconds. */
export type WarehouseRow = Readonly<Record<(typeof ROW_COLUMNS)[number], unknown>>;

export const ROW_COLUMNS = [
  'ts',
  'metric',
  'value',
  'unit',
  'kind',
  'node_id',
  'gpu_uuid',
  'gpu_index',
  'gpu_model',
  'namespace',
  'pod',
  'container',
  'job',
  'labels',
  'received_at',
] as const;

export interface Sample {
  /** Index into the table's series. */
  readonly series: number;
  readonly timestampMs: number;
  readonly value: number;
}

export function makeSeries(
  name: string,
  labels: Readonly<Record<string, string>> = {},
  rest: Partial<Series> = {},
): Series {
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return { name, labels: sorted, kind: 'gauge', unit: '', ...rest };
}

/** A table as the codec would make it, but for its bytes, which no writer reads. */
export function makeTable(series: readonly Series[]): SeriesTable {
  const bytes = new TextEncoder().encode(JSON.stringify(series));
  return { id: createHash('sha256').update(bytes).digest('hex').slice(0, 32), bytes, series };
}

export function makeRecord(
  seq: number,
  table: SeriesTable,
  samples: readonly Sample[],
  rest: Partial<WriterRecord> = {},
): WriterRecord {
  return {
    seq,
    nodeId: 'node-1',
    epoch: 1,
    sequence: seq,
    receivedAtMs: (samples[0]?.timestampMs ?? 0) + 250,
    tableId: table.id,
    samples: {
      series: Uint32Array.from(samples, ({ series }) => series),
      timestampsMs: Float64Array.from(samples, ({ timestampMs }) => timestampMs),
      values: Float64Array.from(samples, ({ value }) => value),
    },
    bytes: 100 + 13 * samples.length,
    ...rest,
  };
}

/** Label spellings that the tests use, and the columns they belong to. */
const COLUMN_LABELS: Readonly<Record<string, string>> = {
  UUID: 'gpu_uuid',
  gpu: 'gpu_index',
  modelName: 'gpu_model',
  namespace: 'namespace',
  exported_pod: 'pod',
  pod: 'pod',
  container: 'container',
  job: 'job',
};
const LABEL_NAMES: Readonly<Record<string, string>> = {
  GPU_I_ID: 'gpu_instance_id',
  GPU_I_PROFILE: 'gpu_instance_profile',
};

/** What must be in the warehouse for `records`, once each. */
export function expectedRows(
  records: readonly WriterRecord[],
  tables: ReadonlyMap<string, SeriesTable>,
): WarehouseRow[] {
  return records.flatMap(({ nodeId, receivedAtMs, tableId, samples }) =>
    Array.from(samples.series, (index, i) => {
      const series = tables.get(tableId)!.series[index]!;
      const columns: Record<string, string> = {};
      const labels: Record<string, string> = {};
      for (const [key, value] of series.labels) {
        const column = COLUMN_LABELS[key];
        if (column === undefined) labels[LABEL_NAMES[key] ?? key] = value;
        else columns[column] = value;
      }
      const row: Record<string, unknown> = {
        ts: Math.round(samples.timestampsMs[i]! * 1000),
        metric: series.name,
        value: samples.values[i]!,
        unit: series.unit,
        kind: series.kind,
        node_id: nodeId,
        labels: JSON.stringify(Object.fromEntries(Object.entries(labels).sort())),
        received_at: receivedAtMs * 1000,
        ...columns,
      };
      return Object.fromEntries(
        ROW_COLUMNS.map((column) => [column, row[column] ?? null]),
      ) as WarehouseRow;
    }),
  );
}

/** Rows as sorted texts, so that two sets of rows can be compared. */
export function canonical(rows: readonly WarehouseRow[]): string[] {
  return rows.map((row) => JSON.stringify(ROW_COLUMNS.map((column) => row[column]))).sort();
}

/** Runs one query in a DuckDB of its own. */
export async function duckdb(sql: string): Promise<Record<string, unknown>[]> {
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' });
  const connection = await instance.connect();
  try {
    const reader = await connection.runAndReadAll(sql);
    return reader.getRowObjectsJS() as Record<string, unknown>[];
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

/** All files of a warehouse, or those that `pattern` names. */
export function warehouseGlob(root: string): string {
  return `read_parquet('${root}/metrics/**/*.parquet', hive_partitioning=true)`;
}

/** Every row that DuckDB finds under `root`; `emptyIsNull` for files of parquetjs. */
export async function duckdbRows(root: string, emptyIsNull = false): Promise<WarehouseRow[]> {
  if (warehousePaths(root).length === 0) return [];
  const columns = ROW_COLUMNS.map((column) =>
    column === 'ts' || column === 'received_at' ? `epoch_us(${column}) AS ${column}` : column,
  );
  const rows = await duckdb(`SELECT ${columns.join(', ')} FROM ${warehouseGlob(root)}`);
  return rows.map((row) => plainRow(row, emptyIsNull));
}

/** Every row that hyparquet finds in one file, in file order. */
export async function hyparquetRows(file: string, emptyIsNull = false): Promise<WarehouseRow[]> {
  const bytes = new Uint8Array(fs.readFileSync(file)).buffer;
  const rows = await parquetReadObjects({ file: bytes, compressors });
  return rows.map((row) => plainRow(row, emptyIsNull));
}

function plainRow(row: Record<string, unknown>, emptyIsNull: boolean): WarehouseRow {
  return Object.fromEntries(
    ROW_COLUMNS.map((column) => {
      const value = row[column];
      if (value instanceof Date) return [column, value.getTime() * 1000];
      if (typeof value === 'bigint') return [column, Number(value)];
      const isAbsent = emptyIsNull && column.match(/^(gpu_|namespace|pod|container|job)/) !== null;
      return [column, isAbsent && value === '' ? null : value];
    }),
  ) as WarehouseRow;
}

/** Visible files under `root`, sorted. */
export function warehousePaths(root: string): string[] {
  if (!fs.existsSync(`${root}/metrics`)) return [];
  return fs
    .readdirSync(`${root}/metrics`, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.parquet'))
    .map((name) => `${root}/metrics/${name}`)
    .sort();
}
