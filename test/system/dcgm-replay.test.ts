import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { parse } from 'csv-parse/sync';
import { afterEach, expect, test } from 'vitest';
import { packageFile } from '../../src/lib/package-root.ts';
import { GatewayProcess } from '../../trials/harness/gateway-process.ts';
import { Scenario } from '../helpers/scenario.ts';
import { sharedData } from '../helpers/shared-data.ts';
import { startVictoriaMetrics, victoriaMetricsPath } from '../helpers/victoria-metrics.ts';

const EXPORT = 'dcgm/dcgm_metrics_20250718_134233.csv';
const AGENTS_AT_ONCE = 4;
const run = promisify(execFile);

let scenario: Scenario;
afterEach(() => scenario?.close());

interface ExportRow {
  readonly timestamp: string;
  readonly metric_name: string;
  readonly uuid: string;
  readonly Hostname: string;
  readonly value: string;
}

/** The export as an independent reader sees it: one key per row → its value. */
function readExport(file: string): { hosts: string[]; values: Map<string, number> } {
  const rows = parse(fs.readFileSync(file), { columns: true }) as ExportRow[];
  const values = new Map(
    rows.map((row) => {
      const ms = Date.parse(row.timestamp);
      return [key(row.metric_name, row.Hostname, row.uuid, ms), Number(row.value)];
    }),
  );
  expect(values.size).toBe(rows.length);
  return { hosts: [...new Set(rows.map((row) => row.Hostname))].sort(), values };
}

function key(metric: string, node: string, gpuUuid: string, ms: number): string {
  return [metric, node, gpuUuid, ms].join(' ');
}

/**
 * One run of the real agent: everything the export has of one host, under that host's certificate.
 */
async function replayHost(host: string, file: string, transport: string): Promise<string> {
  const { dir, listen } = scenario.deployment;
  const credentials = await scenario.deployment.nodeCredentials(host);
  const pem = (name: string, text: string) => {
    const target = path.join(dir, `${host}-${name}.pem`);
    fs.writeFileSync(target, text, { mode: 0o600 });
    return target;
  };
  const words = [
    ['--server', `${listen.host}:${listen.port}`],
    ['--server-name', 'localhost', '--transport', transport],
    ['--cert', pem('cert', credentials.certPem)],
    ['--key', pem('key', credentials.keyPem)],
    ['--ca', pem('ca', credentials.caPem)],
    ['--source', 'csv', '--file', file, '--host-filter', host, '--once'],
  ];
  const agent = packageFile('dist/src/agent/main.js');
  const { stdout, stderr } = await run(process.execPath, [agent, ...words.flat()]);
  return stdout + stderr;
}

/** The gateway shows every GPU of the export, with the export's values. */
async function expectFleet(gateway: GatewayProcess, values: Map<string, number>): Promise<void> {
  const { data: gpus, meta } = await gateway.get('/api/v1/gpus?limit=1000');
  expect(meta).toMatchObject({ rows: 247, total: 247, truncated: false });
  expect(new Set(gpus.map(({ uuid }) => uuid)).size).toBe(247);

  const shown = new Map<string, number>();
  for (let cursor = ''; ; ) {
    const page = await gateway.get(`/api/v1/series?limit=1000${cursor}`);
    for (const { metric, node, gpu, ts, value } of page.data) {
      if (!String(metric).startsWith('DCGM_')) continue;
      shown.set(
        key(String(metric), String(node), String(gpu), Date.parse(String(ts))),
        Number(value),
      );
    }
    if (page.meta.next_cursor === undefined) break;
    cursor = `&cursor=${page.meta.next_cursor}`;
  }
  expect(shown).toEqual(values);
  const { data: rows } = await gateway.get('/api/v1/gpus/0/telemetry?metric=power&limit=1000');
  expect(rows).toHaveLength(31);
  for (const { metric, node, gpu_uuid, ts, value } of rows) {
    const name = key(String(metric), String(node), String(gpu_uuid), Date.parse(String(ts)));
    expect(values.get(name)).toBe(value);
  }
}

test.for(['quic', 'tls'] as const)(
  '31 agents replay the DCGM export over %s: every row once in Parquet and equal in VictoriaMetrics',
  { timeout: 180_000 },
  async (transport, context) => {
    const file = sharedData(EXPORT);
    if (file === undefined) return context.skip('skipped: no shared data');
    const program = victoriaMetricsPath();
    if (program === undefined) return context.skip('victoria-metrics is not installed');
    const victoria = await startVictoriaMetrics(program);
    scenario = await Scenario.open({
      limits: { max_timestamp_age_secs: 315_360_000 },
      feed: { enabled: true },
      gateway: { listen_addr: '127.0.0.1:0' },
      influxdb: { url: victoria.url, org: 'horizon', bucket: 'telemetry', token: 'secret' },
    });
    scenario.onClose(() => victoria.stop());
    const { hosts, values } = readExport(file);
    expect(hosts).toHaveLength(31);
    const daemon = await scenario.startDaemon();
    const gateway = await GatewayProcess.start(scenario.deployment);
    scenario.onClose(async () => void (await gateway.kill()));

    const waiting = [...hosts];
    const worker = async () => {
      for (let host = waiting.shift(); host !== undefined; host = waiting.shift()) {
        await replayHost(host, file, transport);
      }
    };
    await Promise.all(Array.from({ length: AGENTS_AT_ONCE }, worker));

    await daemon.waitFor(
      'InfluxDB to have everything',
      async () => (await daemon.metrics()).sum('samples_pending', { writer: 'influxdb' }) === 0,
    );
    const ledger = (await daemon.metrics()).ledger(['influxdb', 'parquet']);
    expect(ledger).toMatchObject({ admission: 0, unaccounted: [0, 0] });
    await expectFleet(gateway, values);
    expect(await gateway.stop()).toEqual({ code: 0, signal: null });
    expect(await daemon.stop()).toEqual({ code: 0, signal: null });

    const rows = await scenario.warehouse.rows(
      'SELECT metric, node_id, gpu_uuid, epoch_ms(ts)::DOUBLE AS ms, value FROM m',
    );
    const dcgmRows = rows.filter((row) => String(row.metric).startsWith('DCGM_'));
    expect(dcgmRows).toHaveLength(2470);
    const stored = new Map(
      dcgmRows.map((row) => [
        key(String(row.metric), String(row.node_id), String(row.gpu_uuid), Number(row.ms)),
        row.value,
      ]),
    );
    expect(stored).toEqual(values);

    const series = await victoria.export('{__name__=~"gpu_DCGM_.*"}');
    const inVictoria = new Map(
      series.flatMap(({ metric, values: numbers, timestamps }) =>
        numbers.map((value, index): [string, number] => {
          const name = (metric.__name__ ?? '').slice('gpu_'.length);
          const ms = timestamps[index] ?? 0;
          return [key(name, metric.node_id ?? '', metric.gpu_uuid ?? '', ms), value];
        }),
      ),
    );
    const metricNames = new Set(dcgmRows.map((row) => String(row.metric)));
    const numbers = [...inVictoria].filter(([name]) => metricNames.has(name.split(' ')[0] ?? ''));
    expect(new Map(numbers)).toEqual(values);
  },
);
