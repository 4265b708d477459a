/**
 * Which files of this collector have to go: whole files, oldest hour first, by age and by the bytes
 * of all of the collector's files. Other collectors that share the directory keep their own house.
 */
import path from 'node:path';
import type { FileSystem } from '../../../lib/filesystem.ts';
import type { CatalogEntry } from './recovery.ts';
import { HOUR_MS } from '../../../warehouse/warehouse.ts';

const DAY_MS = 24 * HOUR_MS;

export interface RetentionLimits {
  /** 0 = no limit. */
  readonly days: number;
  /** 0 = no limit. */
  readonly bytes: number;
}

export interface RetentionState {
  readonly nowMs: number;
  readonly cursor: number;
  /** Rows of the hour are waiting to be written. */
  readonly isOpen: (hourMs: number) => boolean;
}

/**
 * Chooses among `files`, sorted by hour. Never the hour that is running or one with rows waiting,
 * never a file that a replay from the cursor would have to find.
 */
export function filesToRemove(
  files: readonly CatalogEntry[],
  limits: RetentionLimits,
  state: RetentionState,
): CatalogEntry[] {
  const cutoffMs =
    limits.days === 0 ? Number.NEGATIVE_INFINITY : state.nowMs - limits.days * DAY_MS;
  let excessBytes = limits.bytes === 0 ? 0 : totalBytes(files) - limits.bytes;
  const removed: CatalogEntry[] = [];
  for (const file of files) {
    const endMs = file.hourMs + HOUR_MS;
    const isDue = endMs <= cutoffMs || excessBytes > 0;
    if (!isDue || endMs > state.nowMs || state.isOpen(file.hourMs)) continue;
    if (file.neededUntilSeq > state.cursor) continue;
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
export function removeWarehouseFile(fs: FileSystem, filePath: string): void {
  fs.remove(filePath);
  const hour = path.dirname(filePath);
  if (fs.removeEmptyDirectory(hour)) fs.removeEmptyDirectory(path.dirname(hour));
}
