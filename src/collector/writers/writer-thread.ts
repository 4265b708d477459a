/**
 * The main thread's side of a writer: starts its worker, commits the progress it reports, tells it
 * about new records, and starts another when it ends.
 *
 *     stopped ──start──► running ◄──► backing_off        (as the worker says)
 *                           │ worker ends
 *                           ▼
 *                     backing_off ──after a while, from the committed cursor──► running
 *                     broken: it ended too often within a minute; the next start waits longer
 *
 * A worker that ends loses nothing: what it had not reported comes again from the journal.
 */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import { Backoff } from '../../lib/backoff.ts';
import { type Clock, sleep } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import { repeat } from '../../lib/repeat.ts';
import { SilenceWatch } from './silence-watch.ts';
import { StatusTotals } from './status-totals.ts';
import type { WriterName, WriterProgress, WriterTask } from './writer.ts';
import type {
  DeadLetterSettings,
  FromWorker,
  ToWorker,
  WorkerSetup,
  WorkerStatus,
} from './writer-messages.ts';
import type { WriterState, WriterStatus } from './writer-status.ts';
import type { WritersMetrics } from './writers-metrics.ts';

export type WriterThreadOptions = WriterTask & {
  readonly journalDir: string;
  readonly deadLetters: DeadLetterSettings;
  /** The journal's lease under which this process writes. */
  readonly incarnation: number;
  /** Where the journal says this writer is. */
  readonly startCursor: number;
};

const MAX_HEAP_MB = 1024;
/** A quarter of the engine’s default: measured, it takes less memory and no more CPU. */
const NURSERY_MB = 12;
const HEAD_DELAY_MS = 10;
const RESTARTS_PER_MINUTE = 5;
const BROKEN_WAIT_MS = 60_000;
const MINUTE_MS = 60_000;
const COMMIT_RETRY_MS = 500;
const CLOSE_TIMEOUT_MS = 5000;
const WATCH_INTERVAL_MS = 1000;

export class WriterThread {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #options: WriterThreadOptions;
  readonly #totals = new StatusTotals();
  readonly #silence: SilenceWatch;
  readonly #restartBackoff = new Backoff({ initialMs: 250, maxMs: 30_000 });
  #onProgress: (progress: WriterProgress) => Promise<void> = async () => {};
  #worker: Worker | undefined;
  #exited: Promise<void> = Promise.resolve();
  #state: WriterState = 'stopped';
  #lastStatus: WorkerStatus | undefined;
  #lastError = '';
  /** Why the worker was ended from here; '' where it was not. */
  #hang = '';
  #failingSinceMs = 0;
  #headSeq: number;
  #isHeadDue = false;
  #cursor: number;
  #committing: Promise<void> = Promise.resolve();
  #restartTimes: number[] = [];
  #restarts = 0;
  #cancelRestart: () => void = () => {};
  #stopWatching: () => void = () => {};
  #onDrained: () => void = () => {};
  readonly #closing = new AbortController();

  constructor(
    deps: { clock: Clock; logger: Logger; metrics: WritersMetrics },
    options: WriterThreadOptions,
  ) {
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#options = options;
    this.#silence = new SilenceWatch(deps.clock);
    this.#headSeq = options.startCursor;
    this.#cursor = options.startCursor;
    deps.metrics.watch(options.name, () => this.status);
  }

  get name(): WriterName {
    return this.#options.name;
  }

  get status(): WriterStatus {
    const worker = this.#lastStatus;
    return {
      state: this.#state === 'running' && worker !== undefined ? worker.state : this.#state,
      breaker: worker?.breaker ?? 'closed',
      headSeq: this.#headSeq,
      readSeq: worker?.readSeq ?? this.#cursor,
      cursor: this.#cursor,
      lagMs: this.#ageMs(worker?.oldestUnsafeMs ?? 0),
      failingMs: this.#ageMs(this.#failingSinceMs || (worker?.failingSinceMs ?? 0)),
      silentMs: this.#worker === undefined ? 0 : this.#silence.silentMs,
      lastSuccessMs: this.#totals.lastProgressMs,
      lastError: this.#lastError || (worker?.lastError ?? ''),
      restarts: this.#restarts,
      ...this.#totals.sums(),
    };
  }

