/**
 * Whether the warehouse holds what it says: every visible file readable to its last row, in its
 * place, with the rows its footer counts; no row twice because two files claim the same records.
 *
 * Ranges of one hour may overlap rightly: a crash between the renames of one seal makes the next
 * one start at the same record, and it leaves out what is visible already. So an overlap is a
 * fault where the ranges begin at different records, or where the files really share rows.
 */
import path from 'node:path';
import { errorCode, errorMessage } from '../lib/errors.ts';
import type { FileSystem } from '../lib/filesystem.ts';
import { WAREHOUSE_COLUMNS } from './columns.ts';
import {
  contradiction,
  HOUR_MS,
  listWarehouse,
  metricsDirectory,
  readFooter,
  type WarehouseFile,
} from './warehouse.ts';
import { WarehouseFileReader } from './warehouse-reader.ts';

/** Rows decoded at a time. */
const ROWS_MAX = 500_000;

export interface WarehouseFault {
  readonly path: string;
  readonly what: string;
}

export interface WarehouseVerification {
  readonly files: number;
  readonly rows: number;
  readonly bytes: number;
  /** Pairs of files of one hour whose ranges overlap rightly. */
  readonly overlaps: number;
  readonly faults: readonly WarehouseFault[];
}

export interface VerifyWarehouseDeps {
  readonly fs: FileSystem;
  /** Called after each file with how many were read so far, and of how many. */
  readonly onFile: (done: number, all: number) => void;
}

/** Verifies the warehouse under `root`. Throws what the file system says of directories. */
export async function verifyWarehouse(
  deps: VerifyWarehouseDeps,
  root: string,
): Promise<WarehouseVerification> {
  const { fs } = deps;
  const found = listWarehouse(fs, root);
  const faults: WarehouseFault[] = findStrays(fs, metricsDirectory(root), found);
  const sound: (WarehouseFile & { readonly journalId: string })[] = [];
  let [rows, bytes] = [0, 0];
  for (const [index, file] of found.entries()) {
    const result = await verifyFile(fs, file);
    deps.onFile(index + 1, found.length);
    if (result === 'gone') continue;
    if (typeof result === 'string') {
      faults.push({ path: file.path, what: result });
      continue;
    }
    sound.push({ ...file, journalId: result.journalId });
    rows += result.rows;
    bytes += fs.fileBytes(file.path);
  }
  const overlaps = overlappingPairs(sound);
  for (const [a, b] of overlaps) {
    const what = await overlapFault(fs, a, b);
    if (what !== undefined) faults.push({ path: b.path, what });
  }
  return { files: found.length, rows, bytes, overlaps: overlaps.length, faults };
}

/** 'gone' where retention removed the file meanwhile; otherwise a text says what is wrong. */
async function verifyFile(
  fs: FileSystem,
  file: WarehouseFile,
): Promise<string | { readonly rows: number; readonly journalId: string }> {
  try {
    const result = readFooter(fs, file.path);
    if (!result.ok) return result.why;
    const why = contradiction(file, result.footer);
    if (why !== undefined) return why;
    const reader = WarehouseFileReader.open(fs, file.path);
    const missing = WAREHOUSE_COLUMNS.find(({ name }) => !reader.columns.includes(name));
    if (missing !== undefined) return `it has no column ${missing.name}`;
    return (
      (await readAll(reader, file.hourMs)) ?? {
        rows: reader.rows,
        journalId: result.footer.journalId,
      }
    );
  } catch (error) {
    return errorCode(error) === 'ENOENT' ? 'gone' : `it cannot be read: ${errorMessage(error)}`;
  }
}

