/** What backfill writes is what the InfluxDB writer wrote: the same points, to the last tag. */

import fs from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../../src/lib/clock.ts';
import { nodeFileSystem } from '../../../src/lib/filesystem.ts';
import type { Series } from '../../../src/domain/telemetry.ts';
import { backfillInflux } from '../../../src/collector/repair/backfill.ts';
import { InfluxClient } from '../../../src/collector/writers/influx/influx-client.ts';
import { openInfluxWriter } from '../../../src/collector/writers/influx/influx-writer.ts';
import { addFleet } from '../../helpers/gpu-fleet.ts';
import { influxSettings } from '../../helpers/influx-settings.ts';
import { InfluxStandIn } from '../../helpers/influx-stand-in.ts';
import { createBench } from '../../helpers/warehouse-bench.ts';
import { writerDeps } from '../../helpers/writer-deps.ts';
import { gauge, RecordBook } from '../../helpers/writer-records.ts';

const START_MS = Date.parse('2025-07-18T20:30:00Z');
const HOUR_MS = 3_600_000;

/** Series that the rules of InfluxDB points treat in every way there is. */
function trickySeries(): Series[] {
  return [
    gauge('util', { gpu: '0', UUID: 'GPU-a', modelName: 'H100', pod: 'x', exported_pod: 'y' }),
    gauge('temp', { gpu: '0', UUID: 'GPU-a', modelName: 'H100', pod: 'x', exported_pod: 'y' }),
    // Two pods on one GPU: kept apart by a tag that neither would have alone.
    gauge('mem', { gpu: '1', UUID: 'GPU-b', pod: 'left' }),
    gauge('mem', { gpu: '1', UUID: 'GPU-b', pod: 'right' }),
    gauge('slice', { gpu: '2', GPU_I_ID: '7', gpu_instance_id: '8', GPU_I_PROFILE: '1g.10gb' }),
    gauge('load', {}),
    gauge('time', { interface: 'eth0', odd: 'a "quoted", spaced = value\\' }),
    gauge('disk bytes', { mountpoint: '/var lib', load: 'a label named like a metric' }),
    gauge('uuid', { uuid: '3f0a1b2c-0d1e-2f3a-4b5c-6d7e8f9a0b1c', job: 'train' }),
  ];
}

async function setUp(settings: Parameters<ReturnType<typeof createBench>['open']>[0] = {}) {
  const bench = createBench();
  onTestFinished(() => fs.rmSync(bench.root, { recursive: true, force: true }));
  const [first, second] = [await InfluxStandIn.start(), await InfluxStandIn.start()];
  const book = new RecordBook();
  const influx = openInfluxWriter(influxSettings(first.url), writerDeps(book));
  /** Writes the book both ways, as the daemon does. */
  async function write(): Promise<void> {
    for (const table of book.tables.values()) bench.addTable(table);
    const parquet = bench.open(settings);
    await influx.write(book.records);
    await parquet.write(book.records);
    await parquet.flush();
    await Promise.all([influx.close(), parquet.close()]);
  }
  function backfill(startMs = 0, endMs = 2 ** 42, changes: Record<string, unknown> = {}) {
    const config = influxSettings(second.url, changes);
    const client = new InfluxClient(config, { clock: systemClock, log: () => {} });
    onTestFinished(() => client.close());
    const deps = { fs: nodeFileSystem, clock: systemClock, client, onFile: () => {} };
    return backfillInflux(deps, { root: bench.root, settings: config, startMs, endMs });
  }
  return { bench, book, first, second, write, backfill };
}

test.each(['hyparquet', 'parquetjs'] as const)('the points are identical (%s)', async (encoder) => {
  const { book, first, second, write, backfill } = await setUp({ encoder });
  for (let round = 0; round < 20; round++) {
    const series = trickySeries();
    const samples = series.map((_, i) => [i, START_MS + round * 15_000, round * 10 + i] as const);
    // Twice the same moment: the later value wins.
    book.add('node-1', series, [...samples, [0, START_MS + round * 15_000, -round]]);
    book.add('node,2', series.slice(0, 3), samples.slice(0, 3));
  }
  addFleet(book, { nodes: 4, gpus: 4, metrics: 10, rounds: 10 });
  await write();
  const result = await backfill();
  expect(result).toMatchObject({ refusedLines: 0, failure: '' });
  expect(second.points()).toEqual(first.points());
  expect(result.values).toBe(book.records.at(-1)!.cumulativeSamples);
  await backfill();
  expect(second.points()).toEqual(first.points());
});

