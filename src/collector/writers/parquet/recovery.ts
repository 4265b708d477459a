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
  #lastSeq = 0;

  add(hourMs: number, range: SeqRange): void {
    this.#lastSeq = Math.max(this.#lastSeq, range.lastSeq);
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

  /** The last record that any of them covered, forgotten ones included; 0 before the first. */
  get lastSeq(): number {
    return this.#lastSeq;
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
  /** Journals of which this one was an older copy: they share the records up to `lastSeq`. */
  readonly ancestors: readonly { readonly id: string; readonly lastSeq: number }[];
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
    const verdict = file.lastSeq <= cursor ? 'settled' : judge(fs, file, options);
    if (typeof verdict === 'object' && 'why' in verdict) {
      quarantine(fs, root, file);
      log('error', 'moved a damaged warehouse file to quarantine', { path: file.path, ...verdict });
      continue;
    }
    files.push({
      ...file,
      bytes: fs.fileBytes(file.path),
      neededUntilSeq: typeof verdict === 'object' ? verdict.coversUpTo : file.lastSeq,
    });
    if (verdict === 'settled' || verdict.coversUpTo <= cursor) continue;
    covered.add(file.hourMs, { firstSeq: file.firstSeq, lastSeq: verdict.coversUpTo });
    for (const directory of directoryChain(root, file.hourMs)) directoriesToSync.add(directory);
  }
  // The crash may have come before the renames were durable; the cursor will soon rely on them.
  for (const directory of directoriesToSync) fs.syncDirectory(directory);
  if (covered.hours > 0) log('info', 'skipping hours already written', { hours: covered.hours });
  return { files, covered };
}

/**
 * Up to which record a file beyond the cursor says what is written. The seqs of another journal
 * name records never replayed: 0. Those of an ancestor do as far as the records are shared.
 */
function judge(
  fs: FileSystem,
  file: WarehouseFile,
  { journalId, ancestors }: RecoveryOptions,
): { coversUpTo: number } | { why: string } {
  const result = readFooter(fs, file.path);
  if (!result.ok) return { why: result.why };
  const why = contradiction(file, result.footer);
  if (why !== undefined) return { why };
  if (result.footer.journalId === journalId) return { coversUpTo: file.lastSeq };
  const ancestor = ancestors.find(({ id }) => id === result.footer.journalId);
  return { coversUpTo: Math.min(file.lastSeq, ancestor?.lastSeq ?? 0) };
}

/**
 * The newest record of the journal that a visible file was made from, if that is beyond `afterSeq`;
 * otherwise 0. Only files beyond it are opened.
 */
export function newestWrittenSeq(
  fs: FileSystem,
  { root, collectorId, journalId }: Pick<RecoveryOptions, 'root' | 'collectorId' | 'journalId'>,
  afterSeq: number,
): number {
  let newest = 0;
  for (const file of listWarehouse(fs, root, collectorId)) {
    if (file.lastSeq <= Math.max(afterSeq, newest)) continue;
    const result = readFooter(fs, file.path);
    if (result.ok && result.footer.journalId === journalId) newest = file.lastSeq;
  }
  return newest;
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
