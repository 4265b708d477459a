/**
 * `ingest`: how many metrics a second the whole daemon takes in, makes durable and writes to both
 * destinations, and what each costs. The clock runs until the last row is in a visible Parquet file
 * and the last line at the InfluxDB, so nothing counts that only lies in the journal.
 */
import type { MetricsPage } from '../harness/metrics-page.ts';
import { WarehouseQuery } from '../harness/warehouse-query.ts';
import type { Benchmark, BenchmarkOptions } from './benchmark.ts';
import { atLeast, type Measurement } from './figures.ts';
import type { LoadReport, LoadTask } from './load-task.ts';
import { Rig, type RigOptions } from './rig.ts';
import { anonymousBytes, cpuSince, type ThreadCpu, threadCpu, totalCpu } from './thread-cpu.ts';

const DEFAULT_SECONDS = 15;
const NODES = 100;
const SAMPLE_MS = 200;

export const ingest: Benchmark = {
  name: 'ingest',
  promise: 'A million metrics a second on two cores, durable and in both destinations.',
  runs: 3,
  async measure(options) {
    const run = await measureIngest({ nodes: NODES, seconds: options.seconds ?? DEFAULT_SECONDS });
    sayThreads(run, options);
    return ingestMeasurements(run);
  },
};

export interface IngestRun {
  readonly load: LoadReport;
  /** From the first batch to the end of the daemon: everything is written by then. */
  readonly seconds: number;
  readonly drainSeconds: number;
  readonly accepted: number;
  /** Samples that a writer had not written when the last batch was acknowledged. */
  readonly pending: Readonly<Record<string, number>>;
  readonly cpu: ThreadCpu;
  readonly rssAnonMax: number;
  /** Garbage collections of the main thread. */
  readonly gcSeconds: number;
  readonly gcPauses: number;
  readonly influxWireBytes: number;
}

/** One run from a fresh start to a clean stop; throws where the books do not balance. */
export async function measureIngest(
  task: Partial<LoadTask> & Pick<LoadTask, 'nodes'>,
  options: RigOptions & { readonly env?: NodeJS.ProcessEnv } = {},
): Promise<IngestRun> {
  const rig = await Rig.open(options);
  try {
    const daemon = await rig.start(options.env);
    const load = await rig.load(task);
    const memory = watchMemory(daemon.pid);
    const cpuBefore = threadCpu(daemon.pid);
    const startedMs = performance.now();
    const report = await load.run();
    const sentMs = performance.now();
    const page = await daemon.metrics();
    const pending = {
      influxdb: page.sum('samples_pending', { writer: 'influxdb' }),
      parquet: page.sum('samples_pending', { writer: 'parquet' }),
    };
    const accepted = page.sum('samples_accepted_total');
    const hasInflux = options.influx !== false;
    if (hasInflux) {
      await rig.until('InfluxDB to have everything', (now) => written(now, 'influxdb') >= accepted);
    }
    const rssAnonMax = memory.stop();
    const { cpu } = await rig.stop();
    const endedMs = performance.now();
    await load.end();
    const hasParquet = options.settings?.parquet?.enabled !== false;
    if (accepted !== report.ackedSamples) throw new Error('accepted is not what was acknowledged');
    if (hasParquet) await checkRows(rig.warehouseDir, accepted);
    return {
      load: report,
      seconds: (endedMs - startedMs) / 1000,
      drainSeconds: (endedMs - sentMs) / 1000,
      accepted,
      pending,
      cpu: cpuSince(cpuBefore, cpu),
      rssAnonMax,
      gcSeconds: page.sumOf('nodejs_gc_duration_seconds_sum'),
      gcPauses: page.sumOf('nodejs_gc_duration_seconds_count'),
      influxWireBytes: (await rig.discarded()).bytes,
    };
  } finally {
    await rig.close();
  }
}

/** CPU seconds for a million metrics: what a rate on a shared machine cannot blur. */
export function cpuPerMillion(run: IngestRun): number {
  return (totalCpu(run.cpu) / run.accepted) * 1e6;
}

function written(page: MetricsPage, writer: string): number {
  return page.sum('samples_written_total', { writer });
}

async function checkRows(warehouseDir: string, accepted: number): Promise<void> {
  const rows = await new WarehouseQuery(warehouseDir).count();
  if (rows !== accepted) throw new Error(`${rows} rows in the warehouse, ${accepted} accepted`);
}

/** Greatest anonymous memory seen until `stop`. */
function watchMemory(pid: number): { stop(): number } {
  let most = 0;
  const look = () => {
    most = Math.max(most, anonymousBytes(pid));
  };
  const timer = setInterval(look, SAMPLE_MS);
  timer.unref();
  return {
    stop() {
      clearInterval(timer);
      look();
      return most;
    },
  };
}

function ingestMeasurements(run: IngestRun): Measurement[] {
  const { load, cpu, accepted } = run;
  const perMillion = (seconds = 0) => (seconds / accepted) * 1e6;
  const pendingSeconds = (writer: string) => (run.pending[writer] ?? 0) / (accepted / run.seconds);
  return [
    {
      figure: 'accepted, durable and written by both',
      value: accepted / run.seconds,
      unit: 'metrics/s',
      bar: atLeast(1_000_000),
    },
    { figure: 'accepted while sending', value: accepted / load.seconds, unit: 'metrics/s' },
    { figure: 'InfluxDB behind at the end', value: pendingSeconds('influxdb'), unit: 's' },
    { figure: 'drained and stopped after', value: run.drainSeconds, unit: 's' },
    { figure: 'metrics per CPU-second', value: accepted / totalCpu(cpu), unit: 'metrics/CPU-s' },
    ...[...cpu].map(([role, seconds]) => ({
      figure: `CPU of ${role} for a million`,
      value: perMillion(seconds),
      unit: 'CPU-s',
    })),
    {
      figure: 'CPU of the load generator for a million',
      value: perMillion(load.cpuSeconds),
      unit: 'CPU-s',
    },
    { figure: 'RssAnon, most', value: run.rssAnonMax / 2 ** 20, unit: 'MiB' },
    {
      figure: 'GC of the main thread',
      value: (run.gcSeconds / load.seconds) * 100,
      unit: '% of time',
    },
    {
      figure: 'GC pause of the main thread, mean',
      value: (run.gcSeconds / run.gcPauses) * 1000,
      unit: 'ms',
    },
    {
      figure: 'bytes on the wire from the agents',
      value: load.wireBytes / accepted,
      unit: 'B/metric',
    },
    { figure: 'send → acknowledgement at full speed, p50', value: load.latencyMs.p50, unit: 'ms' },
    { figure: 'batches throttled', value: load.throttled, unit: 'batches' },
  ];
}

function sayThreads(run: IngestRun, { say }: BenchmarkOptions): void {
  const parts = [...run.cpu].map(([role, seconds]) => `${role} ${seconds.toFixed(2)}`);
  const rate = Math.round(run.accepted / run.seconds).toLocaleString('en-US');
  say(`${rate} metrics/s over ${run.seconds.toFixed(1)} s; CPU seconds: ${parts.join(', ')}`);
}
