/**
 * Writes journal records into the Parquet warehouse, each row exactly once.
 *
 * Rows of all hours wait together (waiting-rows.ts). A seal ends the waiting for all of them:
 *
 *     every hour: sorted file → footer → fsync         (nothing is visible yet)
 *     every file: rename into metrics/date=…/hour=…    (readers see whole files only)
 *     fsync of the directories                         (the names survive a power cut)
 *     note of the progress in the warehouse            (tells a warehouse that is an older copy)
 *     progress: cursor = last record taken             (the journal may forget the records)
 *
 * The files of one seal carry its record range in their names. A crash or a failure on the way
 * makes the records come again, and recovery.ts finds out what the visible files hold of them
 * already. After a failure everything unfinished is dropped, and `readFrom` goes back to the
 * cursor.
 */
import { randomBytes } from 'node:crypto';
import { assert, errorCode, errorMessage, OperatingError } from '../../../lib/errors.ts';
import type {
  PublishedFile,
  Writer,
  WriterDeps,
  WriterProgress,
  WriterRecord,
  WriterTask,
} from '../writer.ts';
import { createdBy } from '../../../warehouse/encoder.ts';
import { notOwned, Publisher } from './publisher.ts';
import { type CatalogEntry, CoveredRanges, recoverWarehouse } from './recovery.ts';
import { Retention, totalBytes } from './retention.ts';
import { rotationDueMs } from './rotation.ts';
import { SealDebt } from './seal-debt.ts';
import { StagedFile } from './staged-file.ts';
import { probeStaging } from './staging-probe.ts';
import { WaitingRows } from './waiting-rows.ts';
import { writeProgressNote } from '../../../warehouse/progress-note.ts';
import type { SeqRange } from '../../../warehouse/warehouse.ts';

export type ParquetWriterSettings = Extract<WriterTask, { name: 'parquet' }>['settings'];
export type ParquetWriterDeps = Pick<
  WriterDeps,
  'clock' | 'log' | 'table' | 'fs' | 'startCursor' | 'isOwner' | 'headSeq'
>;

/**
 * Staging may hold this many times the bytes of the largest file: a row takes 25 bytes there, and
 * 2 to 9 in a file.
 */
const STAGING_PER_FILE = 8;
/** A merge holds a block of every spill in memory, 100 kB each. */
const SPILLS_MAX = 512;
/** Bytes of a row in a file, until files of this run tell better. */
const ROW_BYTES_GUESS = 8;

/**
 * Opens the warehouse under `settings.output_dir` for one collector; no other process may write
 * with the same collector id. Throws OperatingError where the directories cannot be used.
 */
export function openParquetWriter(
  settings: ParquetWriterSettings,
  deps: ParquetWriterDeps,
): Writer {
  const writer = new ParquetWarehouseWriter(settings, deps);
  try {
    writer.recover();
  } catch (error) {
    throw warehouseFault('open', error);
  }
  return writer;
}

interface StagedHour {
  readonly hourMs: number;
  readonly staged: StagedFile;
}

/** Why files are finished before the next rotation. */
type EarlySeal = 'file_bytes' | 'journal_bytes' | 'memory' | 'staging';

class ParquetWarehouseWriter implements Writer {
  readonly #settings: ParquetWriterSettings;
  readonly #deps: ParquetWriterDeps;
  readonly #publisher: Publisher;
  readonly #waiting: WaitingRows;
  /** Files of the seal that is under way. */
  #staged: StagedHour[] = [];

  /** Everything up to here is in visible, durable files. */
  #cursor: number;
  #reportedCursor: number;
  /** The last record taken; the next seal's range ends with it. */
  #takenSeq: number;
  /** The first record taken since the last seal. */
  #firstTakenSeq: number | undefined;
  #takenBytes = 0;
  /** Rows taken since the last seal that earlier files hold already. */
  #takenVisibleRows = 0;
  /** Rows found safe since the last report. */
  #writtenSamples = 0;
  #dueMs = 0;
  #dueMonotonicMs = 0;

  #covered = new CoveredRanges();
  readonly #retention: Retention;
  #files: readonly CatalogEntry[] = [];
  /** A failure dropped what was taken: look at the visible files before going on. */
  #mustRecover = true;
  readonly #debt: SealDebt;
  #isSealing = false;
  /** The first record lost by a failure, until the loop has asked where to read from. */
  #lostSeq: number | undefined;
  #rowBytes = ROW_BYTES_GUESS;
  readonly #totals = { rows: 0, skipped: 0, files: 0, failures: 0, memorySeals: 0 };
  #lastSealMs = 0;
  /** As of the last canary; unknown before the first. */
  #diskFreeBytes: number | undefined;
  #isClosed = false;

