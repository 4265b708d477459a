/**
 * `parquet`: rows a second and core, and bytes a row, of both encoders, beside DuckDB writing the
 * same rows; on a simulated fleet and on a replayed DCGM export. DuckDB reads every file back and
 * must find the same rows and the same sum of values.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { WarehouseQuery } from '../trials/harness/warehouse-query.ts';
import { packageFile } from '../src/lib/package-root.ts';
import { openParquetWriter } from '../src/collector/writers/parquet/parquet-writer.ts';
import type { Benchmark } from './benchmark.ts';
import { atLeast, atMost, type Bar, type Measurement } from './figures.ts';
import { fleetRecords, type RecordSet, replayRecords } from './sample-records.ts';
import { writeAll, writerDeps } from './writer-rig.ts';

/** Beside the checkout; nothing is measured on it where it is missing. */
const REPLAY_CSV = '../shared/data/dcgm/dcgm_metrics_20250718_134233.csv';
const FLEET = { nodes: 100, rounds: 80 };
const REPLAY_PASSES = 100;
/** parquetjs takes twenty times as long. */
const PARQUETJS_SHARE = 16;

type Encoder = 'hyparquet' | 'parquetjs';
type ParquetSettings = Parameters<typeof openParquetWriter>[0];

interface EncoderOptions {
  readonly rate?: Bar;
  readonly bytes?: Bar;
  /** snappy where nothing is said. */
  readonly compression?: ParquetSettings['compression'];
  readonly withDuckDb?: boolean;
}

export const parquet: Benchmark = {
  name: 'parquet',
  promise: '1.5 million rows a second and core, five bytes a row.',
  runs: 3,
  measure: () => measureParquet(1),
};

/** Also for short forms: `share` of the rows. */
export async function measureParquet(share: number): Promise<Measurement[]> {
  const rounds = Math.ceil(FLEET.rounds * share);
  // The first file pays for the compiler.
  await measureEncoder('warm-up', 'hyparquet', fleetRecords(FLEET.nodes, Math.ceil(rounds / 4)));
  const fleet = fleetRecords(FLEET.nodes, rounds);
  const less = fleetRecords(Math.ceil(FLEET.nodes / PARQUETJS_SHARE), rounds);
  const found = [
    ...(await measureEncoder('fleet', 'hyparquet', fleet, {
      rate: atLeast(1_500_000),
      withDuckDb: true,
    })),
    ...(await measureEncoder('fleet', 'hyparquet', fleet, { compression: 'gzip' })),
    ...(await measureEncoder('fleet', 'parquetjs', less)),
  ];
  const csv = packageFile(REPLAY_CSV);
  if (!fs.existsSync(csv)) return found;
  const replay = await replayRecords(csv, Math.ceil(REPLAY_PASSES * share));
  // Repeated, values repeat and take next to nothing: bytes are those of one pass.
  const once = await replayRecords(csv, 1);
  return [
    ...found,
    ...(await measureEncoder('replay', 'hyparquet', once, { bytes: atMost(5), withDuckDb: true })),
    ...(await measureEncoder('replay', 'hyparquet', once, { compression: 'gzip' })),
    ...(await measureEncoder('replay 100 times', 'hyparquet', replay)),
    ...(await measureEncoder('replay', 'parquetjs', once)),
  ];
}

async function measureEncoder(
  what: string,
  encoder: Encoder,
  set: RecordSet,
  { rate: rateBar, bytes: bytesBar, compression = 'snappy', withDuckDb }: EncoderOptions = {},
): Promise<Measurement[]> {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'telemetry-bench-parquet-'));
  try {
    const writer = openParquetWriter(settings(root, encoder, compression), writerDeps(set));
    const { cpuSeconds } = await writeAll(writer, set);
    await writer.close();
    const files = new WarehouseQuery(root).files();
    await verify(root, set);
    const bytes = files.reduce((sum, file) => sum + fs.statSync(file).size, 0);
    const name = `${what}, ${encoder}${compression === 'gzip' ? ' with gzip' : ''}`;
    return [
      { ...rate(name, set.samples, cpuSeconds), ...(rateBar && { bar: rateBar }) },
      { ...size(name, set.samples, bytes), ...(bytesBar && { bar: bytesBar }) },
      ...(withDuckDb === true ? await measureDuckDb(root, what, set.samples) : []),
    ];
  } finally {
    fs.rmSync(root, { recursive: true, force: true });
  }
}

function settings(
  root: string,
  encoder: Encoder,
  compression: ParquetSettings['compression'],
): ParquetSettings {
  return {
    enabled: true,
    output_dir: root,
    rotation_interval_secs: 3600,
    compression,
    encoder,
    max_file_bytes: 256 * 1024 * 1024,
    row_group_rows: 98_304,
    memory_bytes: 512 * 1024 * 1024,
    retention_days: 0,
    retention_bytes: 0,
    collector_id: 'bench',
    journal_id: 'bench',
  };
}

/** Same rows, same sum: throws otherwise. */
async function verify(root: string, { records, samples }: RecordSet): Promise<void> {
  const [row] = await new WarehouseQuery(root).rows(
    'SELECT count(*)::DOUBLE AS n, sum(value) AS total FROM m',
  );
  let total = 0;
  for (const { samples: columns } of records) for (const value of columns.values) total += value;
  const isSame = Math.abs(Number(row?.total) - total) <= Math.abs(total) * 1e-9;
  if (row?.n !== samples || !isSame) throw new Error(`the file holds ${JSON.stringify(row)}`);
}

/** The rows lie in a table of DuckDB's own before the clock starts; one thread, as ours. */
async function measureDuckDb(root: string, what: string, rows: number): Promise<Measurement[]> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    const out = path.join(root, 'duckdb.parquet');
    await connection.run('SET threads = 1');
    await connection.run(
      `CREATE TABLE t AS SELECT * FROM read_parquet('${root}/metrics/**/*.parquet',
       hive_partitioning = false) ORDER BY metric, node_id, gpu_uuid, labels, ts`,
    );
    const cpu = process.cpuUsage();
    await connection.run(
      `COPY t TO '${out}' (FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 500000)`,
    );
    const { user, system } = process.cpuUsage(cpu);
    const name = `${what}, DuckDB`;
    return [rate(name, rows, (user + system) / 1e6), size(name, rows, fs.statSync(out).size)];
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

function rate(name: string, rows: number, cpuSeconds: number): Measurement {
  return { figure: `rows per CPU-second, ${name}`, value: rows / cpuSeconds, unit: 'rows/CPU-s' };
}

function size(name: string, rows: number, bytes: number): Measurement {
  return { figure: `bytes of a row, ${name}`, value: bytes / rows, unit: 'B' };
}
