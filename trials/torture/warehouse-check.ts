/**
 * The warehouse as DuckDB reads it, compared with what was promised: every file on its own, then
 * every row.
 */
import fs from 'node:fs';
import path from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { errorMessage } from '../../src/lib/errors.ts';
import { goodSamples, type Obligations } from './obligations.ts';
import { HOUR_MS, HOURS } from './samples.ts';

/** A batch of which the warehouse holds something else than it should. */
export interface BatchFlaw {
  readonly what: 'lost' | 'doubled' | 'in part';
  readonly node: number;
  readonly round: number;
  readonly samples: number;
  readonly ackedMs: number | undefined;
}

export interface WarehouseFindings {
  readonly files: number;
  readonly rows: number;
  /** Visible files that cannot be read whole, and what is visible and no warehouse file. */
  readonly unreadable: readonly string[];
  readonly flaws: readonly BatchFlaw[];
  /** The files that hold something of the first flawed batch. */
  readonly filesOfFirstFlaw: readonly string[];
  readonly lostSamples: number;
  readonly doubledSamples: number;
  /** Rows that nobody has sent, or that have another value, time or label than was sent. */
  readonly unknownRows: number;
  readonly firstUnknown: string | undefined;
  /** Samples of batches without an acknowledgement that are there: they may be. */
  readonly unpromisedSamples: number;
}

interface Counts {
  readonly node: number;
  readonly round: number;
  readonly rows: number;
  readonly samples: number;
}

export async function checkWarehouse(
  outputDir: string,
  baseMs: number,
  obligations: Obligations,
): Promise<WarehouseFindings> {
  const metricsDir = path.join(outputDir, 'metrics');
  const { files, strangers } = visibleFiles(metricsDir);
  const instance = await DuckDBInstance.create(':memory:', { threads: '2' });
  const connection = await instance.connect();
  try {
    await connection.run("SET TimeZone = 'UTC'");
    const unreadable = [...strangers, ...(await unreadableFiles(connection, files))];
    const isBad = new Set(unreadable.map((line) => line.split(': ')[0]));
    const good = files.filter((file) => !isBad.has(file));
    if (good.length > 0) await makeRows(connection, good, baseMs);
    const counts = good.length > 0 ? await batchCounts(connection) : [];
    const unknown = good.length > 0 ? await unknownRows(connection) : { rows: 0, first: undefined };
    const judged = judge(counts, unknown, obligations);
    const filesOfFirstFlaw = await filesOf(
      connection,
      good.length > 0 ? judged.flaws[0] : undefined,
    );
    return { files: files.length, unreadable, filesOfFirstFlaw, ...judged };
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
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
        offset_ms % ${HOUR_MS} AS round, offset_ms // ${HOUR_MS} AS hour_at
      FROM raw)
    SELECT node, round, series, filename, node_id, metric, value, ts,
      coalesce(rest_us = 0 AND series BETWEEN 0 AND 23 AND offset_ms >= 0
        AND value = ((round * 32 + series) * 16 + node) + 0.25
        AND hour_at = (round + (series // 8)) % ${HOURS}
        AND node_id = 'torture-' || lpad(node::VARCHAR, 2, '0')
        AND metric = 'torture_' || lpad(series::VARCHAR, 2, '0')
        AND gpu_uuid = 'GPU-' || (series % 4)::VARCHAR
        AND unit = '1' AND kind = 'gauge'
        AND (labels->>'note') = 'a "b", c=d \\ e'
        AND date = ts::DATE AND hour::INT = extract(hour FROM ts), false) AS is_right
    FROM ids`);
}

async function batchCounts(connection: DuckDBConnection): Promise<Counts[]> {
  const reader = await connection.runAndReadAll(`
    SELECT node::DOUBLE AS node, round::DOUBLE AS round, count(*)::DOUBLE AS rows,
      count(DISTINCT series)::DOUBLE AS samples
    FROM samples WHERE is_right GROUP BY ALL ORDER BY ALL`);
  return reader.getRowObjectsJS() as unknown as Counts[];
}

async function unknownRows(
  connection: DuckDBConnection,
): Promise<{ rows: number; first: string | undefined }> {
  const reader = await connection.runAndReadAll(`
    SELECT count(*)::DOUBLE AS rows,
      first(node_id || ' ' || metric || ' ' || value || ' ' || ts || ' in ' || filename) AS first
    FROM samples WHERE NOT is_right`);
  const [row] = reader.getRowObjectsJS() as unknown as { rows: number; first: string | null }[];
  return { rows: row?.rows ?? 0, first: row?.first ?? undefined };
}

async function filesOf(
  connection: DuckDBConnection,
  flaw: BatchFlaw | undefined,
): Promise<string[]> {
  if (flaw === undefined) return [];
  const reader = await connection.runAndReadAll(
    `SELECT DISTINCT filename FROM samples
     WHERE node = ${flaw.node} AND round = ${flaw.round} ORDER BY 1`,
  );
  return reader.getRowObjectsJS().map(({ filename }) => String(filename));
}

function judge(
  counts: readonly Counts[],
  unknown: { readonly rows: number; readonly first: string | undefined },
  obligations: Obligations,
): Omit<WarehouseFindings, 'files' | 'unreadable' | 'filesOfFirstFlaw'> {
  const flaws: BatchFlaw[] = [];
  const seen = new Set<string>();
  let { rows: unknownCount, first: firstUnknown } = unknown;
  let [rows, unpromisedSamples] = [unknown.rows, 0];
  for (const { node, round, ...found } of counts) {
    rows += found.rows;
    const batch = obligations.get(node, round);
    if (batch === undefined) {
      unknownCount += found.rows;
      firstUnknown ??= `node ${node} never sent round ${round}`;
      continue;
    }
    seen.add(`${node}/${round}`);
    const { ackedMs } = batch;
    if (ackedMs === undefined) unpromisedSamples += found.samples;
    const flaw = (what: BatchFlaw['what'], samples: number) => {
      if (samples > 0) flaws.push({ what, node, round, samples, ackedMs });
    };
    flaw('doubled', found.rows - found.samples);
    flaw(ackedMs === undefined ? 'in part' : 'lost', goodSamples(batch) - found.samples);
    // A sample beyond the good ones is one that had to be refused.
    if (found.samples > goodSamples(batch)) unknownCount += found.samples - goodSamples(batch);
  }
  for (const [key, batch] of obligations.batches) {
    if (batch.ackedMs === undefined || seen.has(key)) continue;
    flaws.push({ ...batch, what: 'lost', samples: goodSamples(batch) });
  }
  flaws.sort((a, b) => (a.ackedMs ?? Infinity) - (b.ackedMs ?? Infinity));
  const sum = (what: BatchFlaw['what']) =>
    flaws.reduce((total, flaw) => total + (flaw.what === what ? flaw.samples : 0), 0);
  return {
    rows,
    flaws,
    lostSamples: sum('lost'),
    doubledSamples: sum('doubled'),
    unknownRows: unknownCount,
    firstUnknown,
    unpromisedSamples,
  };
}

function quoted(files: readonly string[]): string {
  return `[${files.map((file) => `'${file.replaceAll("'", "''")}'`).join(', ')}]`;
}
