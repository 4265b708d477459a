/**
 * A simulated GPU node as columns: a list of series that stays the same object until a job starts
 * or ends, and their values written into an array that the caller owns. For the simulate source and
 * for load generators, which cannot afford an object per sample.
 */
import { createHash } from 'node:crypto';
import { OperatingError } from '../../lib/errors.ts';
import type { Labels, Series } from '../../domain/telemetry.ts';
import { describeMetric } from './metric-units.ts';
import { SeededRandom } from './seeded-random.ts';
import { SimulatedGpu } from './simulated-gpu.ts';
import { JobSchedule, type SimulatedJob } from './simulated-jobs.ts';
import { type SimulatedMetric, simulatedMetrics } from './simulated-metrics.ts';

export interface SimulateOptions {
  /** Name of the node; together with the seed it decides everything, GPU UUIDs included. */
  readonly nodeId: string;
  readonly seed?: number;
  /** 1 to 1024; default 8. */
  readonly gpus?: number;
  /** Metrics per GPU besides the 25 of dcgm-exporter; 35 make 60. */
  readonly extraMetrics?: number;
  /** false: one job runs for ever on half of the GPUs, so that the series never change. */
  readonly jobChurn?: boolean;
  /** Half of the jobs run longer than this. */
  readonly jobMedianSeconds?: number;
  /** XID errors; each twentieth takes the GPU off the bus for a while. */
  readonly faultsPerGpuHour?: number;
}

const GPU_MODEL = 'NVIDIA H100 80GB HBM3';
const DRIVER_VERSION = '550.90.07';
const MAX_GPUS = 1024;

/** Starts a node at `startMs`, Unix ms. Throws SOURCE_OPTIONS. */
export function simulateColumns(options: SimulateOptions, startMs: number): SimulatedColumns {
  const { gpus = 8, extraMetrics = 0, jobMedianSeconds = 616 } = options;
  const { faultsPerGpuHour = 0.002 } = options;
  const isCount = (value: number) => Number.isInteger(value) && value >= 0;
  if (!isCount(gpus) || gpus < 1 || gpus > MAX_GPUS) {
    throw badOptions(`gpus is ${gpus}, allowed are 1 to ${MAX_GPUS}`);
  }
  if (!isCount(extraMetrics)) throw badOptions(`extraMetrics is ${extraMetrics}`);
  if (!(jobMedianSeconds > 0)) throw badOptions(`jobMedianSeconds is ${jobMedianSeconds}`);
  if (!(faultsPerGpuHour >= 0)) throw badOptions(`faultsPerGpuHour is ${faultsPerGpuHour}`);
  return new SimulatedColumns(options, startMs);
}

/** A node and its clock: `advance`, then read `series` and `fill`. */
export class SimulatedColumns {
  readonly #metrics: readonly SimulatedMetric[];
  readonly #gpus: readonly SimulatedGpu[];
  /** Of each GPU, without its job's. */
  readonly #labels: readonly Labels[];
  /** undefined where jobs do not change. */
  readonly #schedule: JobSchedule | undefined;
  readonly #lastingJob: SimulatedJob;
  /** Per GPU: 1 where it reports, 0 where the driver cannot reach it. */
  readonly #present: Uint8Array;
  #series: readonly Series[] = [];
  #epoch = 0;
  #timeMs: number;

