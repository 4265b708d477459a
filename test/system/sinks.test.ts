import fs from 'node:fs';
import path from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { countedSamples } from '../helpers/counted-samples.ts';
import { InfluxStandIn } from '../helpers/influx-stand-in.ts';
import { Scenario } from '../helpers/scenario.ts';

const SERIES = 8;

let scenario: Scenario;
afterEach(() => scenario.close());

function influxAt(url: string) {
  return { url, org: 'horizon', bucket: 'telemetry', token: 'secret', timeout_secs: 1 };
}

test('a dead InfluxDB delays neither acknowledgements nor Parquet, and gets everything when it is back', async () => {
  const influx = await InfluxStandIn.start();
  influx.answer = () => ({ status: 503, headers: { 'retry-after': '1' } });
  scenario = await Scenario.open({
    influxdb: influxAt(influx.url),
    parquet: { rotation_interval_secs: 1 },
    observability: { max_writer_lag_secs: 1 },
  });
  const daemon = await scenario.startDaemon();
  const client = await scenario.openClient('gpu-001');
  const samples = countedSamples(SERIES, systemClock.nowMs() - 60_000);
  const rounds = 50;
  for (let round = 0; round < rounds; round += 1) {
    const result = await client.send(samples.table, samples.next());
    expect(result).toMatchObject({ status: 'accepted' });
  }
  await daemon.waitFor(
    'Parquet to have everything',
    async () => (await daemon.metrics()).sum('samples_pending', { writer: 'parquet' }) === 0,
  );
  const duringOutage = await daemon.metrics();
  expect(duringOutage.sum('samples_pending', { writer: 'influxdb' })).toBe(rounds * SERIES);
  expect(await scenario.warehouse.count()).toBe(rounds * SERIES);
  await daemon.waitFor('readiness to say why', async () => {
    const { ready, checks } = await daemon.readiness();
    return !ready && /503/.test(checks['writer influxdb']?.reason ?? '');
  });

  influx.answer = () => ({ status: 204 });
  await daemon.waitFor(
    'InfluxDB to have everything',
    async () => (await daemon.metrics()).sum('samples_pending', { writer: 'influxdb' }) === 0,
  );
  await daemon.waitFor('readiness to return', async () => (await daemon.readiness()).ready);
  const fields = influx.accepted.flatMap((line) =>
    Object.values(line.fields).filter((value) => typeof value === 'number'),
  );
  const expected = Array.from({ length: rounds * SERIES }, (_, index) => index);
  expect([...new Set(fields)].sort((a, b) => a - b)).toEqual(expected);
  expect((await daemon.metrics()).ledger(['influxdb', 'parquet']).unaccounted).toEqual([0, 0]);
});

test('a line that InfluxDB refuses becomes a dead letter with the reason, and the rest is written', async () => {
  const influx = await InfluxStandIn.start();
  influx.answer = ({ lines }) =>
    lines.some((line) => line.includes('GPU-3'))
      ? { status: 400, body: '{"code":"invalid","message":"field type conflict"}' }
      : { status: 204 };
  scenario = await Scenario.open({ influxdb: influxAt(influx.url) });
  const daemon = await scenario.startDaemon();
  const client = await scenario.openClient('gpu-001');
  const samples = countedSamples(SERIES, systemClock.nowMs());
  await client.send(samples.table, samples.next());
  await daemon.waitFor(
    'everything to be written or dead',
    async () => (await daemon.metrics()).sum('samples_pending', { writer: 'influxdb' }) === 0,
  );
  const metrics = await daemon.metrics();
  expect(metrics.sum('samples_dead_lettered_total', { writer: 'influxdb' })).toBe(1);
  expect(metrics.sum('samples_written_total', { writer: 'influxdb' })).toBe(SERIES - 1);

  const folder = path.join(scenario.deployment.warehouseDir, 'dead-letter');
  const letters = fs.readdirSync(folder).flatMap((name) =>
    fs
      .readFileSync(path.join(folder, name), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>),
  );
  expect(letters).toHaveLength(1);
  expect(letters[0]).toMatchObject({
    writer: 'influxdb',
    node: 'gpu-001',
    samples: 1,
    status: 400,
    reason: expect.stringContaining('field type conflict'),
    line: expect.stringContaining('GPU-3'),
  });
});
