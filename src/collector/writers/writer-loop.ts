/**
 * The loop around a writer, in its worker thread: read a bounded slice of the journal, write it,
 * report how far everything is safe.
 *
 *     running ──write fails──► backing off ──wait over──► running      (retry-policy.ts)
 *        │ drain
 *        ▼
 *     draining: read up to the target, flush, say so; then idle until closed
 *
 * Guarantees: records reach the writer in order and none is left out except damaged ones, which
 * become dead letters; after a failure the same records come again; progress never goes back. The
 * loop itself only fails on a bug.
 */
import type { Clock } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import { LagTracker } from './lag-tracker.ts';
import type { RecordFeed } from './record-feed.ts';
import { type BreakerState, RetryPolicy } from './retry-policy.ts';
import { WakeUp } from '../../lib/wake-up.ts';
import { WriteFault, type WriteFaultReason } from './write-fault.ts';
import type { Writer, WriterLog, WriterProgress, WriterRecord } from './writer.ts';

export interface WriterLoopDeps {
  readonly clock: Clock;
  readonly log: WriterLog;
  readonly random: () => number;
  readonly feed: RecordFeed;
  readonly writer: Writer;
  /** Hands progress to the main thread; cursors rise from call to call. */
  readonly report: (progress: WriterProgress) => void;
}

export interface WriterLoopOptions {
  readonly startCursor: number;
  /** Bounds of one slice: the memory of what is being written. */
  readonly maxSliceRecords?: number;
  readonly maxSliceBytes?: number;
  /** Pause after a small slice, so that a trickle is written in few requests. */
  readonly lingerMs?: number;
}

/** What the loop says about itself. Times are Unix ms; 0 is never. */
export interface LoopStatus {
  readonly state: 'running' | 'backing_off';
  readonly breaker: BreakerState;
  /** Everything up to here was read and taken. */
  readonly readSeq: number;
  /** Everything up to here is safe. */
  readonly cursor: number;
  readonly headSeq: number;
  /** When the oldest record that is not safe yet was received; 0 where there is none. */
  readonly oldestUnsafeMs: number;
  /** Since when writing has failed without a success between; 0 while it does not. */
  readonly failingSinceMs: number;
  /** When something last became safe. */
  readonly lastProgressMs: number;
  readonly lastError: string;
  readonly writes: number;
  readonly failures: Readonly<Partial<Record<WriteFaultReason, number>>>;
  readonly damagedRecords: number;
  readonly stats: Readonly<Record<string, number>>;
}

const TICK_MS = 1000;
const DEFAULT_LINGER_MS = 200;
const DEFAULT_SLICE_RECORDS = 4096;
const DEFAULT_SLICE_BYTES = 4 * 1024 * 1024;
/** Part of the time to drain in that may go into writing what waits; the rest is for the flush. */
const DRAIN_READ_SHARE = 0.7;

interface Drain {
  readonly targetSeq: number;
  readonly stopReadingMs: number;
  readonly finish: () => void;
}

export class WriterLoop {
  readonly #deps: WriterLoopDeps;
  readonly #options: Required<WriterLoopOptions>;
  readonly #retry: RetryPolicy;
  readonly #wakeUp: WakeUp;
  readonly #lag = new LagTracker();
  readonly #failures: Partial<Record<WriteFaultReason, number>> = {};
  #closed = false;
  #drain: Drain | undefined;
  #drained = false;
  #headSeq: number;
  #cursor: number;
  /** Monotonic; nothing is written before. */
  #notBeforeMs = 0;
  #isBackingOff = false;
  #nextTickMs: number;
  #writes = 0;
  #failingSinceMs = 0;
  #lastProgressMs = 0;
  #lastError = '';