test('hours, row groups and equal times of reception change no point', async () => {
  const { bench, book, first, second, write, backfill } = await setUp({ row_group_rows: 1000 });
  const pods = Array.from({ length: 1200 }, (_, i) =>
    gauge('mem', { gpu: String(i >> 1), UUID: `GPU-${i >> 1}`, pod: `pod-${i}` }),
  );
  const edgeMs = Math.ceil(START_MS / HOUR_MS) * HOUR_MS;
  for (const timeMs of [edgeMs - 1, edgeMs]) {
    // Pods of one GPU in two tables, as an agent with more series than fit one batch sends them.
    for (const parity of [0, 1]) {
      const table = pods.filter((_, i) => i % 2 === parity);
      const samples = table.map((_, i) => [i, timeMs, i * 2 + parity] as const);
      Object.assign(book.add('n', table, samples), { receivedAtMs: edgeMs });
    }
  }
  await write();
  await backfill();
  expect(first.points().size).toBe(2 * pods.length);
  expect(second.points()).toEqual(first.points());
  expect(fs.existsSync(bench.root)).toBe(true);
});

test('batches stay apart, and the later value of a point wins', async () => {
  const { book, first, second, write, backfill } = await setUp();
  // Never in one table, so nothing has to be told apart.
  book.add('n', [gauge('mem', { gpu: '1', pod: 'left' })], [[0, START_MS, 1]]);
  book.add('n', [gauge('mem', { gpu: '1', pod: 'right' })], [[0, START_MS + 1, 2]]);
  // The rows of the later batch come first in the file.
  book.add('n', [gauge('b')], [[0, START_MS, 1]]);
  book.add(
    'n',
    [gauge('a'), gauge('b')],
    [
      [0, START_MS, 1],
      [1, START_MS, 2],
    ],
  );
  await write();
  await backfill();
  expect(second.points()).toEqual(first.points());
  expect([...first.points()].filter(([point]) => point.includes('pod'))).toHaveLength(2);
});

test('only what was asked for is written, from whole files of many row groups', async () => {
  const { book, second, write, backfill } = await setUp({ row_group_rows: 1000 });
  const series = Array.from({ length: 50 }, (_, i) => gauge('m', { gpu: String(i) }));
  for (let round = 0; round < 120; round++) {
    const timeMs = START_MS + round * 60_000;
    book.add(
      'n',
      series,
      series.map((_, i) => [i, timeMs, round * 50 + i] as const),
    );
  }
  await write();
  const startMs = START_MS + HOUR_MS;
  const endMs = startMs + 10 * 60_000;
  const result = await backfill(startMs, endMs, { max_batch_bytes: 4096 });
  expect(result).toMatchObject({ values: 500, lines: 500 });
  expect(second.requests.length).toBeGreaterThan(5);
  const times = second.accepted.map(({ timestamp }) => Number(timestamp));
  expect([Math.min(...times), Math.max(...times)]).toEqual([startMs, endMs - 60_000]);
});

test('a server that is down is waited for, and then told where to go on', async () => {
  const { book, second, write, backfill } = await setUp();
  for (const hour of [0, 1, 2]) book.add('n', [gauge('m')], [[0, START_MS + hour * HOUR_MS, 1]]);
  await write();
  let requests = 0;
  second.answer = () => ({ status: ++requests <= 2 ? 204 : 401 });
  const result = await backfill();
  expect(result).toMatchObject({ lines: 2, failure: expect.stringContaining('401') });
  expect(result.resumeMs).toBe(Date.parse('2025-07-18T22:00:00Z'));
  requests = 0;
  second.answer = () => ({ status: ++requests === 1 ? 503 : 204 });
  expect(await backfill(result.resumeMs)).toMatchObject({ lines: 1, failure: '' });
  expect(requests).toBe(2);
});

test('a line that is refused is told, and the others are written', async () => {
  const { book, second, write, backfill } = await setUp();
  book.add(
    'n',
    [gauge('m', { gpu: '0' }), gauge('m', { gpu: '1' })],
    [
      [0, START_MS, 1],
      [1, START_MS, 2],
    ],
  );
  await write();
  second.answer = ({ lines }) => ({
    status: lines.some((one) => one.includes('gpu_index=1')) ? 400 : 204,
  });
  const result = await backfill();
  expect(result).toMatchObject({ refusedLines: 1, failure: '' });
  expect(result.refusals[0]?.line).toContain('gpu_index=1');
});
