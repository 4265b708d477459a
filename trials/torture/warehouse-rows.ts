/**
 * The visible files of a warehouse as DuckDB reads them: every file on its own, then all rows
 * together, summed up by batch. Says of each row whether it is one that the torture sends.
 */
import fs from 'node:fs';
import path from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { errorMessage } from '../../src/lib/errors.ts';
import { HOUR_MS, HOURS, SCATTER_HOURS } from './samples.ts';

/** What the warehouse holds of one batch. */
export interface BatchRows {
  readonly node: number;
  readonly round: number;
  readonly rows: number;
  /** Distinct samples. */
  readonly samples: number;
  /** What the label `variant` says, 0 where there is none: lowest and highest. */
  readonly variantMin: number;
  readonly variantMax: number;
  /** Rows whose times are those of a scattered batch. */
  readonly scattered: number;
  /** Unix ms. */
  readonly receivedMinMs: number;
  readonly receivedMaxMs: number;
}

export interface WarehouseRows {
  readonly files: readonly string[];
  /** Visible files that cannot be read whole, and what is visible and no warehouse file. */
  readonly unreadable: readonly string[];
  readonly batches: readonly BatchRows[];
  /** Rows that are no samples of the torture. */
  readonly strangers: { readonly rows: number; readonly first: string | undefined };
}

/**
 * Reads all of it; `more` may look further while it is open. `checked` reads each file on its own
 * first, all columns.
 */
export async function readWarehouse<More>(
  outputDir: string,
  baseMs: number,
  more: (rows: WarehouseRows, connection: DuckDBConnection) => Promise<More>,
): Promise<More> {
  const { files, strangers } = visibleFiles(path.join(outputDir, 'metrics'));
  const instance = await DuckDBInstance.create(':memory:', { threads: '2' });
  const connection = await instance.connect();
  try {
    await connection.run("SET TimeZone = 'UTC'");
    const unreadable = [...strangers, ...(await unreadableFiles(connection, files))];
    const isBad = new Set(unreadable.map((line) => line.split(': ')[0]));
    const good = files.filter((file) => !isBad.has(file));
    const hasRows = good.length > 0;
    if (hasRows) await makeRows(connection, good, baseMs);
    const rows = {
      files,
      unreadable,
      batches: hasRows ? await batchRows(connection) : [],
      strangers: hasRows ? await strangerRows(connection) : { rows: 0, first: undefined },
    };
    return await more(rows, connection);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

/** By `node/round`: how many samples of the batch are visible. */
export function visibleSamples(outputDir: string, baseMs: number): Promise<Map<string, number>> {
  return readWarehouse(
    outputDir,
    baseMs,
    async ({ batches }) =>
      new Map(batches.map(({ node, round, samples }) => [`${node}/${round}`, samples])),
  );
}

function visibleFiles(metricsDir: string): { files: string[]; strangers: string[] } {
  if (!fs.existsSync(metricsDir)) return { files: [], strangers: [] };
  const entries = fs
    .readdirSync(metricsDir, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort();
  return {
    files: entries.filter((name) => name.endsWith('.parquet')),
    strangers: entries
      .filter((name) => !name.endsWith('.parquet'))
      .map((name) => `${name}: is no warehouse file and visible`),
  };
}

/** Reads every column of every file, one file at a time. */
async function unreadableFiles(
  connection: DuckDBConnection,
  files: readonly string[],
): Promise<string[]> {
  const bad: string[] = [];
  for (const file of files) {
    try {
      await connection.run(
        `SELECT count(*), max(ts), max(metric), sum(value), max(unit), max(kind), max(node_id),
           max(gpu_uuid), max(labels), max(received_at) FROM read_parquet(${quoted([file])})`,
      );
    } catch (error) {
      bad.push(`${file}: ${errorMessage(error)}`);
    }
  }
  return bad;
}

/** All rows as samples, with whether each is what the torture sends. */
async function makeRows(
  connection: DuckDBConnection,
  files: readonly string[],
  baseMs: number,
): Promise<void> {
  await connection.run(`
    CREATE TABLE samples AS
    WITH raw AS (
      SELECT *, epoch_ms(ts) - ${baseMs} AS offset_ms, epoch_us(ts) % 1000 AS rest_us
      FROM read_parquet(${quoted(files)}, hive_partitioning = true, filename = true)),
    ids AS (
      SELECT *, try_cast(node_id[9:] AS INT) AS node, try_cast(metric[9:] AS INT) AS series,
        ((offset_ms % ${HOUR_MS}) + ${HOUR_MS}) % ${HOUR_MS} AS round
      FROM raw),
    hours AS (
      SELECT *, (offset_ms - round) // ${HOUR_MS} AS hour_at,
        coalesce(try_cast(labels->>'variant' AS INT), 0) AS variant
      FROM ids)
    SELECT node, round, series, filename, node_id, metric, value, ts, variant,
      hour_at < 0 AS is_scattered, epoch_ms(received_at) AS received_ms,
      coalesce(rest_us = 0 AND series BETWEEN 0 AND 23
        AND value = ((round * 32 + series) * 16 + node) + 0.25
        AND hour_at = CASE WHEN hour_at < 0 THEN -1 - (round + series) % ${SCATTER_HOURS}
          ELSE (round + (series // 8)) % ${HOURS} END
        AND node_id = 'torture-' || lpad(node::VARCHAR, 2, '0')
        AND metric = 'torture_' || lpad(series::VARCHAR, 2, '0')
        AND gpu_uuid = 'GPU-' || (series % 4)::VARCHAR
        AND unit = '1' AND kind = 'gauge'
        AND (labels->>'note') = 'a "b", c=d \\ e'
        AND date = ts::DATE AND hour::INT = extract(hour FROM ts), false) AS is_right
    FROM hours`);
}

async function batchRows(connection: DuckDBConnection): Promise<BatchRows[]> {
  const reader = await connection.runAndReadAll(`
    SELECT node::DOUBLE AS node, round::DOUBLE AS round, count(*)::DOUBLE AS rows,
      count(DISTINCT series)::DOUBLE AS samples,
      min(variant)::DOUBLE AS "variantMin", max(variant)::DOUBLE AS "variantMax",
      count(*) FILTER (is_scattered)::DOUBLE AS scattered,
      min(received_ms)::DOUBLE AS "receivedMinMs", max(received_ms)::DOUBLE AS "receivedMaxMs"
    FROM samples WHERE is_right GROUP BY node, round ORDER BY ALL`);
  return reader.getRowObjectsJS() as unknown as BatchRows[];
}

async function strangerRows(connection: DuckDBConnection): Promise<WarehouseRows['strangers']> {
  const reader = await connection.runAndReadAll(`
    SELECT count(*)::DOUBLE AS rows,
      first(node_id || ' ' || metric || ' ' || value || ' ' || ts || ' in ' || filename) AS first
    FROM samples WHERE NOT is_right`);
  const [row] = reader.getRowObjectsJS() as unknown as { rows: number; first: string | null }[];
  return { rows: row?.rows ?? 0, first: row?.first ?? undefined };
}

function quoted(files: readonly string[]): string {
  return `[${files.map((file) => `'${file.replaceAll("'", "''")}'`).join(', ')}]`;
}