  /**
   * Starts the worker. `onProgress` commits to the journal; the next report waits for it, and where
   * it rejects the same progress is handed over again a little later.
   */
  start(onProgress: (progress: WriterProgress) => Promise<void>): void {
    this.#onProgress = onProgress;
    this.#spawn();
    this.#stopWatching = repeat(this.#clock, WATCH_INTERVAL_MS, () => this.#endIfHung());
  }

  /**
   * Records up to `seq` are durable. The worker hears of it a moment later: of several commits at
   * once, and not while the processors are needed for the acknowledgements of this one.
   */
  notifyHead(seq: number): void {
    if (seq <= this.#headSeq) return;
    this.#headSeq = seq;
    if (this.#isHeadDue) return;
    this.#isHeadDue = true;
    this.#clock.after(HEAD_DELAY_MS, () => {
      this.#isHeadDue = false;
      this.#post({ type: 'head', seq: this.#headSeq });
    });
  }

  /**
   * Has everything in the journal written and made safe, for at most `deadlineMs` from now; what
   * does not fit stays in the journal. Nothing is written afterwards. Never rejects.
   */
  async drain(deadlineMs: number): Promise<void> {
    if (this.#worker === undefined) return;
    const timeout = new AbortController();
    await new Promise<void>((resolve) => {
      this.#onDrained = resolve;
      void sleep(this.#clock, deadlineMs, timeout.signal).then(resolve);
      this.#post({ type: 'drain', targetSeq: this.#headSeq, budgetMs: deadlineMs * 0.9 });
    });
    timeout.abort();
    this.#onDrained = () => {};
  }

  /**
   * Ends the worker by force; another one takes over from the committed cursor, as after a crash.
   */
  restart(): void {
    void this.#worker?.terminate();
  }

  /**
   * Ends the worker: by its own way out, or by force after a few seconds. A thread that is stuck in
   * the operating system cannot be ended; it is left behind. Idempotent.
   */
  async close(): Promise<void> {
    if (!this.#closing.signal.aborted) {
      this.#closing.abort();
      this.#cancelRestart();
      this.#stopWatching();
      this.#onDrained();
      this.#post({ type: 'close' });
    }
    const worker = this.#worker;
    const cancel = this.#clock.after(CLOSE_TIMEOUT_MS, () => void worker?.terminate());
    const ended = new AbortController();
    const givenUp = sleep(this.#clock, 2 * CLOSE_TIMEOUT_MS, ended.signal);
    await Promise.race([this.#exited, givenUp]);
    ended.abort();
    cancel();
    await this.#committing;
    this.#state = 'stopped';
  }

  /** Another worker takes over once this one has ended, from the committed cursor. */
  #endIfHung(): void {
    if (this.#worker === undefined || !this.#silence.takeHang()) return;
    const silentSeconds = Math.round(this.#silence.silentMs / 1000);
    this.#hang = `its thread said nothing for ${silentSeconds} s`;
    this.#logger.error({ writer: this.name, silentSeconds }, 'writer hangs; ending its thread');
    this.restart();
  }

  #spawn(): void {
    const { name, settings, journalDir, incarnation, deadLetters } = this.#options;
    const setup: WorkerSetup = {
      task: { name, settings } as WriterTask,
      journalDir,
      deadLetters,
      incarnation,
      startCursor: this.#cursor,
    };
    const worker = new Worker(workerUrl(), {
      name: `writer-${name}`,
      workerData: setup,
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB, maxYoungGenerationSizeMb: NURSERY_MB },
    });
    this.#worker = worker;
    this.#state = 'running';
    this.#silence.heard();
    this.#hang = '';
    const startedMs = this.#clock.monotonicMs();
    let fault = '';
    worker.on('message', (message: FromWorker) => {
      this.#silence.heard();
      if (message.type === 'fatal') fault = message.message;
      else this.#receive(worker, message);
    });
    worker.on('error', (error) => {
      fault ||= errorMessage(error);
    });
    this.#exited = new Promise((resolve) => {
      worker.on('exit', (code) => {
        void this.#ended(fault || this.#hang || `exit code ${code}`, startedMs).then(resolve);
      });
    });
    this.#post({ type: 'head', seq: this.#headSeq });
  }

  #receive(worker: Worker, message: Exclude<FromWorker, { type: 'fatal' }>): void {
    switch (message.type) {
      case 'progress':
        this.#committing = this.#commit(worker, message.progress);
        return;
      case 'status':
        this.#takeStatus(message.status);
        return;
      case 'log':
        this.#logger[message.level]({ writer: this.name, ...message.fields }, message.message);
        return;
      case 'drained':
        this.#onDrained();
    }
  }

  #takeStatus(status: WorkerStatus): void {
    this.#lastStatus = status;
    this.#totals.take(status);
    this.#lastError = '';
    this.#failingSinceMs = 0;
  }

