/** The views of docs/views.sql, over files that the writer made. */
import fs from 'node:fs';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterEach, expect, test } from 'vitest';
import { packageFile } from '../../src/lib/package-root.ts';
import { BENCH_START_MS, type Bench, createBench, drive } from '../helpers/warehouse-bench.ts';
import { makeRecord, makeSeries, makeTable } from '../helpers/warehouse-rows.ts';

let bench: Bench;
afterEach(() => fs.rmSync(bench.root, { recursive: true, force: true }));

async function openViews() {
  bench = createBench();
  const series = [
    makeSeries('util', { UUID: 'GPU-a', gpu: '0', modelName: 'H100', pci_bus_id: '0000:01:00' }),
    makeSeries('temp', { UUID: 'GPU-a' }),
    makeSeries('power', { gpu: '0', rack: 'r"1' }),
    makeSeries('slice', { UUID: 'GPU-b', GPU_I_ID: '7', GPU_I_PROFILE: '1g.10gb' }),
    makeSeries('load1'),
  ];
  const table = bench.addTable(makeTable(series));
  const samples = series.map((_, i) => ({ series: i, timestampMs: BENCH_START_MS + i, value: i }));
  await drive(bench.open(), [makeRecord(1, table, samples)], 1);
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const sql = fs.readFileSync(packageFile('docs/views.sql'), 'utf8');
  await connection.run("SET TimeZone = 'Asia/Tokyo'");
  await connection.run(sql.replace('/var/lib/horizon/telemetry', bench.root));
  return async (query: string) => (await connection.runAndReadAll(query)).getRowObjectsJson();
}

test('labels become columns, and rows of their own', async () => {
  const rows = await openViews();
  expect(
    await rows('SELECT gpu_instance_id AS id, gpu_instance_profile AS p FROM samples WHERE id = 7'),
  ).toEqual([{ id: '7', p: '1g.10gb' }]);
  expect(await rows(`SELECT metric, text FROM series_labels WHERE label = 'rack'`)).toEqual([
    { metric: 'power', text: 'r"1' },
  ]);
});

test('what one series knows of a GPU is told of its other series, too', async () => {
  const rows = await openViews();
  expect(await rows('SELECT gpu_uuid, gpu_model, pci_bus_id FROM gpus ORDER BY 1')).toEqual([
    { gpu_uuid: 'GPU-a', gpu_model: 'H100', pci_bus_id: '0000:01:00' },
    { gpu_uuid: 'GPU-b', gpu_model: null, pci_bus_id: null },
  ]);
  const found = await rows(
    'SELECT metric, gpu_uuid, gpu_model, gpu_index FROM gpu_samples ORDER BY metric',
  );
  expect(found.map((row) => Object.values(row).join(' '))).toEqual([
    'power GPU-a H100 0',
    'slice GPU-b  ',
    'temp GPU-a H100 0',
    'util GPU-a H100 0',
  ]);
});

test('a day is a day in UTC, whatever zone the session has', async () => {
  const rows = await openViews();
  expect(
    await rows('SELECT DISTINCT date::VARCHAR AS date, hour::INT AS hour FROM metrics'),
  ).toEqual([{ date: '2025-07-18', hour: 20 }]);
  expect(await rows('SELECT min(ts)::VARCHAR AS first FROM metrics')).toEqual([
    { first: '2025-07-18 20:42:34+00' },
  ]);
});
