/**
 * Journal records and series tables for tests of the writers.
 */
import { encodeSeriesTable } from '../../src/codec/series-table.ts';
import type { Series, SeriesTable } from '../../src/domain/telemetry.ts';
import type { JournalRecord } from '../../src/journal/log-reader.ts';
import type { WriterProgress } from '../../src/collector/writers/writer.ts';

/** A gauge `name` with `labels`. */
export function gauge(name: string, labels: Record<string, string> = {}): Series {
  return {
    name,
    labels: Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)),
    kind: 'gauge',
    unit: '',
  };
}

export type Sample = readonly [series: number, timestampMs: number, value: number];

/** Builds records with running seqs and totals, and remembers their tables. */
export class RecordBook {
  readonly tables = new Map<string, SeriesTable>();
  readonly records: JournalRecord[] = [];
  #samples = 0;

  add(nodeId: string, series: readonly Series[], samples: readonly Sample[]): JournalRecord {
    const table = encodeSeriesTable(series);
    this.tables.set(table.id, table);
    const seq = this.records.length + 1;
    this.#samples += samples.length;
    const record: JournalRecord = {
      ...{ seq, nodeId, epoch: 1, sequence: seq, tableId: table.id },
      receivedAtMs: 1_700_000_000_000 + seq,
      bytes: 80 + 20 * samples.length,
      cumulativeSamples: this.#samples,
      samples: {
        series: Uint32Array.from(samples, ([s]) => s),
        timestampsMs: Float64Array.from(samples, ([, t]) => t),
        values: Float64Array.from(samples, ([, , v]) => v),
      },
    };
    this.records.push(record);
    return record;
  }

  table = (id: string): SeriesTable => {
    const table = this.tables.get(id);
    if (table === undefined) throw new Error(`no table ${id}`);
    return table;
  };
}

/** What a writer reports that wrote all of the book's samples but `deadLettered`. */
export function progressOf(book: RecordBook, deadLettered = 0): WriterProgress {
  const { seq = 0, cumulativeSamples = 0 } = book.records.at(-1) ?? {};
  return {
    cursor: seq,
    writtenSamples: cumulativeSamples - deadLettered,
    deadLetteredSamples: deadLettered,
  };
}