  constructor(settings: ParquetWriterSettings, deps: ParquetWriterDeps) {
    this.#settings = settings;
    this.#deps = deps;
    const incarnation = randomBytes(4).toString('hex');
    this.#publisher = new Publisher(deps.fs, {
      incarnation,
      isOwner: deps.isOwner,
      root: settings.output_dir,
      collectorId: settings.collector_id,
      journalId: settings.journal_id ?? '',
      createdBy: createdBy(settings.encoder),
    });
    this.#debt = new SealDebt(deps.clock);
    this.#retention = new Retention(deps, {
      days: settings.retention_days,
      bytes: settings.retention_bytes,
    });
    this.#waiting = new WaitingRows(deps.fs, deps.table, {
      root: settings.output_dir,
      collectorId: settings.collector_id,
      incarnation,
      rowGroupRows: settings.row_group_rows,
      memoryBytes: settings.memory_bytes,
    });
    this.#cursor = deps.startCursor;
    this.#reportedCursor = deps.startCursor;
    this.#takenSeq = deps.startCursor;
  }

  /** Looks at the visible files. Called after opening and again after each failure. */
  recover(): void {
    if (!this.#deps.isOwner()) throw notOwned();
    const { files, covered } = recoverWarehouse(this.#deps.fs, this.#deps.log, {
      root: this.#settings.output_dir,
      collectorId: this.#settings.collector_id,
      journalId: this.#settings.journal_id ?? '',
      ancestors: this.#settings.journal_ancestors ?? [],
      cursor: this.#cursor,
    });
    this.#files = files;
    this.#covered = covered;
    this.#mustRecover = false;
  }

  /** Before the journal hears of it: the note must never be behind the journal's cursor. */
  #noteProgress(): void {
    const { output_dir, collector_id, journal_id = '' } = this.#settings;
    if (!this.#deps.isOwner()) throw notOwned();
    writeProgressNote(this.#deps.fs, output_dir, collector_id, {
      journalId: journal_id,
      cursor: this.#takenSeq,
      headSeq: Math.max(this.#takenSeq, this.#deps.headSeq()),
    });
  }

  readFrom(): number {
    this.#lostSeq = undefined;
    return this.#takenSeq + 1;
  }

  owes(): boolean {
    return this.#debt.isOwed;
  }

  async write(records: readonly WriterRecord[]): Promise<WriterProgress | undefined> {
    // A record without samples is a canary: rows may not reach the disk for an hour.
    if (records.some(({ samples }) => samples.values.length === 0)) this.#proveStaging();
    return this.#guard(async () => {
      this.#checkNothingIsMissing(records);
      for (const record of records) {
        if (record.seq <= this.#takenSeq) continue;
        this.#take(record);
        const reason = this.#earlySeal();
        if (reason !== undefined) await this.#seal(reason);
      }
      if (!this.#waiting.isEmpty || this.#takenSeq === this.#cursor) return;
      if (this.#isInsideFile()) return;
      this.#noteProgress();
      this.#advance();
    });
  }

  tick(): Promise<WriterProgress | undefined> {
    return this.#guard(async () => {
      if (this.#isDue()) await this.#seal('rotation');
      this.#files = this.#retention.tick(this.#files, {
        cursor: this.#reportedCursor,
        isOpen: (hourMs) => this.#waiting.rowsOf(hourMs) > 0,
      });
    });
  }

  flush(): Promise<WriterProgress | undefined> {
    return this.#guard(async () => {
      if (!this.#isInsideFile()) await this.#seal('stop');
    });
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#drop();
  }

  stats(): Record<string, number> {
    return {
      open_partitions: this.#waiting.hours.length,
      buffered_rows: this.#waiting.bufferedRows,
      staging_bytes: this.#waiting.spilledBytes,
      memory_bytes: this.#waiting.bytes,
      indexed_series: this.#waiting.series,
      visible_files: this.#files.length,
      visible_bytes: totalBytes(this.#files),
      last_seal_ms: this.#lastSealMs,
      rows_written_total: this.#totals.rows,
      rows_skipped_total: this.#totals.skipped,
      files_sealed_total: this.#totals.files,
      files_removed_total: this.#retention.removed,
      clock_jumps_total: this.#retention.clockJumps,
      age_retention_held: this.#retention.isOnHold ? 1 : 0,
      memory_seals_total: this.#totals.memorySeals,
      failures_total: this.#totals.failures,
      ...(this.#diskFreeBytes === undefined ? {} : { disk_free_bytes: this.#diskFreeBytes }),
    };
  }

  /** Throws where the disk takes no files; the rows that wait stay as they are. */
  #proveStaging(): void {
    const { fs } = this.#deps;
    const { output_dir, collector_id } = this.#settings;
    try {
      probeStaging(fs, output_dir, collector_id);
      this.#diskFreeBytes = fs.freeBytes(output_dir);
    } catch (error) {
      throw warehouseFault('write', error);
    }
  }

  /** Runs `work`; on failure drops everything unfinished and throws what happened. */
  async #guard(work: () => Promise<void>): Promise<WriterProgress | undefined> {
    assert(!this.#isClosed, 'the warehouse writer was used after its close');
    this.#isSealing = false;
    try {
      if (this.#mustRecover) this.recover();
      await work();
    } catch (error) {
      if (error instanceof OperatingError && error.code === 'WAREHOUSE_RECORDS_MISSING')
        throw error;
      this.#lostSeq = this.#firstTakenSeq ?? this.#lostSeq;
      this.#totals.failures++;
      if (this.#isSealing) this.#debt.owe(this.#takenSeq);
      this.#drop();
      throw warehouseFault('write', error);
    }
    if (this.#cursor === this.#reportedCursor) return undefined;
    const files = this.#filesBetween(this.#reportedCursor, this.#cursor);
    this.#reportedCursor = this.#cursor;
    const writtenSamples = this.#writtenSamples;
    this.#writtenSamples = 0;
    return { cursor: this.#cursor, writtenSamples, deadLetteredSamples: 0, files };
  }

  /** Those of a seal that failed or was cut short half way are among them. */
  #filesBetween(before: number, cursor: number): PublishedFile[] {
    return this.#files
      .filter(({ lastSeq }) => before < lastSeq && lastSeq <= cursor)
      .map(({ path, hourMs, firstSeq, lastSeq, bytes }) => {
        return { path, hourMs, firstSeq, lastSeq, bytes };
      });
  }

  /**
   * Whether a file from before a crash goes beyond what is taken. The cursor must not stop inside
   * such a file: who joins warehouse and journal at the cursor would leave out the rows that it
   * holds behind the cursor, or have those beyond it twice.
   */
  #isInsideFile(): boolean {
    return this.#takenSeq < this.#covered.lastSeq;
  }

  /** Going on after a failure without the lost records would leave them out for ever. */
  #checkNothingIsMissing(records: readonly WriterRecord[]): void {
    const first = records[0];
    if (first === undefined || this.#lostSeq === undefined) return;
    if (first.seq > this.#lostSeq) {
      throw new OperatingError(
        'WAREHOUSE_RECORDS_MISSING',
        `cannot write record ${first.seq}: records from ${this.#lostSeq} must be read again first`,
      );
    }
    this.#lostSeq = undefined;
  }

  #take(record: WriterRecord): void {
    if (this.#firstTakenSeq === undefined) {
      this.#firstTakenSeq = record.seq;
      const { clock } = this.#deps;
      const nowMs = clock.nowMs();
      this.#dueMs = rotationDueMs(nowMs, this.#settings.rotation_interval_secs);
      this.#dueMonotonicMs = clock.monotonicMs() + (this.#dueMs - nowMs);
    }
    const isWritten = (hourMs: number) => this.#covered.has(hourMs, record.seq);
    this.#takenVisibleRows += this.#waiting.take(record, isWritten);
    this.#takenSeq = record.seq;
    this.#takenBytes += record.bytes;
  }

  /** However many hours wait: they cost neither files nor memory before the next rotation. */
  #earlySeal(): EarlySeal | undefined {
    const { seal_after_journal_bytes = 0, max_file_bytes, memory_bytes } = this.#settings;
    const waiting = this.#waiting;
    if (waiting.isEmpty || this.#isInsideFile()) return undefined;
    if (waiting.bytes > memory_bytes) return 'memory';
    if (waiting.mostRows * this.#rowBytes >= max_file_bytes) return 'file_bytes';
    if (waiting.spilledBytes >= STAGING_PER_FILE * max_file_bytes) return 'staging';
    if (waiting.spills >= SPILLS_MAX) return 'staging';
    if (seal_after_journal_bytes > 0 && this.#takenBytes >= seal_after_journal_bytes) {
      return 'journal_bytes';
    }
    return undefined;
  }

  /**
   * By wall time, and by the time that passed where the wall clock was set back. A seal that failed
   * is tried again before the next rotation, but not with a part of its records.
   */
  #isDue(): boolean {
    if (this.#firstTakenSeq === undefined || this.#isInsideFile()) return false;
    const { clock } = this.#deps;
    if (this.#debt.isOwed) return this.#debt.isDue(this.#takenSeq);
    return clock.nowMs() >= this.#dueMs || clock.monotonicMs() >= this.#dueMonotonicMs;
  }

  async #seal(reason: EarlySeal | 'rotation' | 'stop'): Promise<void> {
    if (this.#firstTakenSeq === undefined) return;
    this.#isSealing = true;
    const range = { firstSeq: this.#cursor + 1, lastSeq: this.#takenSeq };
    for (const hourMs of this.#waiting.hours) await this.#stage(hourMs, range);
    const staged = this.#staged;
    const files = staged.map((hour) => this.#publisher.publish(hour.hourMs, range, hour.staged));
    this.#publisher.syncDirectories(staged.map(({ hourMs }) => hourMs));
    this.#noteProgress();
    this.#staged = [];
    this.#waiting.clear();
    this.#files = [...this.#files, ...files].sort((a, b) => a.hourMs - b.hourMs);
    this.#countSeal(reason, staged);
    this.#isSealing = false;
    this.#advance();
  }

  /** Makes the hour's file complete and durable in staging. */
  async #stage(hourMs: number, range: SeqRange): Promise<void> {
    const { compression, encoder } = this.#settings;
    const options = { compression, encoder, createdBy: createdBy(encoder) };
    const path = this.#publisher.stagingPath(hourMs);
    const staged = await StagedFile.open(this.#deps.fs, path, options);
    this.#staged.push({ hourMs, staged });
    for (const group of this.#waiting.rowGroups(hourMs)) await staged.writeRowGroup(group);
    await staged.finish(this.#publisher.metadata(hourMs, range, staged.rows));
  }

  #countSeal(reason: string, sealed: readonly StagedHour[]): void {
    const rows = sealed.reduce((sum, { staged }) => sum + staged.rows, 0);
    const bytes = sealed.reduce((sum, { staged }) => sum + staged.bytes, 0);
    if (rows > 0) this.#rowBytes = bytes / rows;
    this.#totals.rows += rows;
    this.#writtenSamples += rows;
    this.#totals.files += sealed.length;
    if (reason === 'memory') this.#totals.memorySeals++;
    this.#lastSealMs = this.#deps.clock.nowMs();
    this.#deps.log('info', 'sealed warehouse files', {
      reason,
      files: sealed.length,
      rows,
      bytes,
      firstSeq: this.#cursor + 1,
      lastSeq: this.#takenSeq,
    });
  }

  /** Everything taken is visible and durable, or had no rows to write. */
  #advance(): void {
    this.#cursor = this.#takenSeq;
    this.#writtenSamples += this.#takenVisibleRows;
    this.#totals.skipped += this.#takenVisibleRows;
    this.#takenVisibleRows = 0;
    this.#debt.settle(this.#cursor);
    this.#firstTakenSeq = undefined;
    this.#takenBytes = 0;
    this.#covered.forgetUpTo(this.#cursor);
  }

  /** Forgets everything taken since the last seal. Never throws. */
  #drop(): void {
    for (const { staged } of this.#staged) staged.abandon();
    this.#staged = [];
    this.#waiting.clear();
    this.#takenSeq = this.#cursor;
    this.#firstTakenSeq = undefined;
    this.#takenBytes = 0;
    this.#takenVisibleRows = 0;
    this.#mustRecover = true;
  }
}

/** What the surroundings did becomes an operating fault; a bug stays what it is. */
function warehouseFault(verb: string, error: unknown): unknown {
  if (errorCode(error) === '') return error;
  const why = errorMessage(error);
  return new OperatingError('WAREHOUSE_FAILED', `cannot ${verb} the warehouse: ${why}`, {
    cause: error,
  });
}
