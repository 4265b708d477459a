/**
 * `journal export`: records as JSON lines, for a person to look at or a script to send elsewhere.
 */
import { decodeSeriesTable } from '../../codec/series-table.ts';
import { loadConfig } from '../../config/load-config.ts';
import { journalDir } from '../../config/paths.ts';
import { JournalReader } from '../../journal/lmdb/journal-reader.ts';
import type { JournalRecord } from '../../journal/lmdb/record.ts';
import { errorMessage, OperatingError } from '../../lib/errors.ts';
import type { Series } from '../../domain/telemetry.ts';
import { exitCode } from './exit-codes.ts';
import type { Host } from './host.ts';

const SLICE_RECORDS = 64;
const SLICE_BYTES = 4 * 1024 * 1024;
/** Tables of a whole fleet; beyond, they are decoded again. */
const TABLES_KEPT = 10_000;

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
  const dir = journalDir(loadConfig(configPath, host.environment));
  const reader = JournalReader.open(dir);
  const tables = new TableCache(reader);
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
        const line = describeRecord(record, tables);
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

function describeRecord(record: JournalRecord, tables: TableCache) {
  const { seq, nodeId, epoch, sequence, receivedAtMs, samples } = record;
  let series: readonly Series[];
  try {
    series = tables.series(record.tableId);
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

class TableCache {
  readonly #reader: JournalReader;
  readonly #series = new Map<string, readonly Series[]>();

  constructor(reader: JournalReader) {
    this.#reader = reader;
  }

  series(id: string): readonly Series[] {
    const known = this.#series.get(id);
    if (known !== undefined) return known;
    const bytes = this.#reader.table(id);
    if (bytes === undefined) throw new Error(`series table ${id} is missing`);
    const { series } = decodeSeriesTable(bytes);
    if (this.#series.size >= TABLES_KEPT) this.#series.clear();
    this.#series.set(id, series);
    return series;
  }
}
