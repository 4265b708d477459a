/**
 * One run of the whole daemon at full speed: warmed up, loaded, drained, stopped, its books checked
 * against the warehouse. The base of every benchmark that is about cost.
 */
import { execFileSync } from 'node:child_process';
import type { MetricsPage } from '../trials/harness/metrics-page.ts';
import { WarehouseQuery } from '../trials/harness/warehouse-query.ts';
import type { LoadReport, LoadTask } from './load-task.ts';
import { pause } from './pause.ts';
import { DELEGATE, Rig, type RigOptions } from './rig.ts';
import {
  anonymousBytes,
  cpuSince,
  processCpu,
  type ThreadCpu,
  threadCpu,
  totalCpu,
} from './thread-cpu.ts';

const SAMPLE_MS = 200;
const DEFAULT_WARM_UP_SECONDS = 4;
const CALM_MS = 500;
/** Of a core. */
const CALM_SHARE = 0.2;
const CALM_DEADLINE_MS = 60_000;
/** Nodes that only fill the limiter have names of their own. */
const FIRST_QUIET_NODE = 50_000;

export interface IngestRunOptions extends RigOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** The engine compiles what is hot; a daemon that runs for months does so once. */
  readonly warmUpSeconds?: number;
  /** Nodes that send one batch before everything else, so that their series are known. */
  readonly quietNodes?: number;
  /** Processors that the daemon may use, as taskset names them. */
  readonly processors?: string;
}

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
  /** Garbage collections of the main thread while the load ran. */
  readonly gcSeconds: number;
  readonly gcPauses: number;
  readonly seriesKnown: number;
  readonly influxBytes: number;
}

export type NodesTask = Partial<LoadTask> & Pick<LoadTask, 'nodes'>;

/** Runs `task` from a fresh start to a clean stop; throws where the books do not balance. */
export async function runIngest(task: NodesTask, options: IngestRunOptions): Promise<IngestRun> {
  const rig = await Rig.open(options);
  try {
    const daemon = await rig.start(options.env);
    if (options.processors !== undefined) pin(daemon.pid, options.processors);
    if (options.quietNodes !== undefined) await sendOnce(rig, options.quietNodes);
    await warmUp(rig, task, options.warmUpSeconds ?? DEFAULT_WARM_UP_SECONDS);
    await untilCalm(daemon.pid);
    const load = await rig.load(task);
    const before = await daemon.metrics();
    const discardedBefore = await rig.discarded();
    const memory = watchMemory(daemon.pid);
    const cpuBefore = threadCpu(daemon.pid);
    const startedMs = performance.now();
    const report = await load.run();
    const sentMs = performance.now();
    const page = await daemon.metrics();
    const total = page.sum('samples_accepted_total');
    if (options.influx !== false) {
      await rig.until('InfluxDB to have it all', (now) => written(now, 'influxdb') >= total);
    }
    const rssAnonMax = memory.stop();
    const { cpu } = await rig.stop();
    const endedMs = performance.now();
    await load.end();
    const accepted = total - before.sum('samples_accepted_total');
    if (accepted !== report.ackedSamples) throw new Error('accepted is not what was acknowledged');
    if (options.settings?.parquet?.enabled !== false) await checkRows(rig.warehouseDir, total);
    const since = (name: string) => page.sumOf(name) - before.sumOf(name);
    return {
      load: report,
      seconds: (endedMs - startedMs) / 1000,
      drainSeconds: (endedMs - sentMs) / 1000,
      accepted,
      pending: {
        influxdb: page.sum('samples_pending', { writer: 'influxdb' }),
        parquet: page.sum('samples_pending', { writer: 'parquet' }),
      },
      cpu: cpuSince(cpuBefore, cpu),
      rssAnonMax,
      gcSeconds: since('nodejs_gc_duration_seconds_sum'),
      gcPauses: since('nodejs_gc_duration_seconds_count'),
      seriesKnown: page.sum('admission_series'),
      influxBytes: (await rig.discarded()).bytes - discardedBefore.bytes,
    };
  } finally {
    await rig.close();
  }
}

/** CPU microseconds for a metric: what a rate on a shared machine cannot blur. */
export function cpuPerMetric(run: IngestRun): number {
  return (totalCpu(run.cpu) / run.accepted) * 1e6;
}

/** Moves all threads of a process to the given processors. */
function pin(pid: number, processors: string): void {
  execFileSync('taskset', ['-a', '-c', '-p', processors, String(pid)], { stdio: 'ignore' });
}

async function warmUp(rig: Rig, task: NodesTask, seconds: number): Promise<void> {
  if (seconds === 0) return;
  const load = await rig.load({ ...task, seconds });
  await load.run();
  await load.end();
}

/** New series cost something once, some of it after their samples are through. */
async function untilCalm(pid: number): Promise<void> {
  const giveUpAtMs = performance.now() + CALM_DEADLINE_MS;
  for (let before = processCpu(pid); performance.now() < giveUpAtMs; ) {
    await pause(CALM_MS);
    const now = processCpu(pid);
    if (now - before < (CALM_SHARE * CALM_MS) / 1000) return;
    before = now;
  }
}

async function sendOnce(rig: Rig, nodes: number): Promise<void> {
  const credentials = [await rig.deployment.nodeCredentials(DELEGATE)];
  const pace = { kind: 'once' } as const;
  const load = await rig.load({
    ...{ nodes, credentials, pace },
    firstNode: FIRST_QUIET_NODE,
    connections: 4,
  });
  await load.run();
  await load.end();
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
