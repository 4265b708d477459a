/**
 * A warehouse writer on a directory of its own, and the journal and the loop that drive it in
 * short: records are handed over in slices from where the writer wants to read.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type FileSystem, nodeFileSystem } from '../../src/lib/filesystem.ts';
import type { SeriesTable } from '../../src/domain/telemetry.ts';
import {
  openParquetWriter,
  type ParquetWriterSettings,
} from '../../src/collector/writers/parquet/parquet-writer.ts';
import type { Writer, WriterRecord } from '../../src/collector/writers/writer.ts';
import { FakeClock } from './fake-clock.ts';

export const BENCH_START_MS = Date.parse('2025-07-18T20:42:34Z');

export interface Bench {
  readonly root: string;
  readonly clock: FakeClock;
  readonly tables: Map<string, SeriesTable>;
  readonly logged: { level: string; message: string; fields: unknown }[];
  addTable(table: SeriesTable): SeriesTable;
  open(
    settings?: Partial<ParquetWriterSettings>,
    deps?: { fs?: FileSystem; startCursor?: number; headSeq?: number; isOwner?: () => boolean },
  ): Writer;
}

/** The caller removes `root`. */
export function createBench(): Bench {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'warehouse-'));
  const clock = new FakeClock(BENCH_START_MS);
  const tables = new Map<string, SeriesTable>();
  const logged: Bench['logged'] = [];
  return {
    root,
    clock,
    tables,
    logged,
    addTable(table) {
      tables.set(table.id, table);
      return table;
    },
    open(settings, deps) {
      return openParquetWriter(
        { ...defaultSettings(root), ...settings },
        {
          clock,
          log: (level, message, fields) => logged.push({ level, message, fields }),
          table: (id) => tables.get(id)!,
          fs: deps?.fs ?? nodeFileSystem,
          isOwner: deps?.isOwner ?? (() => true),
          headSeq: () => deps?.headSeq ?? 0,
          startCursor: deps?.startCursor ?? 0,
        },
      );
    },
  };
}

function defaultSettings(root: string): ParquetWriterSettings {
  return {
    enabled: true,
    output_dir: root,
    rotation_interval_secs: 3600,
    compression: 'snappy',
    encoder: 'hyparquet',
    max_file_bytes: 256 * 1024 * 1024,
    row_group_rows: 98_304,
    memory_bytes: 512 * 1024 * 1024,
    retention_days: 0,
    retention_bytes: 0,
    collector_id: 'c1',
    journal_id: 'journal-1',
  };
}

/**
 * Hands the writer all of `journal` beyond what it wants to read from, `sliceRecords` at a time,
 * and flushes. Returns the last cursor it reported, `cursor` where there was none.
 */
export async function drive(
  writer: Writer,
  journal: readonly WriterRecord[],
  sliceRecords: number,
  cursor = 0,
): Promise<number> {
  let reached = cursor;
  for (;;) {
    const from = writer.readFrom!();
    const slice = journal.filter(({ seq }) => seq >= from).slice(0, sliceRecords);
    if (slice.length === 0) break;
    reached = (await writer.write(slice))?.cursor ?? reached;
  }
  return (await writer.flush())?.cursor ?? reached;
}