  constructor(deps: WriterLoopDeps, options: WriterLoopOptions) {
    this.#deps = deps;
    this.#options = {
      maxSliceRecords: DEFAULT_SLICE_RECORDS,
      maxSliceBytes: DEFAULT_SLICE_BYTES,
      lingerMs: DEFAULT_LINGER_MS,
      ...options,
    };
    this.#retry = new RetryPolicy(deps.random);
    this.#wakeUp = new WakeUp(deps.clock);
    this.#headSeq = options.startCursor;
    this.#cursor = options.startCursor;
    this.#nextTickMs = deps.clock.monotonicMs() + TICK_MS;
  }

  /** Runs until closed. Rejects only on a bug. */
  async run(): Promise<void> {
    while (!this.#closed) await this.#turn();
    this.#drain?.finish();
  }

  /** Records up to `seq` are durable; later ones are not read. */
  notifyHead(seq: number): void {
    if (seq <= this.#headSeq) return;
    this.#headSeq = seq;
    this.#wakeUp.poke();
  }

  /**
   * Writes what is in the journal up to `targetSeq`, as far as `budgetMs` allows, then makes it
   * safe. Nothing is read afterwards. Resolves when done; may take longer than the budget where the
   * writer does.
   */
  drain(targetSeq: number, budgetMs: number): Promise<void> {
    this.notifyHead(targetSeq);
    return new Promise((resolve) => {
      const stopReadingMs = this.#deps.clock.monotonicMs() + budgetMs * DRAIN_READ_SHARE;
      this.#drain = { targetSeq, stopReadingMs, finish: resolve };
      // Whatever it was waiting for: this is the last chance, so try at once.
      this.#notBeforeMs = 0;
      this.notifyHead(targetSeq);
      this.#wakeUp.poke();
    });
  }

  /** Makes `run` return after what is under way. */
  close(): void {
    this.#closed = true;
    this.#wakeUp.poke();
  }

  status(): LoopStatus {
    return {
      state: this.#isBackingOff ? 'backing_off' : 'running',
      breaker: this.#retry.breaker,
      readSeq: this.#deps.feed.readSeq,
      cursor: this.#cursor,
      headSeq: this.#headSeq,
      oldestUnsafeMs: this.#oldestUnsafeMs(),
      failingSinceMs: this.#failingSinceMs,
      lastProgressMs: this.#lastProgressMs,
      lastError: this.#lastError,
      writes: this.#writes,
      failures: this.#failures,
      damagedRecords: this.#deps.feed.damagedRecords,
      stats: this.#deps.writer.stats(),
    };
  }

  /** Everything read may be safe while more and more waits to be read: that is lag as well. */
  #oldestUnsafeMs(): number {
    const ofRead = this.#lag.oldestUnsafeMs(this.#cursor);
    if (ofRead > 0 || this.#headSeq <= this.#cursor) return ofRead;
    return this.#deps.feed.receivedAfter(this.#cursor);
  }

  async #turn(): Promise<void> {
    const nowMs = this.#deps.clock.monotonicMs();
    if (nowMs >= this.#nextTickMs) {
      this.#nextTickMs = nowMs + TICK_MS;
      // A writer that is being waited for is left alone: its tick would only fail the same way.
      if (!this.#isBackingOff) await this.#attempt(() => this.#deps.writer.tick());
      return;
    }
    if (this.#drain !== undefined && this.#isDrained(this.#drain, nowMs)) {
      await this.#finishDrain(this.#drain);
      return;
    }
    const mayWrite = !this.#drained && nowMs >= this.#notBeforeMs;
    if (mayWrite && (await this.#writeSlice())) return;
    await this.#wakeUp.wait(this.#idleMs());
  }

  /** Until there is something to do again, as far as is known. */
  #idleMs(): number {
    const nowMs = this.#deps.clock.monotonicMs();
    let untilMs = Math.min(this.#nextTickMs, this.#drain?.stopReadingMs ?? Infinity);
    if (!this.#drained && this.#notBeforeMs > nowMs) untilMs = Math.min(untilMs, this.#notBeforeMs);
    return Math.max(0, untilMs - nowMs);
  }

  /** False where there was nothing to write. */
  async #writeSlice(): Promise<boolean> {
    const { feed, writer } = this.#deps;
    this.#retry.trying();
    const isProbe = this.#retry.breaker === 'probing';
    let isEmpty = false;
    await this.#attempt(async () => {
      if (isProbe) await writer.probe?.();
      this.#followWriter();
      const before = feed.readSeq;
      const isCautious = isProbe && writer.probe === undefined;
      const maxRecords = isCautious ? 1 : this.#options.maxSliceRecords;
      const backlog = writer.backlog?.() ?? 'none';
      const records = backlog === 'full' ? [] : this.#read(maxRecords);
      if (records.length === 0 && backlog === 'none') {
        isEmpty = feed.readSeq === before;
        return undefined;
      }
      const progress = await this.#hand(records);
      this.#writes += 1;
      const bytes = records.reduce((sum, record) => sum + record.bytes, 0);
      const isSmall = bytes < this.#options.maxSliceBytes / 4 && records.length < maxRecords;
      const mayWait = this.#drain === undefined && (writer.backlog?.() ?? 'none') === 'none';
      if (isSmall && mayWait) this.#pause(this.#options.lingerMs);
      return progress;
    });
    return !isEmpty;
  }

  #read(maxRecords: number): readonly WriterRecord[] {
    const { feed } = this.#deps;
    const records = feed.next(maxRecords, this.#options.maxSliceBytes, this.#headSeq);
    for (const record of records) this.#lag.add(record.seq, record.receivedAtMs);
    return records;
  }

  /** Hands the records over; they count as taken where the writer keeps them although it fails. */
  async #hand(records: readonly WriterRecord[]): Promise<WriterProgress | undefined> {
    const { feed, writer } = this.#deps;
    const lastSeq = records.at(-1)?.seq ?? 0;
    try {
      const progress = await writer.write(records);
      feed.taken(lastSeq);
      return progress;
    } catch (error) {
      if (writer.readFrom?.() === lastSeq + 1) feed.taken(lastSeq);
      throw error;
    }
  }

  /**
   * Reads from where the writer wants to go on: it may have lost what it held, or know more than
   * we.
   */
  #followWriter(): void {
    const { feed, writer } = this.#deps;
    const wanted = writer.readFrom?.();
    if (wanted === undefined) return;
    if (wanted - 1 < feed.takenSeq || wanted - 1 > feed.readSeq) feed.moveTo(wanted - 1);
  }

  /** Does one thing that may make progress, and takes note of how it went. */
  async #attempt(work: () => Promise<WriterProgress | undefined>): Promise<void> {
    try {
      this.#accept(await work());
    } catch (error) {
      this.#fail(toFault(error));
      return;
    }
    const { failures } = this.#retry;
    this.#retry.succeeded();
    this.#isBackingOff = false;
    if (this.#deps.writer.owes?.() === true) return;
    if (this.#failingSinceMs > 0) this.#deps.log('info', 'writing again', { failures });
    this.#failingSinceMs = 0;
    this.#lastError = '';
  }

  #accept(progress: WriterProgress | undefined): void {
    if (progress === undefined) return;
    this.#deps.feed.taken(progress.cursor);
    this.#cursor = Math.max(this.#cursor, progress.cursor);
    this.#lastProgressMs = this.#deps.clock.nowMs();
    const lost = this.#deps.feed.lostUpTo(this.#cursor);
    const deadLetteredSamples = progress.deadLetteredSamples + lost;
    this.#deps.report({ ...progress, cursor: this.#cursor, deadLetteredSamples });
  }

  #fail(fault: WriteFault): void {
    if (this.#closed) return;
    if (fault.progress !== undefined) this.#accept(fault.progress);
    if (fault.isAdvanced) {
      this.#retry.succeeded();
      this.#failingSinceMs = 0;
    }
    const waitMs = this.#retry.failed(fault);
    this.#failures[fault.reason] = (this.#failures[fault.reason] ?? 0) + 1;
    this.#isBackingOff = true;
    this.#lastError = fault.message;
    if (this.#failingSinceMs === 0) this.#failingSinceMs = this.#deps.clock.nowMs();
    this.#pause(waitMs);
    this.#deps.log('warn', 'cannot write; will try again', {
      error: fault.message,
      reason: fault.reason,
      status: fault.status,
      failures: this.#retry.failures,
      breaker: this.#retry.breaker,
      waitMs: Math.round(waitMs),
    });
  }

  #pause(ms: number): void {
    this.#notBeforeMs = this.#deps.clock.monotonicMs() + ms;
  }

  #isDrained(drain: Drain, nowMs: number): boolean {
    return this.#deps.feed.readSeq >= drain.targetSeq || nowMs >= drain.stopReadingMs;
  }

  async #finishDrain(drain: Drain): Promise<void> {
    await this.#attempt(() => this.#deps.writer.flush());
    this.#drain = undefined;
    this.#drained = true;
    drain.finish();
  }
}

function toFault(error: unknown): WriteFault {
  if (error instanceof WriteFault) return error;
  return new WriteFault(errorMessage(error), { reason: 'local', cause: error });
}
