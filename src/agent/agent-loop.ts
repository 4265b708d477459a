/**
 * The node agent's rounds: ask every source, lay the readings into batches, hand them to the
 * client. Rounds fall on multiples of the interval plus an offset of the node's own, so that a
 * fleet's agents neither send at the same moment nor drift. The client's spool is the buffer; a
 * round does not wait for acks, except where the interval is zero (replay as fast as the collector
 * takes it).
 */
import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import { BatchBuilder, type BatchLimits } from '../client/batch-builder.ts';
import type { SendResult, TelemetryClient } from '../client/client.ts';
import type { Reading, Source } from '../client/reading.ts';
import { settledWithin } from '../client/wait.ts';
import { type Clock, sleep } from '../lib/clock.ts';
import { agentReadings } from './agent-stats.ts';
import { RoundThrottle, type ThrottleOptions } from './round-throttle.ts';
import { SourceRunner } from './source-runner.ts';

export interface AgentLoopOptions {
  /** 0 = as fast as the collector acknowledges. */
  readonly intervalMs: number;
  /** Rounds to make; undefined = until stopped or every source is done. */
  readonly rounds?: number;
  /** Decides the offset within the interval: the node's id or host name. */
  readonly nodeKey: string;
  /** Bounds before the first Hello, and a tighter bound than the collector's if wanted. */
  readonly maxBatchSamples: number;
  /** Default: every round is made. */
  readonly throttle?: ThrottleOptions;
}

/** Bytes of one batch until the collector says otherwise. */
const ASSUMED_MAX_BATCH_BYTES = 1024 * 1024;
/** A source that hangs may hold up a round for this part of the interval. */
const DEADLINE_SHARE = 0.9;
/** How long the first round waits for the collector. */
const HELLO_WAIT_MS = 2000;
const NO_THROTTLE: ThrottleOptions = {
  isEnabled: false,
  maxQueueDepth: 1,
  maxBytes: 1,
  rate: 1,
};
/** With interval zero: the pause after a round that brought nothing. */
const EMPTY_ROUND_PAUSE_MS = 20;
/** With interval zero: the time between two looks at the agent itself. */
const OWN_READINGS_INTERVAL_MS = 10_000;

export class AgentLoop {
  readonly #clock: Clock;
  readonly #client: TelemetryClient;
  readonly #logger: Logger;
  readonly #options: AgentLoopOptions;
  readonly #runners: readonly SourceRunner[];
  readonly #builder = new BatchBuilder();
  readonly #stop = new AbortController();
  readonly #throttle: RoundThrottle;
  #nextOwnMs = 0;
  #rounds = 0;

