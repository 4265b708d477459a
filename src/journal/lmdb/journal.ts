/**
 * The durable log between agents and writers, the centre of the daemon. Once `append` resolves, the
 * batch survives SIGKILL, power loss and a full disk.
 *
 *     append ─► queue ─┐                 ┌─► fold: head, windows, tables ─► resolve, wake writers
 *     commitCursor ────┼─► one loop ─► one transaction at a time ─► on disk
 *     series, ledger ──┘                 └─► failed: nothing folded, all who wait get the error
 *
 * Guarantees:
 * - A record, its producer's window and the ledger are one transaction; so are a cursor and what
 *   its writer has written. In memory they change after the commit, so memory never runs ahead.
 * - Group commit: whatever was queued while one transaction was on its way to the disk is the next.
 * - A failed transaction leaves everything as it was, and the next one is simply tried: a full or
 *   read-only disk is a state that can pass. Appends and cursors never share a transaction, so
 *   that records can be removed when none can be added.
 * - Opening reads no records. Removing them goes in slices of MAX_TRIM_RECORDS per transaction.
 *
 * Only one daemon at a time (lib/directory-lock.ts), only its main thread writes; writer threads
 * read the same directory through journal-reader.ts.
 */
import fs from 'node:fs';
import type { Logger } from 'pino';
import type { Clock } from '../../lib/clock.ts';
import { type DirectoryLock, lockDirectory } from '../../lib/directory-lock.ts';
import { assert, errorMessage, OperatingError } from '../../lib/errors.ts';
import { nodeFileSystem } from '../../lib/filesystem.ts';
import { promiseParts } from '../../lib/promise-parts.ts';
import { repeat } from '../../lib/repeat.ts';
import type { SeriesChange } from '../../domain/telemetry.ts';
import type { AppendLog, JournalEntry, LogHealth, ProducerState } from '../append-log.ts';
import type { CursorProgress, Cursors } from '../cursors.ts';
import type { Ledger } from '../ledger.ts';
import { AppendQueue } from './append-queue.ts';
import type { CursorWaiter } from './cursors.ts';
import { DiskBudget } from './disk-budget.ts';
import { WriteList } from './environment.ts';
import type { JournalMetrics } from './journal-metrics.ts';
import { type OpenedJournal, openCore } from './journal-opening.ts';
import type { JournalAncestor, JournalIdentity } from './journal-state.ts';
import type { Now } from './producers.ts';
import { encodeRecord } from './record.ts';
import { readSeriesLog, type SeriesMembers } from './series-log.ts';
import {
  type JournalCore,
  type PlannedTransaction,
  planAppends,
  planMaintenance,
  writeState,
} from './transactions.ts';

/** One transaction of records holds at most this much, unless one record alone is larger. */
const MAX_GROUP_BYTES = 8 * 1024 * 1024;
/** More than this waiting for the disk is refused; admission's gate should shut long before. */
const MAX_QUEUED_BYTES = 512 * 1024 * 1024;
const MAINTENANCE_INTERVAL_MS = 1000;

export interface JournalOptions {
  /** Created if missing. */
  readonly dir: string;
  /** Bytes of disk for records that some writer still has to write. */
  readonly maxBytes: number;
  /** Free bytes to leave on the file system. */
  readonly minFreeBytes: number;
  /** Those that exist now; cursors of others are dropped, new ones start at the oldest record. */
  readonly writers: readonly string[];
  /** The newest record that a destination holds of a journal; see journal-opening.ts. */
  readonly newestSeen?: (id: string, headSeq: number) => number;
  /** Up to which record a writer's destination holds everything; see journal-opening.ts. */
  readonly heldUpTo?: (writer: string, journal: JournalIdentity) => number | undefined;
  /** Runs a step that may wait for another process; see journal-opening.ts. */
  readonly watchStep?: <T>(step: () => T) => Promise<T>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: JournalMetrics;
}

export class Journal implements AppendLog, LogHealth, Cursors {
  readonly #core: JournalCore;
  readonly #opened: OpenedJournal;
  readonly #lock: DirectoryLock;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #metrics: JournalMetrics;
  readonly #budget: DiskBudget;
  readonly #queue = new AppendQueue();
  readonly #appendedListeners: ((headSeq: number) => void)[] = [];
  readonly #brokenListeners: ((reason: string) => void)[] = [];
  readonly #stopTicking: () => void;
  /** Who waits for the next commit, whatever is in it. */
  readonly #bookings: CursorWaiter[] = [];
  #loop: Promise<void> | undefined;
  #ledgerChanged = false;
  /** The once-a-second work is due. */
  #tickDue = false;
  /** The last try to maintain failed: wait for a reason or a tick. */
  #maintenanceFailed = false;
  #failure: OperatingError | undefined;
  #lastCommitMs = 0;
  #closing: Promise<void> | undefined;

