/**
 * The demo: a fleet of simulated nodes sends to the real daemon over QUIC with mutual TLS, or over
 * TLS and TCP. The daemon is stopped as systemd would stop it, and the books are checked: sent =
 * acknowledged = rows in the warehouse. Then three questions that operators ask are answered from
 * the Parquet files.
 *
 * Fleet time runs faster than the clock, so that seconds of demo make an hour or so of history.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DaemonProcess } from '../trials/harness/daemon-process.ts';
import { Deployment } from '../trials/harness/deployment.ts';
import { SimulatedFleet } from '../trials/harness/simulated-fleet.ts';
import { WarehouseQuery } from '../trials/harness/warehouse-query.ts';
import type { TransportChoice } from '../src/client/transport-choice.ts';
import { sleep, systemClock } from '../src/lib/clock.ts';
import { packageFile } from '../src/lib/package-root.ts';
import { formatTable } from '../trials/harness/format-table.ts';
import { OPERATOR_QUESTIONS } from './operator-questions.ts';
import { ProgressLine } from './progress-line.ts';

export interface DemoOptions {
  readonly seconds: number;
  readonly nodes: number;
  readonly gpus: number;
  readonly transport: TransportChoice;
  readonly json: boolean;
  readonly keep: boolean;
}

type Print = (text: string) => void;

const BATCH_INTERVAL_MS = 100;
/** Fleet time between two batches of a node: dcgm-exporter's usual scrape interval. */
const FLEET_STEP_MS = 15_000;
const PROGRESS_INTERVAL_MS = 1000;
const DRAIN_DEADLINE_MS = 30_000;
const START_DEADLINE_MS = 30_000;
/** In the demo's directory, with --keep. */
const LOG_FILE = 'collector.log';

/** What the demo proves; `rows` is counted by DuckDB. */
export interface DemoSummary {
  readonly sent: number;
  readonly acked: number;
  readonly duplicate: number;
  readonly rejected: number;
  readonly rows: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly metrics_per_s: number;
}

/** Runs the demo and returns the exit code: 0 when the books balance, 1 otherwise. */
export async function runDemo(options: DemoOptions, print: Print): Promise<number> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telemetry-collector-demo-'));
  try {
    const { nodes, gpus } = options;
    print(`Making a CA, a server certificate and ${nodes} node certificates in ${dir}\n`);
    const deployment = await Deployment.create(dir, {
      limits: { max_cardinality: 1_000_000 },
      parquet: { rotation_interval_secs: 10 },
    });
    const daemon = await DaemonProcess.start(deployment);
    print(`Collector ready: QUIC ${deployment.listen.host}:${deployment.listen.port}/udp, `);
    print(`metrics ${deployment.metricsUrl}/metrics\n`);
    const way = options.transport === 'tls' ? 'TLS over TCP, mutual' : 'QUIC + mTLS';
    print(`Sending for ${options.seconds} s: ${nodes} nodes × ${gpus} GPUs, ${way}, `);
    print(`acknowledged after fsync\n\n`);
    try {
      return await sendAndCheck(options, deployment, daemon, print);
    } finally {
      await daemon.kill();
    }
  } finally {
    if (!options.keep) fs.rmSync(dir, { recursive: true, force: true });
  }
}

async function sendAndCheck(
  options: DemoOptions,
  deployment: Deployment,
  daemon: DaemonProcess,
  print: Print,
): Promise<number> {
  const { fleet, seconds } = await sendForAWhile(options, deployment, daemon, print);
  const { ackLatency, totals } = fleet;
  const ledger = (await daemon.metrics()).ledger(['parquet']);
  await fleet.close();
  print(`\nStopping the collector (SIGTERM): ${describeExit(await daemon.stop())}\n`);

  const warehouse = new WarehouseQuery(deployment.warehouseDir);
  const summary: DemoSummary = {
    sent: totals.sentSamples,
    acked: totals.ackedSamples,
    duplicate: totals.duplicateSamples,
    rejected: totals.rejectedSamples,
    rows: await warehouse.count(),
    p50_ms: ackLatency.percentile(50) / 1000,
    p99_ms: ackLatency.percentile(99) / 1000,
    metrics_per_s: Math.round(totals.ackedSamples / seconds),
  };
  const books = summary.sent === summary.acked && summary.acked === summary.rows;
  const balances = books && ledger.admission === 0 && ledger.unaccounted.every((n) => n === 0);
  printLedger(summary, balances, print);
  await answerQuestions(warehouse, print);
  if (options.keep) printHowToGoOn(deployment, await startAndLeave(deployment), print);
  if (options.json) print(`${JSON.stringify(summary)}\n`);
  return balances ? 0 : 1;
}

