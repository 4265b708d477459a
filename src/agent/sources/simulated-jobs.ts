/**
 * Who uses which GPU of a simulated node, and from when to when. A timeline of its own: it depends
 * on the seed alone, not on how often it is read.
 */
import type { SeededRandom } from './seeded-random.ts';

export type Workload = 'training' | 'inference' | 'zombie';

export interface SimulatedJob {
  readonly workload: Workload;
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly gpus: readonly number[];
  readonly startMs: number;
  readonly endMs: number;
  /** Framebuffer that it takes on each GPU, as a share of all. */
  readonly memoryShare: number;
  /** How hard it drives a GPU while it computes, 0 to 1. */
  readonly intensity: number;
}

/** Run times of a public cluster trace: median 616 s, a tenth over 7,764 s. */
const JOB_SIGMA = 1.98;
/** GPUs of a job: most jobs take one, some take a whole node. */
const SIZES = [1, 1, 1, 1, 1, 2, 2, 4, 8] as const;
const TEAMS = ['research-llm', 'vision', 'recsys', 'speech', 'platform', 'genomics'] as const;
const NAMES: Readonly<Record<Workload, readonly [string, ...string[]]>> = {
  training: ['pretrain', 'finetune', 'sft', 'rlhf', 'ablation', 'sweep'],
  inference: ['serve', 'vllm', 'embedder', 'ranker'],
  zombie: ['notebook', 'debug', 'dev-shell'],
};
/** After a gap longer than this the past is not played through event by event. */
const MAX_EVENTS_PER_ADVANCE = 10_000;

/** Draws jobs, places them on free GPUs and ends them. */
export class JobSchedule {
  readonly #random: SeededRandom;
  readonly #medianSeconds: number;
  readonly #jobs: (SimulatedJob | undefined)[];
  #nextArrivalMs: number;

  /** Starts with about half of the GPUs in use at `startMs`. */
  constructor(random: SeededRandom, gpus: number, medianSeconds: number, startMs: number) {
    this.#random = random;
    this.#medianSeconds = medianSeconds;
    this.#jobs = Array.from({ length: gpus });
    this.#nextArrivalMs = startMs;
    for (let job = 0; job < Math.max(1, gpus / 2); job += 1) this.#arrive(startMs);
  }

  /** The job on GPU `index`; undefined where it is free. */
  jobOf(index: number): SimulatedJob | undefined {
    return this.#jobs[index];
  }

  /** Plays the timeline up to `timeMs`; returns whether a GPU changed hands. */
  advance(timeMs: number): boolean {
    let changed = false;
    for (let events = 0; events < MAX_EVENTS_PER_ADVANCE; events += 1) {
      const ending = this.#firstToEnd();
      const endMs = ending?.endMs ?? Number.POSITIVE_INFINITY;
      const atMs = Math.min(endMs, this.#nextArrivalMs);
      if (atMs > timeMs) return changed;
      if (ending !== undefined && endMs === atMs) this.#release(ending);
      else this.#arrive(atMs);
      changed = true;
    }
    this.#nextArrivalMs = timeMs + 1;
    return changed;
  }

  #firstToEnd(): SimulatedJob | undefined {
    let first: SimulatedJob | undefined;
    for (const job of this.#jobs) {
      if (job !== undefined && (first === undefined || job.endMs < first.endMs)) first = job;
    }
    return first;
  }

  #release(job: SimulatedJob): void {
    for (const gpu of job.gpus) this.#jobs[gpu] = undefined;
  }

  /** A job asks for GPUs; where they are not free it goes to another node. */
  #arrive(atMs: number): void {
    const random = this.#random;
    // Run times average seven medians, sizes 2.7 GPUs: this keeps about two thirds of them in use.
    const meanMs = (this.#medianSeconds * 16_000) / this.#jobs.length;
    this.#nextArrivalMs = atMs + 1 + random.exponential(meanMs);
    const wanted = random.pick(SIZES);
    const gpus = [...this.#jobs.keys()].filter((gpu) => this.#jobs[gpu] === undefined);
    const chosen = gpus.slice(0, wanted);
    const job = this.#drawJob(chosen, atMs);
    if (chosen.length < wanted) return;
    for (const gpu of chosen) this.#jobs[gpu] = job;
  }

  #drawJob(gpus: readonly number[], startMs: number): SimulatedJob {
    const random = this.#random;
    const draw = random.next();
    const workload = draw < 0.6 ? 'training' : draw < 0.9 ? 'inference' : 'zombie';
    const name = random.pick(NAMES[workload]);
    const seconds = Math.min(random.logNormal(this.#medianSeconds, JOB_SIGMA), 7 * 86_400);
    const suffix = Math.floor(random.next() * 36 ** 5).toString(36);
    return {
      workload,
      namespace: random.pick(TEAMS),
      pod: `${name}-${suffix.padStart(5, '0')}-0`,
      container: workload === 'zombie' ? 'jupyter' : 'main',
      gpus,
      startMs,
      endMs: startMs + 1000 * Math.max(30, seconds),
      memoryShare: workload === 'training' ? random.between(0.7, 0.95) : random.between(0.2, 0.9),
      intensity: workload === 'training' ? random.between(0.75, 1) : random.between(0.4, 0.8),
    };
  }
}
