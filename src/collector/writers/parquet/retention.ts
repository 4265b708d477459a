/**
 * Which files of this collector have to go: whole files, oldest hour first, by age and by the bytes
 * of all of the collector's files. Other collectors that share the directory keep their own house.
 *
 * A wrong clock must not cost the history. So the age of a file is its distance from the newest
 * data in the warehouse or from the clock, whichever is less; a tick removes a share of the files
 * at most; and after a jump of the clock nothing is removed for its age for a day.
 */
import path from 'node:path';
import type { Clock } from '../../../lib/clock.ts';
import { errorMessage } from '../../../lib/errors.ts';
import type { FileSystem } from '../../../lib/filesystem.ts';
import type { WriterLog } from '../writer.ts';
import type { CatalogEntry } from './recovery.ts';
import { HOUR_MS } from '../../../warehouse/warehouse.ts';

const DAY_MS = 24 * HOUR_MS;
const INTERVAL_MS = 60_000;
/** Of all files, in one tick: when an operator reacts to the alarm, most are still there. */
const SHARE_PER_TICK = 1 / 20;
/** More than an hour set by hand for daylight saving, a leap second or a slow disk can explain. */
const JUMP_MS = 90 * 60_000;
/** Time for a person to look at the clock. */
const HOLD_MS = DAY_MS;

export interface RetentionLimits {
  /** 0 = no limit. */
  readonly days: number;
  /** 0 = no limit. */
  readonly bytes: number;
}

export interface RetentionState {
  readonly cursor: number;
  /** Rows of the hour are waiting to be written. */
  readonly isOpen: (hourMs: number) => boolean;
}

interface RetentionDeps {
  readonly clock: Clock;
  readonly fs: FileSystem;
  readonly log: WriterLog;
}

/** Removes files, once a minute. */
export class Retention {
  readonly #deps: RetentionDeps;
  readonly #limits: RetentionLimits;
  #nextMs = 0;
  /** How far the wall clock was ahead of the monotonic one at the last look. */
  #wallOffsetMs: number;
  #holdUntilMs = 0;
  #removed = 0;
  #jumps = 0;

  constructor(deps: RetentionDeps, limits: RetentionLimits) {
    this.#deps = deps;
    this.#limits = limits;
    this.#wallOffsetMs = deps.clock.nowMs() - deps.clock.monotonicMs();
  }

  /** Files removed so far. */
  get removed(): number {
    return this.#removed;
  }

  /** Jumps of the wall clock seen so far. */
  get clockJumps(): number {
    return this.#jumps;
  }

  /** No file is removed for its age at present. */
  get isOnHold(): boolean {
    return this.#deps.clock.monotonicMs() < this.#holdUntilMs;
  }

  /**
   * Removes what is due of `files`, which are sorted by hour, and returns the rest. A fault is
   * logged and tried again a minute later; it costs no rows.
   */
  tick(files: readonly CatalogEntry[], state: RetentionState): readonly CatalogEntry[] {
    const { clock, fs, log } = this.#deps;
    this.#watchClock();
    if (clock.monotonicMs() < this.#nextMs) return files;
    this.#nextMs = clock.monotonicMs() + INTERVAL_MS;
    const limits = this.isOnHold ? { ...this.#limits, days: 0 } : this.#limits;
    const due = (of: readonly CatalogEntry[]) => filesToRemove(of, limits, clock.nowMs(), state);
    if (due(files).length === 0) return files;
    let left = files;
    try {
      // An operator may have removed files by hand; what they freed counts.
      left = files.filter((file) => fs.exists(file.path));
      for (const file of due(left)) {
        removeWarehouseFile(fs, file.path);
        left = left.filter((other) => other !== file);
        this.#removed++;
        log('info', 'removed a warehouse file', { path: file.path, bytes: file.bytes });
      }
    } catch (error) {
      log('warn', 'cannot remove old warehouse files', { error: errorMessage(error) });
    }
    return left;
  }

  #watchClock(): void {
    const { clock, log } = this.#deps;
    const offsetMs = clock.nowMs() - clock.monotonicMs();
    const jumpMs = offsetMs - this.#wallOffsetMs;
    this.#wallOffsetMs = offsetMs;
    if (Math.abs(jumpMs) < JUMP_MS) return;
    this.#jumps++;
    this.#holdUntilMs = clock.monotonicMs() + HOLD_MS;
    log('error', 'the clock jumped; no warehouse file is removed for its age for a day', {
      jumpSeconds: Math.round(jumpMs / 1000),
      clock: new Date(clock.nowMs()).toISOString(),
    });
  }
}

/**
 * Chooses among `files`, sorted by hour. Never the hour that is running or one with rows waiting,
 * never a file that a replay from the cursor would have to find.
 */
export function filesToRemove(
  files: readonly CatalogEntry[],
  limits: RetentionLimits,
  nowMs: number,
  { cursor, isOpen }: RetentionState,
): CatalogEntry[] {
  const newestMs = (files.at(-1)?.hourMs ?? 0) + HOUR_MS;
  const cutoffMs =
    limits.days === 0 ? Number.NEGATIVE_INFINITY : Math.min(nowMs, newestMs) - limits.days * DAY_MS;
  const removedMax = Math.ceil(files.length * SHARE_PER_TICK);
  let excessBytes = limits.bytes === 0 ? 0 : totalBytes(files) - limits.bytes;
  const removed: CatalogEntry[] = [];
  for (const file of files) {
    if (removed.length === removedMax) break;
    const endMs = file.hourMs + HOUR_MS;
    const isDue = endMs <= cutoffMs || excessBytes > 0;
    if (!isDue || endMs > nowMs || isOpen(file.hourMs)) continue;
    if (file.neededUntilSeq > cursor) continue;
    removed.push(file);
    excessBytes -= file.bytes;
  }
  return removed;
}

/** Bytes of all files together. */
export function totalBytes(files: readonly CatalogEntry[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Removes the file, then its hour and date directories where they are empty now. */
function removeWarehouseFile(fs: FileSystem, filePath: string): void {
  fs.remove(filePath);
  const hour = path.dirname(filePath);
  if (fs.removeEmptyDirectory(hour)) fs.removeEmptyDirectory(path.dirname(hour));
}
