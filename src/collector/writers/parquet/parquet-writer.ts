/**
 * Writes journal records into the Parquet warehouse, each row exactly once.
 *
 * Rows wait in memory by the UTC hour of their time; an hour that grows large spills row groups
 * into a file under `.staging/`. A seal ends the waiting for all hours together:
 *
 *     every hour: last row group → footer → fsync      (nothing is visible yet)
 *     every file: rename into metrics/date=…/hour=…    (readers see whole files only)
 *     fsync of the directories                         (the names survive a power cut)
 *     progress: cursor = last record taken             (the journal may forget the records)
 *
 * The files of one seal carry its record range in their names. A crash or a failure on the way
 * makes the records come again, and recovery.ts finds out what the visible files hold of them
 * already. After a failure everything unfinished is dropped, and `readFrom` goes back to the
 * cursor.
 */
import path from 'node:path';
import { assert, errorCode, errorMessage, OperatingError } from '../../../lib/errors.ts';
import type { Writer, WriterDeps, WriterProgress, WriterRecord, WriterTask } from '../writer.ts';
import { WAREHOUSE_SCHEMA_VERSION } from '../../../warehouse/columns.ts';
import { createdBy } from '../../../warehouse/created-by.ts';
import { type CatalogEntry, CoveredRanges, recoverWarehouse } from './recovery.ts';
import { filesToRemove, removeWarehouseFile, totalBytes } from './retention.ts';
import { rotationDueMs } from './rotation.ts';
import { RowBuffer } from './row-buffer.ts';
import { SealDebt } from './seal-debt.ts';
import { SeriesIndex } from './series-index.ts';
import { StagedFile } from './staged-file.ts';
import { probeStaging } from './staging-probe.ts';
import {
  collectorPrefix,
  directoryChain,
  footerMetadata,
  HOUR_MS,
  hourDirectory,
  hourOf,
  type SeqRange,
  stagingDirectory,
  warehouseFileName,
} from '../../../warehouse/warehouse.ts';

export type ParquetWriterSettings = Extract<WriterTask, { name: 'parquet' }>['settings'];
export type ParquetWriterDeps = Pick<WriterDeps, 'clock' | 'log' | 'table' | 'fs' | 'startCursor'>;

/** Hours that may be open at once; a record that opens more is followed by a seal. */
const OPEN_HOURS_MAX = 48;
/** Memory of the series index at which files are sealed and it begins anew: some five million. */
const INDEX_BYTES_MAX = 512 * 1024 * 1024;
const RETENTION_INTERVAL_MS = 60_000;
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

interface OpenHour {
  readonly hourMs: number;
  buffer: RowBuffer | undefined;
  staged: StagedFile | undefined;
}

class ParquetWarehouseWriter implements Writer {
  readonly #settings: ParquetWriterSettings;
  readonly #deps: ParquetWriterDeps;
  readonly #createdBy: string;
  readonly #hours = new Map<number, OpenHour>();
  #index = new SeriesIndex();
  #spare: RowBuffer | undefined;
  #bufferedRows = 0;

  /** Everything up to here is in visible, durable files. */
  #cursor: number;
  #reportedCursor: number;
  /** The last record taken; the next seal's range ends with it. */
  #takenSeq: number;
  /** The first record taken since the last seal. */
  #firstTakenSeq: number | undefined;
  #takenBytes = 0;
  #dueMs = 0;
  #dueMonotonicMs = 0;

  #covered = new CoveredRanges();
  #files: CatalogEntry[] = [];
  /** A failure dropped what was taken: look at the visible files before going on. */
  #mustRecover = true;
  readonly #debt: SealDebt;
  #isSealing = false;
  /** The first record lost by a failure, until the loop has asked where to read from. */
  #lostSeq: number | undefined;
  #nextRetentionMs = 0;
  #rowBytes = ROW_BYTES_GUESS;
  readonly #totals = { rows: 0, skipped: 0, files: 0, removed: 0, failures: 0 };
  #lastSealMs = 0;
  /** As of the last canary; unknown before the first. */
  #diskFreeBytes: number | undefined;
  #isClosed = false;

