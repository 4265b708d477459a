/** The repair commands as an operator types them, beside a running daemon. */
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/lib/clock.ts';
import { countedSamples } from '../../helpers/counted-samples.ts';
import { InfluxStandIn } from '../../helpers/influx-stand-in.ts';
import { runCli } from '../../helpers/run-cli.ts';
import { Scenario } from '../../helpers/scenario.ts';

const SERIES = 4;
const ROUNDS = 5;

let scenario: Scenario;
afterEach(() => scenario.close());

/** A daemon that has taken a few batches of two nodes. */
async function running(settings: Parameters<typeof Scenario.open>[0] = {}) {
  scenario = await Scenario.open(settings);
  const daemon = await scenario.startDaemon();
  const samples = countedSamples(SERIES, systemClock.nowMs() - 10_000);
  for (const node of ['gpu-001', 'gpu-002']) {
    const client = await scenario.openClient(node);
    for (let round = 0; round < ROUNDS; round++) {
      const result = await client.send(samples.table, samples.next());
      expect(result).toMatchObject({ status: 'accepted' });
    }
  }
  return daemon;
}

function cli(...words: string[]) {
  return runCli([...words, scenario.deployment.configPath]);
}

function influxAt(url: string) {
  return { url, org: 'horizon', bucket: 'telemetry', token: 'secret' };
}

describe('journal verify and export', () => {
  it('read the journal of a running daemon', async () => {
    await running();
    const verified = await cli('journal', 'verify');
    expect(verified).toMatchObject({ code: 0, stderr: '' });
    expect(verified.stdout).toMatch(/^faults +0$/m);
    expect(verified.stdout).toContain('✓ the journal is sound');
    const json = JSON.parse((await cli('journal', 'verify', '--json')).stdout);
    expect(json).toMatchObject({ ok: true, samples: 2 * ROUNDS * SERIES, faults: 0 });

    const all = await cli('journal', 'export', '--node', 'gpu-002');
    expect(all).toMatchObject({ code: 0, stderr: '' });
    const records = all.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(records).toHaveLength(ROUNDS);
    expect(records[0]).toMatchObject({ node: 'gpu-002', sequence: 1 });
    expect(records[0].samples).toHaveLength(SERIES);
    expect(records[0].samples[1]).toMatchObject({
      metric: 'test_metric_001',
      labels: { gpu_uuid: 'GPU-1' },
      kind: 'gauge',
      value: expect.any(Number),
      timestampMs: expect.any(Number),
    });
    const [from, to] = [records[1].seq, records[2].seq];
    const some = await cli('journal', 'export', '--from', `${from}`, '--to', `${to}`);
    const seqs = some.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).seq as number);
    expect([Math.min(...seqs), Math.max(...seqs)]).toEqual([from, to]);
    const late = await cli('journal', 'export', '--from', '2100-01-01T00:00:00Z');
    expect(late).toMatchObject({ code: 0, stdout: '' });
  });

  it('say what to type', async () => {
    scenario = await Scenario.open();
    const bad = await cli('journal', 'export', '--from', 'yesterday');
    expect(bad.code).toBe(1);
    expect(bad.stderr).toContain('cannot use --from yesterday: give the number of a record');
    const missing = await cli('journal', 'verify');
    expect(missing.code).toBe(1);
    expect(missing.stderr).toMatch(/^telemetry-collector: cannot open journal .*there is none/);
    const typo = await runCli(['journal', 'verfy']);
    expect(typo.code).toBe(2);
    expect(typo.stderr).toContain('Did you mean verify?');
  });
});