  /** Commits one report of `worker`; tries on as long as that worker lives. */
  async #commit(worker: Worker, progress: WriterProgress): Promise<void> {
    for (;;) {
      try {
        await this.#onProgress(progress);
        this.#cursor = progress.cursor;
        this.#silence.progressed();
        if (this.#worker === worker) this.#post({ type: 'committed' });
        return;
      } catch (error) {
        this.#logger.error({ err: error, writer: this.name }, 'cannot commit progress');
      }
      await sleep(this.#clock, COMMIT_RETRY_MS, this.#closing.signal);
      // Of a worker that is gone, uncommitted progress is forgotten: the next one makes it again.
      if (this.#worker !== worker || this.#closing.signal.aborted) return;
    }
  }

  async #ended(why: string, startedMs: number): Promise<void> {
    this.#worker = undefined;
    this.#totals.workerEnded();
    this.#lastStatus = undefined;
    // There is no worker left to drain; what remains stays in the journal.
    this.#onDrained();
    await this.#committing;
    if (this.#closing.signal.aborted) return;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - startedMs > MINUTE_MS) this.#restartBackoff.reset();
    this.#restartTimes = this.#restartTimes.filter((time) => nowMs - time < MINUTE_MS);
    this.#restartTimes.push(nowMs);
    this.#restarts += 1;
    const isBroken = this.#restartTimes.length > RESTARTS_PER_MINUTE;
    this.#state = isBroken ? 'broken' : 'backing_off';
    this.#lastError = `writer ended: ${why}`;
    this.#failingSinceMs ||= this.#clock.nowMs();
    const waitMs = this.#restartBackoff.nextDelayMs(isBroken ? BROKEN_WAIT_MS : 0);
    this.#logger.error(
      { writer: this.name, why, restarts: this.#restarts, waitMs: Math.round(waitMs) },
      'writer ended; another one starts at the committed cursor',
    );
    this.#cancelRestart = this.#clock.after(waitMs, () => this.#spawn());
  }

  /** Of a wall time; 0 where there is none. */
  #ageMs(sinceMs: number): number {
    return sinceMs === 0 ? 0 : Math.max(0, this.#clock.nowMs() - sinceMs);
  }

  #post(message: ToWorker): void {
    this.#worker?.postMessage(message);
  }
}

/** The worker's entry is beside this file, compiled or not. */
function workerUrl(): URL {
  const extension = path.extname(fileURLToPath(import.meta.url));
  return new URL(`./writer-worker${extension}`, import.meta.url);
}