  constructor(
    deps: { clock: Clock; logger: Logger; client: TelemetryClient },
    sources: readonly Source[],
    options: AgentLoopOptions,
  ) {
    this.#clock = deps.clock;
    this.#client = deps.client;
    this.#logger = deps.logger;
    this.#options = options;
    this.#throttle = new RoundThrottle(options.throttle ?? NO_THROTTLE);
    const deadlineMs =
      options.intervalMs === 0 ? Number.POSITIVE_INFINITY : options.intervalMs * DEADLINE_SHARE;
    this.#runners = sources.map(
      (source) => new SourceRunner(deps, source, { deadlineMs, intervalMs: options.intervalMs }),
    );
  }

  /** Makes rounds, the first at once, until `stop`, the last round, or the end of every source. */
  async run(): Promise<void> {
    const { signal } = this.#stop;
    const { rounds = Number.POSITIVE_INFINITY, intervalMs } = this.#options;
    // The Hello has the limits that batches are laid out for; without one they are guessed.
    await settledWithin(this.#clock, this.#client.connected(), HELLO_WAIT_MS, signal);
    for (let round = 1; !signal.aborted; round += 1) {
      const results = this.#isRoundDue() ? await this.#round() : [];
      if (round >= rounds || this.#runners.every((runner) => runner.isDone)) return;
      if (intervalMs === 0) {
        const forever = Number.POSITIVE_INFINITY;
        await settledWithin(this.#clock, Promise.all(results), forever, signal);
        if (results.length === 0) await sleep(this.#clock, EMPTY_ROUND_PAUSE_MS, signal);
      } else {
        await sleep(this.#clock, this.#untilNextRound(), signal);
      }
    }
  }

  /** Ends `run` soon; the round under way does not wait for its sources any more. Idempotent. */
  stop(): void {
    this.#stop.abort();
  }

  /** How the rounds and their sources fare. */
  get figures() {
    return {
      sources: this.#runners.map((runner) => runner.health),
      rounds: this.#rounds,
      throttledRounds: this.#throttle.throttledRounds,
      throttleRate: this.#throttle.rate,
    };
  }

  /** With interval zero the acknowledgements set the pace, and the spool does not fill. */
  #isRoundDue(): boolean {
    if (this.#options.intervalMs === 0) return true;
    const { pendingBatches: batches, spoolBytes: bytes } = this.#client.stats;
    const wasFull = this.#throttle.rate < 1;
    const isDue = this.#throttle.admit({ batches, bytes });
    const { rate } = this.#throttle;
    if (rate < 1 && !wasFull) {
      this.#logger.warn({ batches, bytes }, 'the spool fills; collecting less often');
    } else if (rate === 1 && wasFull) this.#logger.info('collecting at every interval again');
    return isDue;
  }

  async #round(): Promise<Promise<SendResult>[]> {
    this.#rounds += 1;
    const active = this.#runners.filter((runner) => !runner.isDone);
    const collected = await Promise.all(active.map((runner) => runner.poll(this.#stop.signal)));
    const results: Promise<SendResult>[] = [];
    // One build for all: a table may hold series of several sources, and stays the same bytes.
    const own = this.#ownReadings();
    const built = this.#builder.build([...collected.flat(), ...own], this.#limits());
    for (const { table, samples } of built.batches) {
      results.push(this.#client.send(table, samples));
    }
    this.#countSkipped(active, collected, built.skipped);
    return results;
  }

  #ownReadings(): Reading[] {
    const monotonicMs = this.#clock.monotonicMs();
    if (monotonicMs < this.#nextOwnMs) return [];
    if (this.#options.intervalMs === 0) this.#nextOwnMs = monotonicMs + OWN_READINGS_INTERVAL_MS;
    const health = this.#runners.map((runner) => runner.health);
    return agentReadings(this.#clock.nowMs(), health, this.#client.stats);
  }

  #limits(): BatchLimits {
    const { hello } = this.#client;
    const { maxBatchSamples } = this.#options;
    return {
      maxBatchSamples: Math.min(maxBatchSamples, hello?.maxBatchSamples ?? maxBatchSamples),
      maxBatchBytes: hello?.maxBatchBytes ?? ASSUMED_MAX_BATCH_BYTES,
      maxNameBytes: hello?.maxNameBytes ?? 0,
      maxLabelsPerSeries: hello?.maxLabelsPerSeries ?? 0,
      maxLabelValueBytes: hello?.maxLabelValueBytes ?? 0,
      maxHoursPerBatch: hello?.maxHoursPerBatch ?? 0,
    };
  }

  /** What the builder could not place belongs to the source that brought the metric. */
  #countSkipped(
    runners: readonly SourceRunner[],
    collected: readonly (readonly Reading[])[],
    skipped: readonly { what: string; why: string; count: number }[],
  ): void {
    if (skipped.length === 0) return;
    runners.forEach((runner, index) => {
      const names = new Set(collected[index]!.map((reading) => reading.name));
      runner.countSkipped(skipped.filter((skip) => names.has(skip.what)));
    });
    this.#logger.debug({ skipped: skipped.slice(0, 10) }, 'readings without a place in a batch');
  }

  #untilNextRound(): number {
    const { intervalMs, nodeKey } = this.#options;
    return untilNextRound(this.#clock.nowMs(), intervalMs, roundOffset(nodeKey, intervalMs));
  }
}

/**
 * Where in the interval a node's rounds lie: spread evenly over nodes, the same after a restart.
 */
export function roundOffset(nodeKey: string, intervalMs: number): number {
  const digest = createHash('sha256').update(nodeKey).digest();
  return Math.floor((digest.readUInt32BE(0) / 2 ** 32) * intervalMs);
}

/** Milliseconds from `nowMs` to the next multiple of the interval plus the offset; never 0. */
export function untilNextRound(nowMs: number, intervalMs: number, offsetMs: number): number {
  const sinceLast = (nowMs - offsetMs) % intervalMs;
  return intervalMs - (sinceLast < 0 ? sinceLast + intervalMs : sinceLast);
}
