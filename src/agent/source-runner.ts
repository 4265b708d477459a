/**
 * One source and its moods: asks it for readings, never twice at once, waits only so long, and
 * after a failure leaves it alone for an interval or two: a longer pause would go on after the
 * outage. The log says once that a source is slower than the interval; such a source is asked again
 * as soon as it has answered. What it skips is counted, and logged now and then.
 */
import type { Logger } from 'pino';
import type { Reading, SkippedReading, Source, SourceReport } from '../client/reading.ts';
import { settledWithin } from '../client/wait.ts';
import { Backoff } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { errorMessage } from '../lib/errors.ts';
import type { SourceHealth } from './agent-stats.ts';

const SKIP_LOG_INTERVAL_MS = 60_000;
const MIN_BACKOFF_MS = 1000;
/** The longest pause after failures, in intervals. */
const MAX_BACKOFF_INTERVALS = 2;
/** An answer is that of a slow source, not of a dead one, for so many times what it took before. */
const SLOW_PATIENCE = 3;
/** Reasons named in one log line. */
const LOGGED_SKIPS = 5;

export interface SourceRunnerOptions {
  /**
   * How long one poll waits; a later answer is taken by the next poll. Infinity: as long as it
   * takes.
   */
  readonly deadlineMs: number;
  /** The agent's interval: the first pause after a failure. */
  readonly intervalMs: number;
}

export class SourceRunner {
  readonly #source: Source;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #options: SourceRunnerOptions;
  readonly #backoff: Backoff;
  /** The collection under way; settles and never rejects. */
  #running: Promise<void> | undefined;
  #outcome: SourceReport | { readonly error: unknown } | undefined;
  #retryAtMs = 0;
  #isUp = true;
  #isDone = false;
  #isSlow = false;
  #startedMs = 0;
  /** How long the last answer took; undefined before the first. */
  #tookMs: number | undefined;
  #failuresTotal = 0;
  #skippedTotal = 0;
  #nextSkipLogMs = 0;

  constructor(
    deps: { clock: Clock; logger: Logger },
    source: Source,
    options: SourceRunnerOptions,
  ) {
    this.#source = source;
    this.#clock = deps.clock;
    this.#logger = deps.logger.child({ source: source.name });
    this.#options = options;
    const initialMs = Math.max(MIN_BACKOFF_MS, options.intervalMs);
    this.#backoff = new Backoff({ initialMs, maxMs: initialMs * MAX_BACKOFF_INTERVALS });
  }

  get health(): SourceHealth {
    return {
      name: this.#source.name,
      isUp: this.#isUp,
      skippedTotal: this.#skippedTotal,
      failuresTotal: this.#failuresTotal,
    };
  }

  /** Whether the source has said that nothing more comes. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /**
   * The readings that are there by the deadline; none while the source fails or rests. Never
   * rejects.
   */
  async poll(signal?: AbortSignal): Promise<readonly Reading[]> {
    const { deadlineMs } = this.#options;
    if (this.#isDone || this.#clock.monotonicMs() < this.#retryAtMs) return [];
    const isLate = this.#running !== undefined;
    this.#running ??= this.#collect();
    await settledWithin(this.#clock, this.#running, deadlineMs, signal);
    const outcome = this.#outcome;
    if (outcome === undefined) {
      if (signal?.aborted !== true) this.#overdue();
      return [];
    }
    this.#outcome = undefined;
    this.#running = undefined;
    if ('error' in outcome) {
      this.#failuresTotal += 1;
      this.#failed(errorMessage(outcome.error));
      this.#retryAtMs = this.#clock.monotonicMs() + this.#backoff.nextDelayMs();
      return [];
    }
    this.#succeeded(outcome);
    // Readings carry the time at which they were taken, so what comes late is not new.
    if (isLate && !outcome.done && signal?.aborted !== true) this.#running = this.#collect();
    return outcome.readings;
  }

  /** Counts what was skipped on the way from this source, and logs it now and then. */
  countSkipped(skipped: readonly SkippedReading[]): void {
    if (skipped.length === 0) return;
    for (const skip of skipped) this.#skippedTotal += skip.count;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#nextSkipLogMs) return;
    this.#nextSkipLogMs = nowMs + SKIP_LOG_INTERVAL_MS;
    const fields = { skipped: skipped.slice(0, LOGGED_SKIPS), skippedTotal: this.#skippedTotal };
    this.#logger.warn(fields, 'readings were skipped');
  }

  close(): Promise<void> {
    return this.#source.close();
  }

  async #collect(): Promise<void> {
    this.#startedMs = this.#clock.monotonicMs();
    try {
      this.#outcome = await this.#source.collect();
      this.#tookMs = this.#clock.monotonicMs() - this.#startedMs;
    } catch (error) {
      this.#outcome = { error };
    }
  }

  /** No answer in time: from a source that has answered before it may still come. */
  #overdue(): void {
    const { deadlineMs } = this.#options;
    const waitedMs = this.#clock.monotonicMs() - this.#startedMs;
    const patienceMs = SLOW_PATIENCE * Math.max(deadlineMs, this.#tookMs ?? 0);
    if (this.#tookMs === undefined || waitedMs > patienceMs) {
      this.#failed(`no answer within ${Math.round(Math.max(waitedMs, deadlineMs))} ms`);
    } else if (!this.#isSlow) {
      this.#isSlow = true;
      const fields = { deadlineMs, lastAnswerMs: Math.round(this.#tookMs) };
      this.#logger.warn(
        fields,
        'the source is slower than the interval; it is read as fast as it answers',
      );
    }
  }

  #succeeded(report: SourceReport): void {
    if (!this.#isUp) this.#logger.info('source works again');
    this.#isUp = true;
    this.#backoff.reset();
    this.#isDone = report.done;
    this.countSkipped(report.skipped);
  }

  /** Logs the change, not every failure that follows. */
  #failed(why: string): void {
    if (this.#isUp) this.#logger.error({ why }, 'source fails');
    else this.#logger.debug({ why }, 'source still fails');
    this.#isUp = false;
  }
}