describe('dead-letter list and replay', () => {
  it('show what was refused, and send it again beside the daemon', async () => {
    const influx = await InfluxStandIn.start();
    influx.answer = ({ lines }) =>
      lines.some((line) => line.includes('GPU-3'))
        ? { status: 400, body: '{"message":"field type conflict"}' }
        : { status: 204 };
    const daemon = await running({ influxdb: influxAt(influx.url) });
    await daemon.waitFor(
      'everything to be written or dead',
      async () => (await daemon.metrics()).sum('samples_pending', { writer: 'influxdb' }) === 0,
    );
    const listed = JSON.parse((await cli('dead-letter', 'list', '--json')).stdout);
    expect(listed).toMatchObject({ letters: 2 * ROUNDS, samples: 2 * ROUNDS });
    expect(listed.reasons).toMatchObject([
      { writer: 'influxdb', status: 400, reason: 'field type conflict', letters: 2 * ROUNDS },
    ]);
    expect((await cli('dead-letter', 'list')).stdout).toContain('field type conflict');

    const asked = influx.requests.filter(({ lines }) => lines.length > 0).length;
    const dry = await cli('dead-letter', 'replay', '--dry-run');
    expect(dry.stdout).toMatch(/^would send +10$/m);
    expect(influx.requests.filter(({ lines }) => lines.length > 0)).toHaveLength(asked);

    const refused = await cli('dead-letter', 'replay', '--json');
    expect(refused.code).toBe(1);
    expect(JSON.parse(refused.stdout)).toMatchObject({ sent: 0, refused: 10, failure: '' });
    influx.answer = () => ({ status: 204 });
    const replayed = await cli('dead-letter', 'replay', '--json');
    expect(replayed.code).toBe(0);
    expect(JSON.parse(replayed.stdout)).toMatchObject({ sent: 10, refused: 0, failure: '' });
    expect(JSON.parse((await cli('dead-letter', 'list', '--json')).stdout).letters).toBe(0);
    const points = [...influx.points().values()].filter((value) => typeof value === 'number');
    expect(points).toHaveLength(2 * ROUNDS * SERIES);
  });

  it('say what to type', async () => {
    scenario = await Scenario.open();
    const { code, stderr } = await cli('dead-letter', 'replay');
    expect(code).toBe(1);
    expect(stderr).toContain('the configuration has no influxdb section to send them to');
  });
});

describe('warehouse verify and backfill', () => {
  it('check the files and bring them to a server that missed them', async () => {
    const influx = await InfluxStandIn.start();
    const daemon = await running({ parquet: { rotation_interval_secs: 1 } });
    await daemon.waitFor(
      'the files',
      async () => (await daemon.metrics()).sum('samples_pending', { writer: 'parquet' }) === 0,
    );
    const verified = await cli('warehouse', 'verify');
    expect(verified).toMatchObject({ code: 0, stderr: '' });
    expect(verified.stdout).toMatch(/^rows +40$/m);
    expect(verified.stdout).toContain('✓ the warehouse is sound');

    const range = ['--to', 'influxdb', '--start', '2020-01-01', '--end', '2100-01-01'];
    const without = await cli('warehouse', 'backfill', ...range);
    expect(without.stderr).toContain('the configuration has no influxdb section to write to');
    scenario.deployment.configure({ influxdb: influxAt(influx.url) });
    const filled = await cli('warehouse', 'backfill', ...range, '--json');
    expect(filled.code).toBe(0);
    expect(JSON.parse(filled.stdout)).toMatchObject({ values: 40, refusedLines: 0, failure: '' });
    expect(filled.stderr).toMatch(/^1 of \d files, up to .*: \d+ lines$/m);
    expect([...influx.points().values()].filter((value) => typeof value === 'number')).toHaveLength(
      2 * ROUNDS * SERIES,
    );
    influx.answer = () => ({ status: 401 });
    const failed = await cli('warehouse', 'backfill', ...range);
    expect(failed.code).toBe(1);
    expect(failed.stderr).toMatch(/given up; go on with --start 20\d\d-.*:00:00.000Z/);
  });

  it('find a file that is damaged, exit code 1', async () => {
    await (await running()).stop();
    const metrics = path.join(scenario.deployment.warehouseDir, 'metrics');
    const [file] = fs
      .readdirSync(metrics, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.parquet'));
    fs.truncateSync(path.join(metrics, file!), 100);
    const { code, stdout } = await cli('warehouse', 'verify');
    expect(code).toBe(1);
    expect(stdout).toContain(`✗ metrics/${file}: it has no Parquet footer`);
    const json = JSON.parse((await cli('warehouse', 'verify', '--json')).stdout);
    expect(json).toMatchObject({ ok: false, faults: [{ what: 'it has no Parquet footer' }] });
  });

  it('say what to type', async () => {
    scenario = await Scenario.open();
    const bad = await cli(
      'warehouse',
      'backfill',
      '--to',
      'influxdb',
      '--start',
      'x',
      '--end',
      'y',
    );
    expect(bad.stderr).toContain('cannot use --start x: give a time, such as 2025-07-18T20:00:00Z');
    const range = ['--start', '2025-01-01', '--end', '2025-01-02'];
    const elsewhere = await cli('warehouse', 'backfill', '--to', 'graphite', ...range);
    expect(elsewhere).toMatchObject({ code: 2 });
    expect(elsewhere.stderr).toContain('Allowed choices are influxdb');
    const incomplete = await cli('warehouse', 'backfill', '--to', 'influxdb');
    expect(incomplete).toMatchObject({ code: 2 });
    expect(incomplete.stderr).toContain("required option '--start <time>' not specified");
  });
});