  private constructor(options: JournalOptions, opened: OpenedJournal, lock: DirectoryLock) {
    this.#core = opened.core;
    this.#opened = opened;
    this.#lock = lock;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#metrics = options.metrics;
    this.#budget = new DiskBudget(options.clock, {
      maxBytes: options.maxBytes,
      minFreeBytes: options.minFreeBytes,
      freeBytes: () => nodeFileSystem.freeBytes(options.dir),
    });
    this.#core.ledger.onChange(() => {
      this.#ledgerChanged = true;
    });
    this.#stopTicking = repeat(options.clock, MAINTENANCE_INTERVAL_MS, () => this.#tick());
    this.#metrics.watch(() => this.#figures());
  }

  /**
   * Opens the directory and takes it over. Reads no records. Throws OperatingError: JOURNAL_LOCKED,
   * JOURNAL_LOCK_FAILED, JOURNAL_FORMAT, JOURNAL_DAMAGED, JOURNAL_FULL or JOURNAL_UNAVAILABLE.
   */
  static async open(options: JournalOptions): Promise<Journal> {
    makeDirectory(options.dir);
    const lock = await lockDirectory(options.dir, 'journal');
    try {
      return new Journal(options, await openCore(options), lock);
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /** Tells this journal from any other; random, made with the journal. */
  get id(): string {
    return this.#opened.identity.id;
  }

  /** The journals of which this one was an older copy, oldest first. */
  get ancestors(): readonly JournalAncestor[] {
    return this.#opened.identity.ancestors ?? [];
  }

  /** How often this journal has been opened by a daemon; rises by one with each start. */
  get incarnation(): number {
    return this.#core.env.lease;
  }

  /** Whether the previous daemon ended without closing the journal. */
  get unclean(): boolean {
    return this.#opened.unclean;
  }

  get ledger(): Ledger {
    return this.#core.ledger;
  }

  /** The newest durable record; 0 before the first. */
  get headSeq(): number {
    return this.#core.head.seq;
  }

  /** The newest record that has been removed; 0 before the first. */
  get tailSeq(): number {
    return this.#core.tail.seq;
  }

  /** Bytes of disk that the records from tail to head take. */
  get liveBytes(): number {
    return this.#core.head.cumulativeBytes - this.#core.tail.cumulativeBytes;
  }

  /** Unix ms of the last successful commit since the opening; 0 before the first. */
  get lastCommitMs(): number {
    return this.#lastCommitMs;
  }

  /** Why the last commit failed; undefined while commits succeed. */
  get failure(): OperatingError | undefined {
    return this.#failure;
  }

  /** Whether agents have to wait for room on the disk. */
  isFull(): boolean {
    return this.#budget.isFull(this.liveBytes + this.#queue.bytes);
  }

  /** Why agents have to wait for room on the disk; undefined while they need not. */
  shortage(): string | undefined {
    return this.#budget.shortage(this.liveBytes + this.#queue.bytes);
  }

  /** Sequences that were passed over without ever having been received. */
  knownGaps(): number {
    return this.#core.gaps;
  }

  /** The nodes with the most of them since the start of the process. */
  nodesWithGaps(limit: number): { nodeId: string; gaps: number }[] {
    return this.#core.producers.mostGaps(limit);
  }

  /** What is known of a sequence; `append` takes only new ones. */
  producer(nodeId: string, epoch: number, sequence: number): ProducerState {
    return this.#core.producers.state(nodeId, epoch, sequence);
  }

  /**
   * Makes a batch durable and resolves with its seq. Copies the samples before it returns; the
   * table's bytes must not change. Rejects with OperatingError JOURNAL_FULL or JOURNAL_UNAVAILABLE;
   * then nothing of the batch is kept and its sequence is new again.
   */
  append(entry: JournalEntry): Promise<number> {
    const refusal = this.#refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    const { nodeId, epoch, sequence } = entry;
    assert(this.producer(nodeId, epoch, sequence) === 'new', 'appended a sequence twice');
    const record = encodeRecord(entry);
    this.#core.producers.begin(entry);
    const { table, samples, outcome } = entry;
    const { promise, resolve, reject } = promiseParts<number>();
    const count = samples.values.length;
    this.#queue.add({
      ...{ nodeId, epoch, sequence, table, samples: count, outcome, record, resolve, reject },
    });
    this.#work();
    return promise;
  }

  /** Resolves once everything appended so far is on disk; rejects if some of it failed. */
  durable(): Promise<void> {
    return this.#queue.barrier();
  }

  /**
   * Resolves with the next commit, which is a small one where nothing else waits: everything booked
   * so far is on disk then. Rejects where that does not work.
   */
  booked(): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(unavailable('it is closed'));
    return new Promise((resolve, reject) => {
      this.#bookings.push({ resolve, reject });
      this.#work();
    });
  }

  /** Calls `listener` after each commit of records. */
  onAppended(listener: (headSeq: number) => void): void {
    this.#appendedListeners.push(listener);
  }

  /** Calls `listener` once when nothing can be written until the process restarts. */
  onBroken(listener: (reason: string) => void): void {
    this.#brokenListeners.push(listener);
  }

  /** The record up to which `writer` has everything at its destination. */
  cursor(writer: string): number {
    return this.#core.cursors.row(writer).position.seq;
  }

  /** Samples that `writer` still has to write, from the records themselves, not from the ledger. */
  pendingSamples(writer: string): number {
    const { position } = this.#core.cursors.row(writer);
    return this.#core.head.cumulativeSamples - position.cumulativeSamples;
  }

  /**
   * Moves a writer's cursor forward; its ledger moves in the same transaction. Resolves once on
   * disk; rejects with OperatingError, and then the cursor has not moved.
   */
  commitCursor(writer: string, progress: CursorProgress): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(unavailable('it is closed'));
    const { cursor } = progress;
    assert(cursor <= this.headSeq, `cursor of ${writer} at ${cursor}, beyond the head`);
    const { promise, resolve, reject } = promiseParts<void>();
    this.#core.cursors.request(writer, progress, { resolve, reject });
    this.#work();
    return promise;
  }

  /** Remembers changes of the series membership, within a second or so. */
  persistSeries(changes: readonly SeriesChange[]): void {
    this.#core.series.add(changes);
  }

  /**
   * What was said of the membership, in order, for the start. Iterate it at once: it holds a
   * snapshot.
   */
  storedSeries(): Iterable<SeriesChange> {
    return readSeriesLog(this.#core.env.tables.series);
  }

  /** From now on no more is stored of the membership than about twice what `members` needs. */
  attachSeries(members: SeriesMembers): void {
    this.#core.series.attach(members);
  }

  /** Lets everything queued become durable, marks the stop as clean and closes. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#stopTicking();
    this.#tickDue = true;
    this.#work();
    while (this.#loop !== undefined) await this.#loop;
    const { env } = this.#core;
    try {
      const writes = new WriteList();
      writeState(writes, this.#core, { clean: true });
      await env.commit(writes);
    } catch (error) {
      this.#logger.error({ err: error }, 'journal closed without its mark of a clean stop');
    }
    await env.close();
    await this.#lock.release();
  }

  /** Why an append cannot even be queued. */
  #refusal(): OperatingError | undefined {
    if (this.#closing !== undefined) return unavailable('it is closed');
    const { brokenReason } = this.#core.env;
    if (brokenReason !== undefined) return unavailable(brokenReason);
    if (this.liveBytes + this.#queue.bytes >= this.#budget.maxBytes) {
      return full(`its budget of ${this.#budget.maxBytes} bytes is used up`);
    }
    if (this.#queue.bytes >= MAX_QUEUED_BYTES) return full('too much waits for the disk');
    return undefined;
  }

  #tick(): void {
    const { cursors, tables, series, tail } = this.#core;
    const trimmable = (cursors.slowest()?.seq ?? 0) > tail.seq;
    const nowMs = this.#clock.monotonicMs();
    const idleTables = tables.unneeded(tail.seq, nowMs, 1).length > 0;
    this.#tickDue = trimmable || idleTables || this.#ledgerChanged || series.waiting > 0;
    if (this.#tickDue) this.#work();
  }

  /** Starts the loop unless it runs; it ends by itself when there is nothing left to do. */
  #work(): void {
    this.#loop ??= this.#run().finally(() => {
      this.#loop = undefined;
      if (this.#hasWork()) this.#work();
    });
  }

  async #run(): Promise<void> {
    // Appends of this very moment join the first group.
    await Promise.resolve();
    while (this.#hasWork()) {
      if (this.#queue.length > 0) await this.#commitGroup();
      if (this.#maintenanceDue()) await this.#maintain();
    }
  }

  #hasWork(): boolean {
    return this.#queue.length > 0 || this.#maintenanceDue();
  }

  #maintenanceDue(): boolean {
    const { cursors, series, tail } = this.#core;
    if (cursors.waiting || this.#tickDue || this.#bookings.length > 0) return true;
    if (this.#maintenanceFailed) return false;
    if (series.isRowFull || (this.#closing !== undefined && series.waiting > 0)) return true;
    return (cursors.slowest()?.seq ?? 0) > tail.seq;
  }

  async #commitGroup(): Promise<void> {
    const group = this.#queue.take(MAX_GROUP_BYTES);
    const bytes = group.reduce((sum, { record }) => sum + record.length, 0);
    if (!this.#budget.hasRoomFor(2 * bytes)) {
      this.#core.producers.abandon(group);
      this.#queue.fail(group, this.#failed(full('the disk is nearly full')));
      return;
    }
    const firstSeq = this.headSeq + 1;
    const error = await this.#commit(planAppends(this.#core, group, this.#now()), group.length);
    if (error !== undefined) {
      this.#core.producers.abandon(group);
      this.#queue.fail(group, error);
      return;
    }
    this.#queue.succeed(group, firstSeq);
    for (const listener of this.#appendedListeners) listener(this.headSeq);
  }

  async #maintain(): Promise<void> {
    this.#tickDue = false;
    const moves = this.#core.cursors.take();
    const series = this.#core.series.take();
    const plan = planMaintenance(this.#core, { moves, series }, this.#now());
    const error = await this.#commit(plan, 0);
    this.#maintenanceFailed = error !== undefined;
    if (error === undefined) return;
    this.#core.series.putBack(series);
    this.#core.cursors.fail(moves, error);
  }

  /** Commits and folds `plan`; returns the error where that failed and nothing was folded. */
  async #commit(plan: PlannedTransaction, records: number): Promise<OperatingError | undefined> {
    const startedMs = this.#clock.monotonicMs();
    const ledgerChanged = this.#ledgerChanged;
    this.#ledgerChanged = false;
    const bookings = this.#bookings.splice(0);
    try {
      await this.#core.env.commit(plan.writes);
    } catch (error) {
      this.#ledgerChanged ||= ledgerChanged;
      assert(error instanceof OperatingError, `unexpected ${errorMessage(error)}`);
      this.#core.env.verifyLastSeq(this.headSeq, this.tailSeq);
      const failure = this.#failed(error);
      for (const { reject } of bookings) reject(failure);
      return failure;
    }
    plan.fold();
    this.#core.ledger.keep(plan.books);
    this.#succeeded();
    for (const { resolve } of bookings) resolve();
    this.#metrics.observeCommit((this.#clock.monotonicMs() - startedMs) / 1000, records);
    return undefined;
  }

  #succeeded(): void {
    this.#lastCommitMs = this.#clock.nowMs();
    if (this.#failure !== undefined) this.#logger.info('journal can be written again');
    this.#failure = undefined;
  }

  /** Logs the first failure of a row of them and returns the error to hand on. */
  #failed(cause: OperatingError): OperatingError {
    const diskIsFull = cause.code === 'JOURNAL_UNAVAILABLE' && !this.#budget.hasRoomFor(0);
    const error = diskIsFull
      ? new OperatingError('JOURNAL_FULL', `${cause.message}; the disk is full`, { cause })
      : cause;
    this.#metrics.countFailure(error.code);
    if (this.#failure === undefined) this.#logger.error({ err: error }, 'journal commit failed');
    this.#failure = error;
    const { brokenReason } = this.#core.env;
    if (brokenReason !== undefined) this.#reportBroken(brokenReason);
    return error;
  }

  #reportBroken(reason: string): void {
    for (const listener of this.#brokenListeners.splice(0)) listener(reason);
  }

  #now(): Now {
    return { wallMs: this.#clock.nowMs(), monotonicMs: this.#clock.monotonicMs() };
  }

  #figures() {
    const { env, tables, producers, gaps } = this.#core;
    return {
      liveBytes: this.liveBytes,
      maxBytes: this.#budget.maxBytes,
      freeBytes: this.#budget.freeBytes,
      minFreeBytes: this.#budget.minFreeBytes,
      fileBytes: env.fileBytes,
      headSeq: this.headSeq,
      tailSeq: this.tailSeq,
      gaps,
      tables: tables.count,
      tableBytes: tables.bytes,
      producers: producers.count,
      queuedRecords: this.#queue.length,
      queuedBytes: this.#queue.bytes,
      unclean: this.unclean,
      rolledBack: this.#opened.rolledBack,
      destinationRolledBack: this.#opened.destinationRolledBack,
      goneRecords: this.#opened.goneRecords,
    };
  }
}

function makeDirectory(dir: string): void {
  try {
    fs.mkdirSync(dir, { recursive: true, mode: 0o750 });
  } catch (error) {
    throw new OperatingError(
      'JOURNAL_UNAVAILABLE',
      `cannot create journal ${dir}: ${errorMessage(error)}`,
      { cause: error },
    );
  }
}

function full(why: string): OperatingError {
  return new OperatingError('JOURNAL_FULL', `cannot append to journal: ${why}`);
}

function unavailable(why: string): OperatingError {
  return new OperatingError('JOURNAL_UNAVAILABLE', `cannot write journal: ${why}`);
}
