/**
 * What a crash between the rename of finished files and the commit of the cursor left behind, and
 * how the replay of the journal steps around it.
 *
 * A visible file holds all rows of its hour from the records of its range, except those that an
 * earlier visible file holds already. So a replayed record's rows are skipped exactly for the hours
 * that a visible file covers at the record's seq, wherever the replay cuts its own ranges.
 */
import path from 'node:path';
import type { FileSystem } from '../../../lib/filesystem.ts';
import type { WriterLog } from '../writer.ts';
import {
  collectorPrefix,
  contradiction,
  directoryChain,
  listWarehouse,
  metricsDirectory,
  quarantineDirectory,
  readFooter,
  type SeqRange,
  stagingDirectory,
  type WarehouseFile,
} from '../../../warehouse/warehouse.ts';

/** Which hours are already in the warehouse for which records. */
export class CoveredRanges {
  readonly #rangesByHour = new Map<number, SeqRange[]>();

  add(hourMs: number, range: SeqRange): void {
    const ranges = this.#rangesByHour.get(hourMs);
    if (ranges === undefined) this.#rangesByHour.set(hourMs, [range]);
    else ranges.push(range);
  }

  has(hourMs: number, seq: number): boolean {
    const ranges = this.#rangesByHour.get(hourMs);
    if (ranges === undefined) return false;
    return ranges.some(({ firstSeq, lastSeq }) => firstSeq <= seq && seq <= lastSeq);
  }

  /** Forgets ranges that end at or below `cursor`: their records never come again. */
  forgetUpTo(cursor: number): void {
    for (const [hourMs, ranges] of this.#rangesByHour) {
      const rest = ranges.filter(({ lastSeq }) => lastSeq > cursor);
      if (rest.length === 0) this.#rangesByHour.delete(hourMs);
      else this.#rangesByHour.set(hourMs, rest);
    }
  }

  get hours(): number {
    return this.#rangesByHour.size;
  }
}

/** A visible file of this collector, as retention sees it. */
export interface CatalogEntry extends WarehouseFile {
  readonly bytes: number;
  /** While the cursor is below this, a replay may need the file to know what to skip. */
  readonly neededUntilSeq: number;
}

export interface RecoveryOptions {
  readonly root: string;
  readonly collectorId: string;
  readonly journalId: string;
  /** Records after this one will be replayed. */
  readonly cursor: number;
}

/**
 * Makes the warehouse ready to be written: creates its directories, wipes what this collector left
 * in staging, and finds out what the replay must skip. Visible files are never removed; one whose
 * footer contradicts its name is moved to `.quarantine/`, and its rows come from the journal again.
 */
export function recoverWarehouse(
  fs: FileSystem,
  log: WriterLog,
  options: RecoveryOptions,
): { files: CatalogEntry[]; covered: CoveredRanges } {
  const { root, collectorId, cursor } = options;
  fs.makeDirectory(metricsDirectory(root));
  wipeStaging(fs, root, collectorId);
  const covered = new CoveredRanges();
  const directoriesToSync = new Set<string>();
  const files: CatalogEntry[] = [];
  for (const file of listWarehouse(fs, root, collectorId)) {
    const verdict = file.lastSeq <= cursor ? 'settled' : judge(fs, file, options.journalId);
    if (typeof verdict === 'object') {
      quarantine(fs, root, file);
      log('error', 'moved a damaged warehouse file to quarantine', { path: file.path, ...verdict });
      continue;
    }
    files.push({
      ...file,
      bytes: fs.fileBytes(file.path),
      neededUntilSeq: verdict === 'other_journal' ? 0 : file.lastSeq,
    });
    if (verdict !== 'covers') continue;
    covered.add(file.hourMs, file);
    for (const directory of directoryChain(root, file.hourMs)) directoriesToSync.add(directory);
  }
  // The crash may have come before the renames were durable; the cursor will soon rely on them.
  for (const directory of directoriesToSync) fs.syncDirectory(directory);
  if (covered.hours > 0) log('info', 'skipping hours already written', { hours: covered.hours });
  return { files, covered };
}

/** What a file beyond the cursor means. The seqs of another journal name records never replayed. */
function judge(
  fs: FileSystem,
  file: WarehouseFile,
  journalId: string,
): 'covers' | 'other_journal' | { why: string } {
  const result = readFooter(fs, file.path);
  if (!result.ok) return { why: result.why };
  const why = contradiction(file, result.footer);
  if (why !== undefined) return { why };
  return result.footer.journalId === journalId ? 'covers' : 'other_journal';
}

/** Others may share the directory: only this collector's files go. */
function wipeStaging(fs: FileSystem, root: string, collectorId: string): void {
  const staging = stagingDirectory(root);
  fs.makeDirectory(staging);
  for (const { name } of fs.list(staging)) {
    if (name.startsWith(collectorPrefix(collectorId))) fs.remove(path.join(staging, name));
  }
}

function quarantine(fs: FileSystem, root: string, file: WarehouseFile): void {
  const directory = quarantineDirectory(root);
  fs.makeDirectory(directory);
  const hour = new Date(file.hourMs).toISOString().slice(0, 13);
  const base = path.join(directory, `${hour}-${path.basename(file.path)}`);
  let target = `${base}.damaged`;
  for (let copy = 2; fs.exists(target); copy++) target = `${base}-${copy}.damaged`;
  fs.rename(file.path, target);
  fs.syncDirectory(directory);
  fs.syncDirectory(path.dirname(file.path));
}