async function sendForAWhile(
  { seconds, nodes, gpus, transport }: DemoOptions,
  deployment: Deployment,
  daemon: DaemonProcess,
  print: Print,
): Promise<{ fleet: SimulatedFleet; seconds: number }> {
  const rounds = (seconds * 1000) / BATCH_INTERVAL_MS;
  const fleet = await SimulatedFleet.open(
    deployment,
    {
      nodes,
      gpusPerNode: gpus,
      extraMetrics: 0,
      intervalMs: BATCH_INTERVAL_MS,
      stepMs: FLEET_STEP_MS,
      startMs: systemClock.nowMs() - rounds * FLEET_STEP_MS,
      transport,
    },
    systemClock,
  );
  const startedMs = systemClock.monotonicMs();
  const stop = new AbortController();
  const sending = fleet.run(stop.signal);
  const progress = new ProgressLine(print);
  while (systemClock.monotonicMs() - startedMs < seconds * 1000) {
    const leftMs = seconds * 1000 - (systemClock.monotonicMs() - startedMs);
    await sleep(systemClock, Math.min(PROGRESS_INTERVAL_MS, leftMs));
    progress.show(fleet, await daemon.metrics(), systemClock.monotonicMs());
  }
  stop.abort();
  await sending;
  await fleet.drain(DRAIN_DEADLINE_MS);
  progress.end();
  return { fleet, seconds: (systemClock.monotonicMs() - startedMs) / 1000 };
}

/**
 * Starts the collector once more, on the same data, as a process that outlives this one: its log
 * goes to a file, and nothing here waits for it. Returns its pid once it is ready.
 */
async function startAndLeave({ dir, configPath, metricsUrl }: Deployment): Promise<number> {
  const log = fs.openSync(path.join(dir, LOG_FILE), 'a');
  const program = packageFile('dist/src/collector/main.js');
  const child = spawn(process.execPath, [program, configPath], {
    detached: true,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    stdio: ['ignore', log, log],
  });
  fs.closeSync(log);
  const giveUpAtMs = systemClock.monotonicMs() + START_DEADLINE_MS;
  for (;;) {
    const response = await fetch(`${metricsUrl}/readyz`).catch(() => undefined);
    if (response?.ok === true) break;
    if (systemClock.monotonicMs() > giveUpAtMs || child.exitCode !== null) {
      throw new Error(`the collector did not become ready; see ${path.join(dir, LOG_FILE)}`);
    }
    await sleep(systemClock, 100);
  }
  child.unref();
  return child.pid ?? 0;
}

function describeExit({ code, signal }: { code: number | null; signal: string | null }): string {
  return code === 0 ? 'stopped cleanly, files finished' : `ended with ${code ?? signal}`;
}

function printLedger(summary: DemoSummary, balances: boolean, print: Print): void {
  const number = (value: number) => value.toLocaleString('en-US');
  print('\nLedger, in samples\n');
  print(
    formatTable(
      ['sent', 'acknowledged', 'duplicate', 'rejected', 'rows in the warehouse'],
      [
        [summary.sent, summary.acked, summary.duplicate, summary.rejected, summary.rows].map(
          number,
        ),
      ],
    ),
  );
  print(balances ? '✔ sent = acknowledged = rows\n' : '✘ THE BOOKS DO NOT BALANCE\n');
  print(`  ${number(summary.metrics_per_s)} metrics/s, send to acknowledgement `);
  print(`p50 ${summary.p50_ms.toFixed(2)} ms, p99 ${summary.p99_ms.toFixed(2)} ms\n`);
}

async function answerQuestions(warehouse: WarehouseQuery, print: Print): Promise<void> {
  for (const { question, sql } of OPERATOR_QUESTIONS) {
    const rows = await warehouse.rows(sql);
    print(`\n${question}\n`);
    const names = Object.keys(rows[0] ?? { 'no rows': '' });
    print(
      formatTable(
        names,
        rows.map((row) => names.map((name) => String(row[name] ?? ''))),
      ),
    );
  }
}

function printHowToGoOn(deployment: Deployment, pid: number, print: Print): void {
  const { dir, metricsUrl, warehouseDir } = deployment;
  print(`\nThe collector runs again (pid ${pid}); everything is in ${dir}\n`);
  print(`  scrape:  curl -s ${metricsUrl}/metrics\n`);
  print(`  ready:   curl -s ${metricsUrl}/readyz\n`);
  print(`  query:   duckdb -c "SELECT metric, count(*) FROM `);
  print(`read_parquet('${warehouseDir}/metrics/**/*.parquet') GROUP BY 1"\n`);
  print(`  log:     tail -f ${path.join(dir, LOG_FILE)}\n`);
  print(`  stop:    kill ${pid}\n`);
  print(`  remove:  rm -r ${dir}\n`);
}
