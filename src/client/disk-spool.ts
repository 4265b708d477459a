/**
 * A spool that outlives the agent, in plain files that are only appended to (spool-format.ts).
 *
 *     put ──► active file ──full──► sealed file ──► … ──► removed, the oldest first
 *                 │ disk fails                               once no batch in it is needed
 *                 ▼
 *              memory ──disk works again──► active file
 *
 * Every run numbers its batches in an epoch of its own, and a batch of an earlier run keeps the
 * numbers under which it may have been sent. So no number can come to name two batches, even where
 * the directory is put back to an older copy, and a batch may be sent before it is on disk.
 *
 * What is put is in the kernel's hands at once, so that it survives the end of the process, and on
 * disk within a second, so that a power cut costs what was not yet acknowledged of that second.
 * A batch with its verdict is marked as done, without haste: one that is sent again is answered
 * DUPLICATE.
 *
 * Damage costs the records that are damaged: they are counted and logged, and their file is kept in
 * `damaged/` once the rest of it has been sent.
 */
import fs from 'node:fs';
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.ts';
import type { DirectoryLock } from '../lib/directory-lock.ts';
import { errorMessage } from '../lib/errors.ts';
import { type Spool, type SpoolHealth, SpoolBudget, type SpooledBatch } from './spool.ts';
import {
  type FoundSegment,
  type FoundSpool,
  isWithoutRoom,
  keepAside,
  openSpoolDirectory,
} from './spool-directory.ts';
import { readFrame } from './spool-format.ts';
import { type FramePlace, SpoolSegment } from './spool-segment.ts';

export interface DiskSpoolOptions {
  readonly dir: string;
  readonly maxBytes: number;
  /** For new batches, unless the directory holds a later one: then the number after that. */
  readonly newEpoch: number;
  /** As in every batch; a directory belongs to one node. */
  readonly nodeId: string;
}

/** What is put is on disk after this long; fewer syncs would not be noticed by the disk. */
const SYNC_INTERVAL_MS = 1000;
/** How long a disk that failed is left alone. */
const RETRY_INTERVAL_MS = 5000;
/** What may wait in memory for a disk that fails: twice the largest frame. */
const MEMORY_BYTES_MAX = 32 * 1024 * 1024;
/** A file is removed as a whole: many small ones give room back sooner. */
const SEGMENT_SHARE = 16;
const SEGMENT_BYTES_MIN = 64 * 1024;
const SEGMENT_BYTES_MAX = 8 * 1024 * 1024;

interface Entry {
  readonly batch: SpooledBatch;
  place: { readonly segment: SpoolSegment; readonly frame: FramePlace } | { frame: Uint8Array };
}

export class DiskSpool implements Spool {
  readonly epoch: number;
  readonly recovered: readonly SpooledBatch[];
  readonly #options: DiskSpoolOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** Undefined until the disk has room for it. */
  #lock: DirectoryLock | undefined;
  readonly #budget: SpoolBudget;
  readonly #segmentBytes: number;
  readonly #entries = new Map<string, Entry>();
  /** Oldest first; the last one may be the active one. */
  readonly #segments: SpoolSegment[];
  #active: SpoolSegment | undefined;
  #lastNumber: number;
  /** Frames in memory because the disk failed, in the order in which they came. */
  readonly #waiting = new Set<Entry>();
  #memoryBytes = 0;
  #isFailing = false;
  #damages: number;
  #lostBatches = 0;
  #cancelSync: (() => void) | undefined;
  #cancelRetry: (() => void) | undefined;
  #opening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  /**
   * Creates the directory where there is none. Rejects with SPOOL_LOCKED, SPOOL_LOCK_FAILED,
   * SPOOL_UNUSABLE or SPOOL_OF_OTHER_NODE, and leaves the directory as it was. A disk without room
   * is no reason to reject: the spool opens in memory and takes the directory once there is room.
   */
  static async open(
    options: DiskSpoolOptions,
    deps: { readonly clock: Clock; readonly logger: Logger },
  ): Promise<DiskSpool> {
    const { dir, nodeId } = options;
    const logger = deps.logger.child({ spool: dir });
    try {
      const found = await openSpoolDirectory(dir, nodeId, logger);
      return new DiskSpool(options, { ...deps, logger }, found);
    } catch (error) {
      if (!isWithoutRoom(error)) throw error;
      const spool = new DiskSpool(options, { ...deps, logger }, undefined);
      spool.#diskFailed(error);
      return spool;
    }
  }

