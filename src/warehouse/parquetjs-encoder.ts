/**
 * Parquet files by parquetjs-lite: one object per row, plain encoding. Its traps, and what is done:
 * - its RLE writer mis-pads the levels of nullable columns: every column is required, absent is '';
 * - it compares strings by UTF-16 unit for min and max: those of string columns are set here, by
 *   byte;
 * - it writes its header and its page indexes without waiting for the result, so a failing stream
 *   would end the process: the sink remembers the first error and each call here throws it.
 */
import parquetjs from 'parquetjs-lite';
import { assert } from '../lib/errors.ts';
import type { WritableFile } from '../lib/filesystem.ts';
import { WAREHOUSE_COLUMNS, type WarehouseColumn } from './columns.ts';
import type { EncoderOptions, FileEncoder, RowGroup } from './encoder.ts';
import { splitRows } from './sorted-rows.ts';

const CODECS = { snappy: 'SNAPPY', gzip: 'GZIP', uncompressed: 'UNCOMPRESSED' } as const;

/** It holds a row group as objects, about 2 kB a row: larger ones are written as several. */
const ROW_GROUP_ROWS = 65_536;

/** Rows between two turns of the event loop. */
const SLICE_ROWS = 4096;

/** Opens an encoder that writes to `file` with parquetjs-lite. */
export async function openParquetjsEncoder(
  file: WritableFile,
  options: EncoderOptions,
): Promise<FileEncoder> {
  const { compression } = options;
  assert(compression !== 'zstd', 'parquetjs has no zstd, and the configuration allows none');
  const sink = openSink(file);
  const schema = new parquetjs.ParquetSchema(columnDefinitions(CODECS[compression]));
  const parquet = await parquetjs.ParquetWriter.openStream(schema, sink, { pageIndex: false });
  sink.throwIfFailed();
  return {
    async writeRowGroup(group) {
      for (const rows of splitRows(group, ROW_GROUP_ROWS)) {
        const part = { ...rows, rows: rows.values.length, cells: group.cells };
        parquet.setRowGroupSize(part.rows);
        await appendRows(parquet, part);
        sink.throwIfFailed();
        correctStringBounds(parquet, part);
      }
    },
    async finish(metadata) {
      for (const [key, value] of metadata) parquet.setMetadata(key, value);
      parquet.setMetadata('telemetry.created_by', options.createdBy);
      await parquet.close();
      sink.throwIfFailed();
    },
    get bytes() {
      return sink.bytes();
    },
  };
}

function openSink(file: WritableFile) {
  let bytesWritten = 0;
  let failure: { error: unknown } | undefined;
  return {
    write(bytes: Buffer, callback: () => void): void {
      try {
        if (failure === undefined) file.write(bytes);
        bytesWritten += bytes.length;
      } catch (error) {
        failure = { error };
      }
      callback();
    },
    end: (callback: () => void) => callback(),
    bytes: () => bytesWritten,
    throwIfFailed(): void {
      if (failure !== undefined) throw failure.error;
    },
  };
}

function columnDefinitions(compression: (typeof CODECS)[keyof typeof CODECS]) {
  return Object.fromEntries(
    WAREHOUSE_COLUMNS.map(({ name, source }) => [name, { type: columnType(source), compression }]),
  );
}

function columnType(source: WarehouseColumn['source']) {
  if (typeof source === 'number') return 'UTF8' as const;
  return source === 'value' ? ('DOUBLE' as const) : ('TIMESTAMP_MICROS' as const);
}

async function appendRows(parquet: parquetjs.ParquetWriter, group: RowGroup): Promise<void> {
  let row = 0;
  for (const [run, series] of group.runs.series.entries()) {
    const cells = Object.fromEntries(
      WAREHOUSE_COLUMNS.flatMap(({ name, source }) =>
        typeof source === 'number' ? [[name, cellText(group, series, source)]] : [],
      ),
    );
    for (const end = row + group.runs.rows[run]!; row < end; row++) {
      await parquet.appendRow({
        ...cells,
        ts: Math.round(group.timestampsMs[row]! * 1000),
        value: group.values[row]!,
        received_at: Math.round(group.receivedAtMs[row]! * 1000),
      });
      if (row % SLICE_ROWS === SLICE_ROWS - 1) await new Promise(setImmediate);
    }
  }
}

function cellText({ cells }: RowGroup, series: number, cell: number): string {
  return cells.text(cells.textId(series, cell)) ?? '';
}

/** Sets the bounds of the string columns in the row group that was just written. */
function correctStringBounds(parquet: parquetjs.ParquetWriter, group: RowGroup): void {
  const columns = parquet.envelopeWriter.rowGroups.at(-1)!.columns;
  WAREHOUSE_COLUMNS.forEach(({ source }, column) => {
    if (typeof source !== 'number') return;
    const texts = new Set(Array.from(group.runs.series, (one) => cellText(group, one, source)));
    const statistics = columns[column]!.meta_data.statistics;
    if (statistics !== null) setBounds(statistics, [...texts]);
  });
}

function setBounds(statistics: parquetjs.ChunkStatistics, texts: readonly string[]): void {
  const sorted = texts.map((text) => Buffer.from(text)).sort(Buffer.compare);
  statistics.min_value = sorted[0]!;
  statistics.max_value = sorted.at(-1)!;
  // The old fields compare bytes as signed; some readers would believe them.
  statistics.min = null;
  statistics.max = null;
}