  /** Use `simulateColumns`, which checks the options. */
  constructor(options: SimulateOptions, startMs: number) {
    const { nodeId, seed = 1, gpus = 8, extraMetrics = 0 } = options;
    const { jobChurn = true, jobMedianSeconds = 616, faultsPerGpuHour = 0.002 } = options;
    const key = `${seed}/${nodeId}`;
    const indexes = Array.from({ length: gpus }, (_, index) => index);
    this.#metrics = simulatedMetrics(extraMetrics);
    this.#gpus = indexes.map(
      (index) => new SimulatedGpu(`${key}/${index}`, faultsPerGpuHour, startMs),
    );
    this.#labels = indexes.map((index) => gpuLabels(nodeId, key, index));
    const random = new SeededRandom(`${key}/jobs`);
    this.#schedule = jobChurn
      ? new JobSchedule(random, gpus, jobMedianSeconds, startMs)
      : undefined;
    this.#lastingJob = lastingJob(indexes.slice(0, Math.ceil(gpus / 2)), startMs);
    this.#present = new Uint8Array(gpus).fill(1);
    this.#timeMs = startMs;
    this.#rebuild();
  }

  /** All series of this moment, GPU by GPU; a new array after a change, the same one until then. */
  get series(): readonly Series[] {
    return this.#series;
  }

  /** Counts the changes of `series`. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Moves on to `timeMs`; returns whether `series` is another one now. */
  advance(timeMs: number): boolean {
    const now = Math.max(timeMs, this.#timeMs);
    this.#timeMs = now;
    let changed = this.#schedule?.advance(now) ?? false;
    for (let index = 0; index < this.#gpus.length; index += 1) {
      const gpu = this.#gpus[index] as SimulatedGpu;
      gpu.advance(now, this.#jobOf(index));
      const present = gpu.isLost(now) ? 0 : 1;
      changed ||= this.#present[index] !== present;
      this.#present[index] = present;
    }
    if (changed) this.#rebuild();
    return changed;
  }

  /** Writes the values of this moment, one for each series, from `offset` on. Allocates nothing. */
  fill(values: Float64Array, offset = 0): void {
    const metrics = this.#metrics;
    let at = offset;
    for (let index = 0; index < this.#gpus.length; index += 1) {
      if (this.#present[index] === 0) continue;
      const gpu = this.#gpus[index] as SimulatedGpu;
      for (let metric = 0; metric < metrics.length; metric += 1) {
        values[at] = (metrics[metric] as SimulatedMetric).read(gpu);
        at += 1;
      }
    }
  }

  #jobOf(index: number): SimulatedJob | undefined {
    if (this.#schedule !== undefined) return this.#schedule.jobOf(index);
    return this.#lastingJob.gpus.includes(index) ? this.#lastingJob : undefined;
  }

  #rebuild(): void {
    const series: Series[] = [];
    for (const [index, own] of this.#labels.entries()) {
      if (this.#present[index] === 0) continue;
      const labels = [...own, ...jobLabels(this.#jobOf(index))].sort(([a], [b]) =>
        a < b ? -1 : 1,
      );
      for (const { name } of this.#metrics) series.push({ name, labels, ...describeMetric(name) });
    }
    this.#series = series;
    this.#epoch += 1;
  }
}

function gpuLabels(nodeId: string, key: string, index: number): Labels {
  return [
    ['DCGM_FI_DRIVER_VERSION', DRIVER_VERSION],
    ['device', `nvidia${index}`],
    ['gpu_index', String(index)],
    ['gpu_model', GPU_MODEL],
    ['gpu_uuid', gpuUuid(`${key}/${index}`)],
    ['hostname', nodeId],
    ['pci_bus_id', pciBusId(index)],
  ];
}

/** Eight GPUs to a PCI domain. */
function pciBusId(index: number): string {
  const domain = Math.floor(index / 8)
    .toString(16)
    .padStart(8, '0');
  const bus = (0x18 + 0x11 * (index % 8)).toString(16).toUpperCase();
  return `${domain}:${bus}:00.0`;
}

/** A GPU that no job holds has no pod label, rather than an empty one. */
function jobLabels(job: SimulatedJob | undefined): Labels {
  if (job === undefined) return [];
  return [
    ['container', job.container],
    ['namespace', job.namespace],
    ['pod', job.pod],
  ];
}

function gpuUuid(key: string): string {
  const hex = createHash('sha256').update(`${key}/uuid`).digest('hex');
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)];
  return `GPU-${parts.join('-')}-${hex.slice(20, 32)}`;
}

function lastingJob(gpus: readonly number[], startMs: number): SimulatedJob {
  return {
    workload: 'training',
    namespace: 'research-llm',
    pod: 'pretrain-0',
    container: 'main',
    gpus,
    startMs,
    endMs: Number.POSITIVE_INFINITY,
    memoryShare: 0.9,
    intensity: 0.9,
  };
}

function badOptions(why: string): OperatingError {
  return new OperatingError('SOURCE_OPTIONS', `cannot simulate a node: ${why}`);
}