/** Decodes every value of every column; what is wrong with them, undefined where nothing is. */
async function readAll(reader: WarehouseFileReader, hourMs: number): Promise<string | undefined> {
  let rows = 0;
  for (const range of reader.rowRanges(ROWS_MAX)) {
    for (const { name, nullable, source } of WAREHOUSE_COLUMNS) {
      if (typeof source !== 'number') {
        const values = await reader.numbers(name, range);
        if (!values.every(Number.isFinite)) return `column ${name} has values that are no numbers`;
        const stray =
          source === 'timestamp' && values.find((ms) => ms < hourMs || ms >= hourMs + HOUR_MS);
        if (typeof stray === 'number') {
          return `it has a row of ${new Date(stray).toISOString()}, outside its hour`;
        }
        continue;
      }
      const texts = await reader.texts(name, range);
      if (!nullable && texts.includes(null)) return `column ${name} has rows without a value`;
    }
    rows += range.end - range.start;
  }
  return rows === reader.rows
    ? undefined
    : `its row groups hold ${rows} rows, its footer counts ${reader.rows}`;
}

/** What is under `metrics/` and is not a warehouse file in its place. */
function findStrays(
  fs: FileSystem,
  metrics: string,
  files: readonly WarehouseFile[],
): WarehouseFault[] {
  const known = new Set(files.map((file) => file.path));
  const strays: WarehouseFault[] = [];
  const visit = (directory: string, depth: number) => {
    for (const { name, isDirectory } of fs.list(directory)) {
      const full = path.join(directory, name);
      if (isDirectory && depth < 3) visit(full, depth + 1);
      else if (!known.has(full)) strays.push({ path: full, what: 'does not belong here' });
    }
  };
  visit(metrics, 1);
  return strays;
}

type Pair = readonly [a: WarehouseFile, b: WarehouseFile];

/** Pairs of files of one collector, journal and hour whose ranges share a record. */
function overlappingPairs(
  files: readonly (WarehouseFile & { readonly journalId: string })[],
): Pair[] {
  const byHour = new Map<string, WarehouseFile[]>();
  for (const file of files) {
    const key = JSON.stringify([file.collectorId, file.journalId, file.hourMs]);
    byHour.set(key, [...(byHour.get(key) ?? []), file]);
  }
  const pairs: Pair[] = [];
  for (const hour of byHour.values()) {
    const sorted = hour.toSorted((a, b) => a.firstSeq - b.firstSeq || a.lastSeq - b.lastSeq);
    for (const [index, a] of sorted.entries()) {
      for (const b of sorted.slice(index + 1)) if (b.firstSeq <= a.lastSeq) pairs.push([a, b]);
    }
  }
  return pairs;
}

async function overlapFault(
  fs: FileSystem,
  a: WarehouseFile,
  b: WarehouseFile,
): Promise<string | undefined> {
  const other = path.basename(a.path);
  if (a.firstSeq !== b.firstSeq) {
    return `its records overlap with those of ${other}, and begin elsewhere`;
  }
  const shared = await sharedRows(fs, a, b);
  return shared === 0 ? undefined : `${shared} of its rows are in ${other}, too`;
}

/** Rows of `b` that `a` holds as well, counted in passes of a part of the rows each. */
async function sharedRows(fs: FileSystem, a: WarehouseFile, b: WarehouseFile): Promise<number> {
  const [readerA, readerB] = [a, b].map((file) => WarehouseFileReader.open(fs, file.path));
  const passes = Math.ceil(Math.min(readerA!.rows, readerB!.rows) / ROWS_MAX);
  let shared = 0;
  for (let pass = 0; pass < passes; pass++) {
    const keys = new Set<string>();
    await eachRowKey(readerA!, passes, pass, (key) => void keys.add(key));
    await eachRowKey(readerB!, passes, pass, (key) => {
      if (keys.has(key)) shared += 1;
    });
  }
  return shared;
}

async function eachRowKey(
  reader: WarehouseFileReader,
  passes: number,
  pass: number,
  take: (key: string) => void,
): Promise<void> {
  for (const range of reader.rowRanges(ROWS_MAX)) {
    const times = await reader.numbers('ts', range);
    const keys: string[] = [];
    for (const { name, source } of WAREHOUSE_COLUMNS) {
      const values =
        typeof source === 'number'
          ? await reader.texts(name, range)
          : await reader.numbers(name, range);
      for (let i = 0; i < times.length; i++) {
        if (Math.floor(times[i]!) % passes === pass) keys[i] = `${keys[i] ?? ''}\0${values[i]}`;
      }
    }
    keys.forEach(take);
  }
}