  private constructor(
    options: DiskSpoolOptions,
    deps: { readonly clock: Clock; readonly logger: Logger },
    found: FoundSpool | undefined,
  ) {
    this.#options = options;
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#lock = found?.lock;
    this.#budget = new SpoolBudget(options.maxBytes);
    const share = Math.floor(options.maxBytes / SEGMENT_SHARE);
    this.#segmentBytes = Math.min(SEGMENT_BYTES_MAX, Math.max(SEGMENT_BYTES_MIN, share));
    const segments = found?.segments ?? [];
    this.#segments = segments.map(({ segment }) => segment);
    this.#lastNumber = found?.lastNumber ?? 0;
    this.#damages = found?.damages ?? 0;
    this.recovered = this.#recover(segments);
    this.epoch = Math.max(options.newEpoch, lastEpochOf(segments) + 1);
    this.#retire();
  }

  get usedBytes(): number {
    return this.#budget.usedBytes;
  }

  get health(): SpoolHealth {
    return {
      diskBytes: this.#segments.reduce((sum, { bytes }) => sum + bytes, 0),
      memoryBytes: this.#memoryBytes,
      isDiskFailing: this.#isFailing,
      damages: this.#damages,
      lostBatches: this.#lostBatches,
    };
  }

  hasRoomFor(frameBytes: number): boolean {
    if (this.#isFailing && this.#memoryBytes + frameBytes > MEMORY_BYTES_MAX) return false;
    return this.#budget.hasRoomFor(frameBytes);
  }

  put(batch: SpooledBatch, frame: Uint8Array): void {
    const entry: Entry = { batch, place: { frame } };
    this.#entries.set(keyOf(batch), entry);
    this.#budget.add(frame.length);
    this.#keepInMemory(entry);
    if (!this.#isFailing || this.#cancelRetry === undefined) this.#store();
  }

  frame(batch: SpooledBatch): Uint8Array | undefined {
    const place = this.#entries.get(keyOf(batch))?.place;
    if (place === undefined) return undefined;
    if (!('segment' in place)) return place.frame;
    try {
      const frame = readFrame(place.segment.read(place.frame), batch);
      if (frame !== undefined) return frame;
      this.#tellLoss(place.segment, 'its bytes are not those that were written');
    } catch (error) {
      this.#tellLoss(place.segment, errorMessage(error));
    }
    return undefined;
  }

  isStored(batch: SpooledBatch): boolean {
    const place = this.#entries.get(keyOf(batch))?.place;
    return place !== undefined && 'segment' in place;
  }

  remove(batch: SpooledBatch): void {
    const key = keyOf(batch);
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#budget.subtract(batch.bytes);
    if (!('segment' in entry.place)) {
      this.#forgetMemory(entry);
      return;
    }
    const { segment } = entry.place;
    segment.live -= 1;
    this.#retire();
    if (this.#segments.includes(segment)) this.#markDone(batch);
  }

  /** Stores what is in memory, if the disk takes it, and waits until all is on disk. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  #recover(found: readonly FoundSegment[]): SpooledBatch[] {
    for (const { segment, records } of found) {
      for (const { kind, epoch, sequence, sampleCount, frameOffset, bytes } of records) {
        const batch = { epoch, sequence, sampleCount, bytes };
        this.#dropEntry(keyOf(batch));
        if (kind === 'done') continue;
        segment.live += 1;
        this.#entries.set(keyOf(batch), {
          batch,
          place: { segment, frame: { frameOffset, bytes } },
        });
        this.#budget.add(bytes);
      }
    }
    const batches = [...this.#entries.values()].map(({ batch }) => batch);
    return batches.sort((a, b) => a.epoch - b.epoch || a.sequence - b.sequence);
  }

  /** While the files are read: a batch is done, or was stored a second time. */
  #dropEntry(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined || !('segment' in entry.place)) return;
    entry.place.segment.live -= 1;
    this.#budget.subtract(entry.batch.bytes);
    this.#entries.delete(key);
  }

  #keepInMemory(entry: Entry): void {
    this.#waiting.add(entry);
    this.#memoryBytes += entry.batch.bytes;
  }

  #forgetMemory(entry: Entry): void {
    if (this.#waiting.delete(entry)) this.#memoryBytes -= entry.batch.bytes;
  }

  /** Moves what waits in memory to the disk, in order, until the disk fails. */
  #store(): void {
    if (this.#lock === undefined) return;
    try {
      if (this.#active?.isGone === true) this.#evacuate(this.#active);
      for (const entry of this.#waiting) {
        if ('segment' in entry.place) continue;
        const segment = this.#roomyActive(entry.batch.bytes);
        const frame = segment.append({ kind: 'batch', ...entry.batch }, entry.place.frame);
        entry.place = { segment, frame };
        segment.live += 1;
        this.#forgetMemory(entry);
      }
    } catch (error) {
      this.#diskFailed(error);
      return;
    }
    if (this.#isFailing) this.#logger.info('the disk of the spool works again');
    this.#isFailing = false;
    this.#planSync();
  }

  /** The file to append to; a new one where there is none, or where it is large enough. */
  #roomyActive(frameBytes: number): SpoolSegment {
    const active = this.#active;
    if (active !== undefined && active.bytes + frameBytes <= this.#segmentBytes) return active;
    this.#seal();
    const { dir, nodeId } = this.#options;
    fs.mkdirSync(dir, { recursive: true, mode: 0o750 });
    this.#lastNumber += 1;
    const segment = SpoolSegment.create(dir, this.#lastNumber, nodeId);
    this.#segments.push(segment);
    this.#active = segment;
    return segment;
  }

  /** Appends no more to the active file; one that is not on disk yet is closed when it is. */
  #seal(): void {
    if (this.#active?.isDirty === false) this.#active.close();
    this.#active = undefined;
  }

  /** Without haste: where the mark is lost, the batch is sent once more and found a duplicate. */
  #markDone(batch: SpooledBatch): void {
    if (this.#isFailing) return;
    try {
      this.#roomyActive(0).append({ kind: 'done', ...batch, sampleCount: 0 }, NO_FRAME);
    } catch (error) {
      this.#diskFailed(error);
    }
  }

  #diskFailed(error: unknown): void {
    if (!this.#isFailing) {
      const fields = { err: error, memoryBytesMax: MEMORY_BYTES_MAX };
      this.#logger.error(fields, 'cannot write to the spool; batches wait in memory meanwhile');
    }
    this.#isFailing = true;
    const failed = this.#active;
    this.#active = undefined;
    if (failed?.live === 0) this.#discard(failed);
    this.#retire();
    this.#planSync();
    this.#cancelRetry?.();
    this.#cancelRetry = this.#clock.after(RETRY_INTERVAL_MS, () => {
      this.#cancelRetry = undefined;
      if (this.#lock === undefined) this.#opening = this.#takeDirectory();
      // With nothing to store, the next batch tries.
      else if (this.#waiting.size > 0) this.#store();
    });
  }

  /**
   * Opens the directory for which there was no room at the start. What it holds of earlier runs
   * stays there for the next start: batches are sent in the order of their numbers, and this run
   * has begun.
   */
  async #takeDirectory(): Promise<void> {
    const { dir, nodeId } = this.#options;
    try {
      const { lock, segments, lastNumber, damages } = await openSpoolDirectory(
        dir,
        nodeId,
        this.#logger,
      );
      this.#lock = lock;
      this.#lastNumber = lastNumber;
      this.#damages += damages;
      if (segments.length > 0) {
        const fields = { files: segments.length };
        this.#logger.warn(fields, 'batches of earlier runs stay in the spool until the next start');
      }
      this.#store();
    } catch (error) {
      if (!isWithoutRoom(error)) this.#logger.error({ err: error }, 'cannot open the spool');
      this.#diskFailed(error);
    }
  }

  /** Takes back into memory what a file holds that is not safe there. */
  #evacuate(segment: SpoolSegment): void {
    for (const entry of this.#entries.values()) {
      if (!('segment' in entry.place) || entry.place.segment !== segment) continue;
      if (this.#memoryBytes + entry.batch.bytes > MEMORY_BYTES_MAX) break;
      const frame = this.frame(entry.batch);
      if (frame === undefined) continue;
      entry.place = { frame };
      segment.live -= 1;
      this.#keepInMemory(entry);
    }
    if (this.#active === segment) this.#active = undefined;
  }

  #planSync(): void {
    this.#cancelSync ??= this.#clock.after(SYNC_INTERVAL_MS, () => void this.#sync());
  }

  async #sync(): Promise<void> {
    for (const segment of this.#segments.filter(({ isDirty }) => isDirty)) {
      try {
        await segment.sync();
      } catch (error) {
        // The kernel may have given up the bytes: what can be read is written once more.
        this.#evacuate(segment);
        this.#diskFailed(error);
      }
      if (segment !== this.#active && !segment.isDirty) segment.close();
    }
    this.#cancelSync = undefined;
    if (this.#segments.some(({ isDirty }) => isDirty)) this.#planSync();
  }

  /** Removes the oldest files that hold nothing that is needed. */
  #retire(): void {
    const active = this.#active;
    if (active?.live === 0 && active.bytes >= this.#segmentBytes) this.#active = undefined;
    for (let [oldest] = this.#segments; oldest !== undefined; [oldest] = this.#segments) {
      // A mark in a younger file may be about a batch in an older one: the older one goes first.
      if (oldest.live > 0 || oldest === this.#active) return;
      this.#discard(oldest);
    }
  }

  #discard(segment: SpoolSegment): void {
    this.#segments.splice(this.#segments.indexOf(segment), 1);
    segment.close();
    try {
      if (segment.isDamaged) keepAside(this.#options.dir, segment.path, this.#logger);
      else fs.rmSync(segment.path, { force: true });
    } catch (error) {
      this.#logger.warn({ err: error, file: segment.path }, 'cannot remove a file of the spool');
    }
  }

  #tellLoss(segment: SpoolSegment, why: string): void {
    segment.isDamaged = true;
    this.#damages += 1;
    this.#lostBatches += 1;
    this.#logger.error({ file: segment.path, why }, 'a batch in the spool cannot be read');
  }

  async #close(): Promise<void> {
    if (this.#lock === undefined) this.#cancelRetry?.();
    await this.#opening;
    if (this.#waiting.size > 0) this.#store();
    this.#seal();
    this.#retire();
    // A sync that is under way may not hold what was written since it began.
    while (this.#segments.some(({ isDirty }) => isDirty)) await this.#sync();
    this.#cancelSync?.();
    this.#cancelRetry?.();
    for (const segment of this.#segments) segment.close();
    await this.#lock?.release();
  }
}

/** The largest epoch that the files speak of; 0 where they hold nothing. */
function lastEpochOf(found: readonly FoundSegment[]): number {
  let last = 0;
  for (const { records } of found) {
    for (const { epoch } of records) last = Math.max(last, epoch);
  }
  return last;
}

const NO_FRAME = new Uint8Array(0);

function keyOf({ epoch, sequence }: SpooledBatch): string {
  return `${epoch}/${sequence}`;
}
