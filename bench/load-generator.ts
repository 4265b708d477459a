/**
 * A fleet at full speed, as a process of its own: every node keeps a few batches unanswered and
 * sends the next one when an acknowledgement comes. Started by the benchmarks with its task as JSON
 * in the first argument; prints what it did as one line of JSON.
 */
import { pino } from 'pino';
import { TelemetryClient } from '../src/agent/client.ts';
import { createLatencyHistogram } from '../src/agent/client-stats.ts';
import { simulateColumns } from '../src/agent/sources/simulate-columns.ts';
import { encodeSeriesTable } from '../src/codec/series-table.ts';
import { sleep, systemClock } from '../src/lib/clock.ts';
import type { QuicAddress, QuicCredentials } from '../src/lib/quic/quic-endpoint.ts';

export interface LoadTask {
  readonly remote: QuicAddress;
  readonly credentials: Readonly<Record<string, QuicCredentials>>;
  readonly seconds: number;
  readonly gpusPerNode: number;
  readonly extraMetrics: number;
  /** Batches that one node keeps unanswered. */
  readonly inFlight: number;
}

export interface LoadReport {
  readonly seconds: number;
  readonly batches: number;
  readonly acked: number;
  readonly throttled: number;
  readonly cpuSeconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const task = JSON.parse(process.argv[2] ?? '') as LoadTask;
const ackLatency = createLatencyHistogram();
const clients = await Promise.all(
  Object.entries(task.credentials).map(([nodeId, credentials]) =>
    TelemetryClient.open(
      {
        remote: task.remote,
        serverName: 'localhost',
        credentials,
        nodeId,
        spool: { maxBytes: 64 * 1024 * 1024 },
      },
      { clock: systemClock, logger: pino({ enabled: false }), ackLatency },
    ),
  ),
);
await Promise.all(clients.map((client) => client.connected()));

const startedMs = systemClock.monotonicMs();
const startedCpu = process.cpuUsage();
const startedWallMs = systemClock.nowMs();
let isOver = false;
let batches = 0;
const nodes = Object.keys(task.credentials).map((nodeId, index) => keepSending(nodeId, index));
await sleepReferenced(task.seconds * 1000);
isOver = true;
await Promise.all(nodes);
const seconds = (systemClock.monotonicMs() - startedMs) / 1000;
const cpu = process.cpuUsage(startedCpu);
const sum = (read: (stats: TelemetryClient['stats']) => number) =>
  clients.reduce((total, client) => total + read(client.stats), 0);
const report: LoadReport = {
  seconds,
  batches,
  acked: sum((stats) => stats.ackedSamples),
  throttled: sum((stats) => stats.throttled),
  cpuSeconds: (cpu.user + cpu.system) / 1e6,
  p50Ms: ackLatency.percentile(50) / 1000,
  p99Ms: ackLatency.percentile(99) / 1000,
};
await Promise.all(clients.map((client) => client.close()));
process.stdout.write(`${JSON.stringify(report)}\n`);

async function keepSending(nodeId: string, index: number): Promise<void> {
  const client = clients[index] as TelemetryClient;
  const { gpusPerNode: gpus, extraMetrics } = task;
  const simulation = simulateColumns(
    { nodeId, gpus, extraMetrics, jobChurn: false },
    startedWallMs,
  );
  const table = encodeSeriesTable(simulation.series);
  const columns = {
    series: Uint32Array.from(simulation.series, (_, series) => series),
    timestampsMs: new Float64Array(simulation.series.length),
    values: new Float64Array(simulation.series.length),
  };
  let round = 0;
  const sendNext = async () => {
    while (!isOver) {
      // Each batch has a time of its own, so that no two samples of a series are the same point.
      const timeMs = startedWallMs - 3_600_000 + round;
      round += 1;
      simulation.advance(timeMs);
      simulation.fill(columns.values);
      columns.timestampsMs.fill(timeMs);
      batches += 1;
      await client.send(table, columns);
    }
  };
  await Promise.all(Array.from({ length: task.inFlight }, sendNext));
}

/** Like `sleep`, but keeps the process alive. */
async function sleepReferenced(ms: number): Promise<void> {
  const keepAlive = setInterval(() => {}, 1000);
  await sleep(systemClock, ms);
  clearInterval(keepAlive);
}
