/**
 * The warehouse on disk: where files lie, what their names and footers say. Shared by the writer,
 * by recovery, retention and the commands that inspect a warehouse.
 *
 *     <root>/metrics/date=2025-07-18/hour=20/part-<collector>-<firstSeq>-<lastSeq>.parquet
 *     <root>/.staging/part-<collector>-….tmp      unfinished, invisible to readers
 *     <root>/.quarantine/….damaged                files whose footer contradicts their name
 */
import path from 'node:path';
import { parquetMetadata } from 'hyparquet';
import { errorMessage } from '../lib/errors.ts';
import type { FileSystem } from '../lib/filesystem.ts';
import { WAREHOUSE_SCHEMA_VERSION } from './columns.ts';

export const HOUR_MS = 3_600_000;

/** Journal records, both ends included. */
export interface SeqRange {
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** What the place and the name of a visible file say. */
export interface WarehouseFile extends SeqRange {
  readonly path: string;
  readonly collectorId: string;
  /** Start of the UTC hour that all its rows lie in, Unix ms. */
  readonly hourMs: number;
}

/** What a footer says. */
export interface WarehouseFooter extends SeqRange {
  readonly collectorId: string;
  readonly journalId: string;
  readonly hourMs: number;
  readonly rows: number;
  readonly schemaVersion: number;
}

/** Where readers look: finished files only. */
export function metricsDirectory(root: string): string {
  return path.join(root, 'metrics');
}

/** Where unfinished files lie. */
export function stagingDirectory(root: string): string {
  return path.join(root, '.staging');
}

/** Where files go that contradict themselves. */
export function quarantineDirectory(root: string): string {
  return path.join(root, '.quarantine');
}

/** The start of the UTC hour of `timestampMs`. */
export function hourOf(timestampMs: number): number {
  return Math.floor(timestampMs / HOUR_MS) * HOUR_MS;
}

/** The directory of one UTC hour. */
export function hourDirectory(root: string, hourMs: number): string {
  const iso = new Date(hourMs).toISOString();
  return path.join(metricsDirectory(root), `date=${iso.slice(0, 10)}`, `hour=${iso.slice(11, 13)}`);
}

/** The directories whose entries lead to a file of that hour, innermost first. */
export function directoryChain(root: string, hourMs: number): string[] {
  const hour = hourDirectory(root, hourMs);
  return [hour, path.dirname(hour), metricsDirectory(root), root];
}

/** Where a collector says that it is the one that writes here. */
export function ownerDirectory(root: string, collectorId: string): string {
  return path.join(root, '.owners', collectorId);
}

/**
 * The name of an unfinished file. `incarnation` is the writer's own: two writers, should there ever
 * be two, never write into one file.
 */
export function stagingName(collectorId: string, incarnation: string, what: string): string {
  return `${collectorPrefix(collectorId)}${incarnation}-${what}.tmp`;
}

/** What every file of a collector starts with, in `metrics/` and in `.staging/`. */
export function collectorPrefix(collectorId: string): string {
  return `part-${collectorId}-`;
}

/** Seqs are padded so that names sort; `copy` > 1 sets a second file of the same name apart. */
export function warehouseFileName(collectorId: string, range: SeqRange, copy = 1): string {
  const [first, last] = [range.firstSeq, range.lastSeq].map((seq) => String(seq).padStart(16, '0'));
  return `${collectorPrefix(collectorId)}${first}-${last}${copy > 1 ? `-${copy}` : ''}.parquet`;
}

const FILE_NAME = /^part-([A-Za-z0-9._]+)-(\d+)-(\d+)(?:-\d+)?\.parquet$/;
const DATE_NAME = /^date=(\d{4}-\d{2}-\d{2})$/;
const HOUR_NAME = /^hour=(\d{2})$/;

/**
 * All visible files of one collector, or of all, by hour and then by name. Others' files are left
 * out.
 */
export function listWarehouse(fs: FileSystem, root: string, collectorId?: string): WarehouseFile[] {
  const metrics = metricsDirectory(root);
  const files: WarehouseFile[] = [];
  for (const date of matchingEntries(fs, metrics, DATE_NAME)) {
    for (const hour of matchingEntries(fs, path.join(metrics, date.name), HOUR_NAME)) {
      const hourMs = Date.parse(`${date.match[1]}T${hour.match[1]}:00:00Z`);
      if (Number.isNaN(hourMs)) continue;
      const directory = path.join(metrics, date.name, hour.name);
      for (const { name, match } of matchingEntries(fs, directory, FILE_NAME)) {
        if (collectorId !== undefined && match[1] !== collectorId) continue;
        files.push({
          path: path.join(directory, name),
          collectorId: match[1]!,
          hourMs,
          firstSeq: Number(match[2]),
          lastSeq: Number(match[3]),
        });
      }
    }
  }
  return files;
}

function matchingEntries(fs: FileSystem, directory: string, pattern: RegExp) {
  return fs.list(directory).flatMap(({ name }) => {
    const match = pattern.exec(name);
    return match === null ? [] : [{ name, match }];
  });
}

/** The key-value metadata of a footer. */
export function footerMetadata(
  footer: WarehouseFooter,
  { createdBy, incarnation }: { readonly createdBy: string; readonly incarnation: string },
): ReadonlyMap<string, string> {
  return new Map([
    ['telemetry.incarnation', incarnation],
    ['telemetry.schema_version', String(footer.schemaVersion)],
    ['telemetry.collector', footer.collectorId],
    ['telemetry.journal', footer.journalId],
    ['telemetry.first_seq', String(footer.firstSeq)],
    ['telemetry.last_seq', String(footer.lastSeq)],
    ['telemetry.hour', new Date(footer.hourMs).toISOString()],
    ['telemetry.rows', String(footer.rows)],
    ['telemetry.created_by', createdBy],
  ]);
}

export type FooterResult =
  | { readonly ok: true; readonly footer: WarehouseFooter }
  | { readonly ok: false; readonly why: string };

/** Length of the footer and magic at the end of a Parquet file. */
const TAIL_BYTES = 8;

/** Reads what the end of a file says. A file that is no Parquet file is a result, not an error. */
export function readFooter(fs: FileSystem, filePath: string): FooterResult {
  const fileBytes = fs.fileBytes(filePath);
  if (fileBytes < TAIL_BYTES) return { ok: false, why: `it has ${fileBytes} bytes` };
  const tail = fs.readRange(filePath, fileBytes - TAIL_BYTES, TAIL_BYTES);
  if (tail.toString('latin1', 4) !== 'PAR1') return { ok: false, why: 'it has no Parquet footer' };
  const footerBytes = tail.readUInt32LE(0) + TAIL_BYTES;
  if (footerBytes > fileBytes) return { ok: false, why: 'its footer is longer than the file' };
  const bytes = fs.readRange(filePath, fileBytes - footerBytes, footerBytes);
  try {
    const metadata = parquetMetadata(new Uint8Array(bytes).buffer);
    const values = new Map(metadata.key_value_metadata?.map(({ key, value }) => [key, value]));
    return parseMetadata(values, Number(metadata.num_rows));
  } catch (error) {
    return { ok: false, why: errorMessage(error) };
  }
}

function parseMetadata(
  values: ReadonlyMap<string, string | undefined>,
  rows: number,
): FooterResult {
  const footer: WarehouseFooter = {
    schemaVersion: Number(values.get('telemetry.schema_version')),
    collectorId: values.get('telemetry.collector') ?? '',
    journalId: values.get('telemetry.journal') ?? '',
    firstSeq: Number(values.get('telemetry.first_seq')),
    lastSeq: Number(values.get('telemetry.last_seq')),
    hourMs: Date.parse(values.get('telemetry.hour') ?? ''),
    rows,
  };
  if (!(footer.schemaVersion <= WAREHOUSE_SCHEMA_VERSION)) {
    return { ok: false, why: `its schema version is ${values.get('telemetry.schema_version')}` };
  }
  if (values.get('telemetry.rows') !== String(rows)) {
    return { ok: false, why: `it has ${rows} rows instead of ${values.get('telemetry.rows')}` };
  }
  return { ok: true, footer };
}

/** Why `footer` cannot belong to `file`; undefined where they agree. */
export function contradiction(file: WarehouseFile, footer: WarehouseFooter): string | undefined {
  for (const key of ['collectorId', 'hourMs', 'firstSeq', 'lastSeq'] as const) {
    if (file[key] !== footer[key]) {
      return `${key} is ${footer[key]} in the footer and ${file[key]} in the name`;
    }
  }
  return undefined;
}
