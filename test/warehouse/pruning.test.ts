/**
 * What a question for one metric of one node costs: a small part of the hour's file, in each of the
 * engines that analysts use.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packageFile } from '../../src/lib/package-root.ts';
import { type Bench, createBench, drive } from '../helpers/warehouse-bench.ts';
import { makeRecord, makeSeries, makeTable, warehousePaths } from '../helpers/warehouse-rows.ts';

const START = Date.parse('2025-07-18T20:00:00Z');
const METRICS = 50;
const NODES = 40;
const ROUNDS = 500;
/** As many row groups as the default makes of an hour of 50,000 series every ten seconds. */
const ROW_GROUP_ROWS = 7500;
const SHARE_MAX = 0.05;
/** An interpreter with pyarrow and datafusion; .ci/run makes one. */
const PYTHON = process.env.WAREHOUSE_PYTHON ?? 'python3';

let bench: Bench;
let file: string;

beforeAll(async () => {
  bench = createBench();
  const names = Array.from({ length: METRICS }, (_, i) => `metric_${String(i).padStart(2, '0')}`);
  const writer = bench.open({ row_group_rows: ROW_GROUP_ROWS });
  const journal = Array.from({ length: NODES * 10 }, (_, i) => {
    const labels = { UUID: `GPU-${i % NODES}` };
    const table = bench.addTable(makeTable(names.map((name) => makeSeries(name, labels))));
    const samples = Array.from({ length: (METRICS * ROUNDS) / 10 }, (_, k) => ({
      series: k % METRICS,
      timestampMs: START + Math.floor(i / NODES) * 300_000 + Math.floor(k / METRICS) * 6000,
      value: Math.sin(i * 7919 + k),
    }));
    return { ...makeRecord(i + 1, table, samples), nodeId: `node-${i % NODES}` };
  });
  await drive(writer, journal, 10);
  const files = warehousePaths(bench.root);
  expect(files).toHaveLength(1);
  file = files[0]!;
}, 60_000);

afterAll(() => fs.rmSync(bench.root, { recursive: true, force: true }));

test('DuckDB reads at most a twentieth of the file', async () => {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const rows = async (sql: string) => (await connection.runAndReadAll(sql)).getRowObjectsJson();
  try {
    await connection.run("CALL enable_logging('FileSystem')");
    const found = await rows(
      `SELECT count(*)::INT AS n, avg(value) AS mean, max(ts) AS last FROM '${file}'
       WHERE metric = 'metric_31' AND node_id = 'node-17'`,
    );
    expect(found).toMatchObject([{ n: ROUNDS }]);
    const [log] = await rows(
      `SELECT sum(bytes)::INT AS bytes FROM duckdb_logs_parsed('FileSystem') WHERE op = 'READ'`,
    );
    expect(Number(log!.bytes)).toBeGreaterThan(0);
    expect(Number(log!.bytes) / fs.statSync(file).size).toBeLessThan(SHARE_MAX);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
});

test.for(['pyarrow', 'datafusion'])(
  '%s reads at most a twentieth of the file',
  (engine, context) => {
    if (!hasPackages(PYTHON, engine)) {
      const message = `${PYTHON} has no ${engine}: see PYTHON_PACKAGES in .ci/run`;
      if (process.env.CI === 'true') throw new Error(message);
      return context.skip(message);
    }
    const script = packageFile('test/warehouse/pruning.py');
    const said = execFileSync(PYTHON, [script, engine, file, 'metric_31', 'node-17']);
    const { rows, bytes } = JSON.parse(said.toString()) as { rows: number; bytes: number };
    expect(rows).toBe(ROUNDS);
    expect(bytes).toBeGreaterThan(0);
    expect(bytes / fs.statSync(file).size).toBeLessThan(SHARE_MAX);
  },
);

function hasPackages(python: string, engine: string): boolean {
  try {
    execFileSync(python, ['-c', `import pyarrow, ${engine}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
