/**
 * The `journal` commands: what the durable log holds, whether it is sound, and its records as JSON
 * lines. They only read, so a running daemon is not disturbed.
 */
import { decodeSeriesTable } from '../../codec/series-table.ts';
import { loadConfig } from '../../config/load-config.ts';
import { journalDir } from '../../config/paths.ts';
import type { Series, SeriesTable } from '../../domain/telemetry.ts';
import { inspectJournal } from '../../journal/lmdb/inspect.ts';
import { JournalReader } from '../../journal/lmdb/journal-reader.ts';
import { verifyJournal } from '../../journal/lmdb/verify.ts';
import type { JournalRecord, LogReader } from '../../journal/log-reader.ts';
import { errorMessage, OperatingError } from '../../lib/errors.ts';
import { createTableLookup } from '../writers/table-cache.ts';
import { exitCode } from './exit-codes.ts';
import type { Host } from './host.ts';
import { printReport, printVerdict, type ReportFormat } from './print-report.ts';

const SLICE_RECORDS = 64;
const SLICE_BYTES = 4 * 1024 * 1024;

/** Prints the state of the configured journal. Throws OperatingError where it cannot be read. */
export async function inspectJournalCommand(
  configPath: string | undefined,
  format: ReportFormat,
  host: Pick<Host, 'out' | 'environment'>,
): Promise<void> {
  printReport(await inspectJournal(directoryOf(configPath, host)), format, host);
}

/** Prints what was looked at and every fault; the exit code. Throws OperatingError. */
export async function verifyJournalCommand(
  configPath: string | undefined,
  format: ReportFormat,
  host: Pick<Host, 'out' | 'environment'>,
): Promise<number> {
  const place = directoryOf(configPath, host);
  const seriesCount = (table: Uint8Array) => decodeSeriesTable(table).series.length;
  const report = await verifyJournal(place, { seriesCount });
  const { faults, told: shown, ...looked } = report;
  return printVerdict({ subject: 'journal', place, looked, faults, shown }, report, format, host);
}

export interface ExportOptions {
  /** A seq, or a time of reception; both ends included. */
  readonly from?: string;
  readonly to?: string;
  readonly node?: string;
}

/** Prints the records and returns the exit code. Throws OperatingError. */
export async function exportJournalCommand(
  configPath: string | undefined,
  options: ExportOptions,
  host: Pick<Host, 'out' | 'err' | 'environment'>,
): Promise<number> {
  const from = parseBound('--from', options.from);
  const to = parseBound('--to', options.to);
  const reader: LogReader = JournalReader.open(directoryOf(configPath, host));
  const table = createTableLookup((id) => reader.table(id), decodeSeriesTable);
  let faults = 0;
  try {
    for (let seq = (from?.seq ?? 1) - 1; ; ) {
      const slice = reader.read(seq, SLICE_RECORDS, SLICE_BYTES);
      for (const { seq: damaged, why } of slice.damaged) {
        if (damaged > (to?.seq ?? Infinity)) continue;
        faults += 1;
        host.out(`${JSON.stringify({ seq: damaged, damaged: why })}\n`);
      }
      for (const record of slice.records) {
        if (!isWanted(record, from, to, options.node)) continue;
        const line = describeRecord(record, table);
        if ('damaged' in line) faults += 1;
        host.out(`${JSON.stringify(line)}\n`);
      }
      if (slice.lastSeq === seq || slice.lastSeq >= (to?.seq ?? Infinity)) break;
      seq = slice.lastSeq;
    }
  } finally {
    await reader.close();
  }
  if (faults > 0) host.err(`${faults} records could not be read; journal verify says more\n`);
  return exitCode(faults === 0 ? 'ok' : 'failed');
}

interface Bound {
  readonly seq?: number;
  readonly timeMs?: number;
}

function parseBound(option: string, text: string | undefined): Bound | undefined {
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return { seq: Number(text) };
  const timeMs = Date.parse(text);
  if (!Number.isNaN(timeMs)) return { timeMs };
  throw new OperatingError(
    'BAD_BOUND',
    `cannot use ${option} ${text}: give the number of a record, such as 17, ` +
      'or a time, such as 2025-07-18T20:00:00Z',
  );
}

function isWanted(
  { seq, receivedAtMs, nodeId }: JournalRecord,
  from: Bound | undefined,
  to: Bound | undefined,
  node: string | undefined,
): boolean {
  if (node !== undefined && nodeId !== node) return false;
  if (seq > (to?.seq ?? Infinity) || receivedAtMs > (to?.timeMs ?? Infinity)) return false;
  return receivedAtMs >= (from?.timeMs ?? -Infinity);
}

function describeRecord(record: JournalRecord, table: (id: string) => SeriesTable) {
  const { seq, nodeId, epoch, sequence, receivedAtMs, samples } = record;
  let series: readonly Series[];
  try {
    ({ series } = table(record.tableId));
  } catch (error) {
    return { seq, damaged: errorMessage(error) };
  }
  return {
    ...{ seq, node: nodeId, epoch, sequence },
    receivedAt: new Date(receivedAtMs).toISOString(),
    samples: Array.from(samples.series, (index, at) => {
      const { name: metric, labels, unit, kind } = series[index]!;
      return {
        ...{ metric, labels: Object.fromEntries(labels), unit, kind },
        ...{ timestampMs: samples.timestampsMs[at], value: samples.values[at] },
      };
    }),
  };
}

function directoryOf(configPath: string | undefined, host: Pick<Host, 'environment'>): string {
  return journalDir(loadConfig(configPath, host.environment));
}