  constructor(settings: ParquetWriterSettings, deps: ParquetWriterDeps) {
    this.#settings = settings;
    this.#deps = deps;
    this.#createdBy = createdBy(settings.encoder);
    this.#debt = new SealDebt(deps.clock);
    this.#cursor = deps.startCursor;
    this.#reportedCursor = deps.startCursor;
    this.#takenSeq = deps.startCursor;
  }

  /** Looks at the visible files. Called after opening and again after each failure. */
  recover(): void {
    const { files, covered } = recoverWarehouse(this.#deps.fs, this.#deps.log, {
      root: this.#settings.output_dir,
      collectorId: this.#settings.collector_id,
      journalId: this.#settings.journal_id ?? '',
      cursor: this.#cursor,
    });
    this.#files = files;
    this.#covered = covered;
    this.#mustRecover = false;
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
        await this.#take(record);
        if (this.#isFull()) await this.#seal();
      }
      if (this.#hours.size === 0) this.#advance();
    });
  }

  tick(): Promise<WriterProgress | undefined> {
    return this.#guard(async () => {
      if (this.#isDue()) await this.#seal();
      const nowMs = this.#deps.clock.monotonicMs();
      if (nowMs < this.#nextRetentionMs) return;
      this.#nextRetentionMs = nowMs + RETENTION_INTERVAL_MS;
      this.#retain();
    });
  }

  flush(): Promise<WriterProgress | undefined> {
    return this.#guard(() => this.#seal());
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#drop();
  }

  stats(): Record<string, number> {
    return {
      open_files: [...this.#hours.values()].filter(({ staged }) => staged !== undefined).length,
      open_partitions: this.#hours.size,
      buffered_rows: this.#bufferedRows,
      indexed_series: this.#index.size,
      visible_files: this.#files.length,
      visible_bytes: totalBytes(this.#files),
      last_seal_ms: this.#lastSealMs,
      rows_written_total: this.#totals.rows,
      rows_skipped_total: this.#totals.skipped,
      files_sealed_total: this.#totals.files,
      files_removed_total: this.#totals.removed,
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
    this.#reportedCursor = this.#cursor;
    return { cursor: this.#cursor, deadLetteredSamples: 0 };
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

  async #take(record: WriterRecord): Promise<void> {
    if (this.#firstTakenSeq === undefined) {
      this.#firstTakenSeq = record.seq;
      const { clock } = this.#deps;
      const nowMs = clock.nowMs();
      this.#dueMs = rotationDueMs(nowMs, this.#settings.rotation_interval_secs);
      this.#dueMonotonicMs = clock.monotonicMs() + (this.#dueMs - nowMs);
    }
    const { samples, seq } = record;
    const ids = this.#index.resolve(
      record.nodeId,
      record.tableId,
      samples.series,
      this.#deps.table,
    );
    const times = samples.timestampsMs;
    for (let from = 0; from < times.length; ) {
      const hourMs = hourOf(times[from]!);
      const to = endOfHour(times, from, hourMs);
      if (this.#covered.has(hourMs, seq)) this.#totals.skipped += to - from;
      else await this.#append(hourMs, ids, record, from, to);
      from = to;
    }
    this.#takenSeq = seq;
    this.#takenBytes += record.bytes;
  }

  async #append(
    hourMs: number,
    ids: Uint32Array,
    { samples, receivedAtMs }: WriterRecord,
    from: number,
    to: number,
  ): Promise<void> {
    const rowsMax = this.#settings.row_group_rows;
    for (let start = from; start < to; ) {
      if (this.#bufferedRows >= rowsMax) await this.#spillLargest();
      const end = Math.min(to, start + rowsMax - this.#bufferedRows);
      this.#bufferFor(hourMs, end - start).append(ids, samples, receivedAtMs, start, end);
      this.#bufferedRows += end - start;
      start = end;
    }
  }

  #bufferFor(hourMs: number, rows: number): RowBuffer {
    let hour = this.#hours.get(hourMs);
    if (hour === undefined) {
      hour = { hourMs, buffer: undefined, staged: undefined };
      this.#hours.set(hourMs, hour);
    }
    hour.buffer ??= this.#takeSpare() ?? new RowBuffer(rows);
    return hour.buffer;
  }

  /**
   * The buffer that the last spill left, unless hours with few rows hold too much memory already.
   */
  #takeSpare(): RowBuffer | undefined {
    const spare = this.#spare;
    let capacity = spare?.capacity ?? 0;
    for (const { buffer } of this.#hours.values()) capacity += buffer?.capacity ?? 0;
    if (capacity > 2 * this.#settings.row_group_rows) return undefined;
    this.#spare = undefined;
    return spare;
  }

  async #spillLargest(): Promise<void> {
    let largest: OpenHour | undefined;
    for (const hour of this.#hours.values()) {
      if ((hour.buffer?.rows ?? 0) > (largest?.buffer?.rows ?? 0)) largest = hour;
    }
    if (largest !== undefined) await this.#spill(largest);
  }

  /** Moves the hour's buffered rows into its staged file, as one row group. */
  async #spill(hour: OpenHour): Promise<StagedFile> {
    const { output_dir, collector_id, compression, encoder } = this.#settings;
    if (hour.staged === undefined) {
      const name = new Date(hour.hourMs).toISOString().slice(0, 13);
      hour.staged = await StagedFile.open(
        this.#deps.fs,
        path.join(stagingDirectory(output_dir), `${collectorPrefix(collector_id)}${name}.tmp`),
        { compression, encoder, createdBy: this.#createdBy },
      );
    }
    const { buffer } = hour;
    if (buffer !== undefined && buffer.rows > 0) {
      await hour.staged.writeRowGroup(buffer.sorted(this.#index));
      this.#bufferedRows -= buffer.rows;
      buffer.clear();
      // One buffer is kept for the next hour that asks; more would add up to much memory.
      hour.buffer = undefined;
      if (buffer.capacity > (this.#spare?.capacity ?? 0)) this.#spare = buffer;
    }
    return hour.staged;
  }

  #isFull(): boolean {
    const { seal_after_journal_bytes = 0, max_file_bytes } = this.#settings;
    if (this.#hours.size > OPEN_HOURS_MAX || this.#index.bytes > INDEX_BYTES_MAX) return true;
    if (seal_after_journal_bytes > 0 && this.#takenBytes >= seal_after_journal_bytes) return true;
    for (const { buffer, staged } of this.#hours.values()) {
      const bytes = (staged?.bytes ?? 0) + (buffer?.rows ?? 0) * this.#rowBytes;
      if (bytes >= max_file_bytes) return true;
    }
    return false;
  }

  /**
   * By wall time, and by the time that passed where the wall clock was set back. A seal that failed
   * is tried again before the next rotation, but not with a part of its records.
   */
  #isDue(): boolean {
    if (this.#firstTakenSeq === undefined) return false;
    const { clock } = this.#deps;
    if (this.#debt.isOwed) return this.#debt.isDue(this.#takenSeq);
    return clock.nowMs() >= this.#dueMs || clock.monotonicMs() >= this.#dueMonotonicMs;
  }

  async #seal(): Promise<void> {
    if (this.#firstTakenSeq === undefined) return;
    this.#isSealing = true;
    const range = { firstSeq: this.#cursor + 1, lastSeq: this.#takenSeq };
    const finished: { hourMs: number; staged: StagedFile }[] = [];
    for (const hourMs of [...this.#hours.keys()].sort((a, b) => a - b)) {
      const staged = await this.#spill(this.#hours.get(hourMs)!);
      await staged.finish(this.#metadata(hourMs, range, staged.rows));
      finished.push({ hourMs, staged });
    }
    const files = finished.map(({ hourMs, staged }) => this.#publish(hourMs, range, staged));
    this.#syncDirectories(finished.map(({ hourMs }) => hourMs));
    this.#hours.clear();
    this.#files = [...this.#files, ...files].sort((a, b) => a.hourMs - b.hourMs);
    this.#countSeal(finished.map(({ staged }) => staged));
    this.#isSealing = false;
    this.#advance();
  }

  #metadata(hourMs: number, range: SeqRange, rows: number): ReadonlyMap<string, string> {
    const footer = {
      ...range,
      hourMs,
      rows,
      collectorId: this.#settings.collector_id,
      journalId: this.#settings.journal_id ?? '',
      schemaVersion: WAREHOUSE_SCHEMA_VERSION,
    };
    return footerMetadata(footer, this.#createdBy);
  }

  /** Gives a finished file its visible name; never that of a file which is there already. */
  #publish(hourMs: number, range: SeqRange, staged: StagedFile): CatalogEntry {
    const { fs } = this.#deps;
    const { output_dir, collector_id } = this.#settings;
    const directory = hourDirectory(output_dir, hourMs);
    fs.makeDirectory(directory);
    let target = path.join(directory, warehouseFileName(collector_id, range));
    for (let copy = 2; fs.exists(target); copy++) {
      target = path.join(directory, warehouseFileName(collector_id, range, copy));
    }
    fs.rename(staged.path, target);
    return {
      ...range,
      path: target,
      collectorId: collector_id,
      hourMs,
      bytes: staged.bytes,
      neededUntilSeq: range.lastSeq,
    };
  }

  #syncDirectories(hoursMs: readonly number[]): void {
    const chains = hoursMs.flatMap((hourMs) => directoryChain(this.#settings.output_dir, hourMs));
    for (const directory of new Set(chains)) this.#deps.fs.syncDirectory(directory);
  }

  #countSeal(sealed: readonly StagedFile[]): void {
    const rows = sealed.reduce((sum, staged) => sum + staged.rows, 0);
    const bytes = sealed.reduce((sum, staged) => sum + staged.bytes, 0);
    if (rows > 0) this.#rowBytes = bytes / rows;
    this.#totals.rows += rows;
    this.#totals.files += sealed.length;
    this.#lastSealMs = this.#deps.clock.nowMs();
    this.#deps.log('info', 'sealed warehouse files', {
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
    this.#debt.settle(this.#cursor);
    this.#firstTakenSeq = undefined;
    this.#takenBytes = 0;
    this.#covered.forgetUpTo(this.#cursor);
    if (this.#index.bytes > INDEX_BYTES_MAX) this.#index = new SeriesIndex();
  }

  /** Forgets everything taken since the last seal. Never throws. */
  #drop(): void {
    for (const { staged } of this.#hours.values()) staged?.abandon();
    this.#hours.clear();
    this.#bufferedRows = 0;
    this.#takenSeq = this.#cursor;
    this.#firstTakenSeq = undefined;
    this.#takenBytes = 0;
    this.#mustRecover = true;
  }

  /** A fault here is reported and tried again a minute later; it costs no rows. */
  #retain(): void {
    const limits = {
      days: this.#settings.retention_days,
      bytes: this.#settings.retention_bytes,
    };
    const state = {
      nowMs: this.#deps.clock.nowMs(),
      cursor: this.#reportedCursor,
      isOpen: (hourMs: number) => this.#hours.has(hourMs),
    };
    const { fs, log } = this.#deps;
    try {
      if (filesToRemove(this.#files, limits, state).length === 0) return;
      // An operator may have removed files by hand; what they freed counts.
      this.#files = this.#files.filter((file) => fs.exists(file.path));
      for (const file of filesToRemove(this.#files, limits, state)) {
        removeWarehouseFile(fs, file.path);
        this.#files = this.#files.filter((other) => other !== file);
        this.#totals.removed++;
        log('info', 'removed a warehouse file', { path: file.path, bytes: file.bytes });
      }
    } catch (error) {
      log('warn', 'cannot remove old warehouse files', { error: errorMessage(error) });
    }
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

/** The end of the samples from `from` on that lie in the hour starting at `hourMs`. */
function endOfHour(timestampsMs: Float64Array, from: number, hourMs: number): number {
  const endMs = hourMs + HOUR_MS;
  let to = from + 1;
  while (to < timestampsMs.length && timestampsMs[to]! >= hourMs && timestampsMs[to]! < endMs) to++;
  return to;
}
