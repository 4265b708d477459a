/**
 * Parquet files by hyparquet-writer: dictionaries, NULLs, statistics, one page-aligned row group per
 * call. Bytes go to the file after each row group; memory holds one encoded row group at most.
 */
import zlib from 'node:zlib';
import type { SchemaElement } from 'hyparquet';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import type { WritableFile } from '../../lib/filesystem.ts';
import { WAREHOUSE_COLUMNS, type WarehouseColumn } from './columns.ts';
import type { EncoderOptions, FileEncoder, RowGroup } from './encoder.ts';

const CODECS = { snappy: 'SNAPPY', gzip: 'GZIP', uncompressed: 'UNCOMPRESSED' } as const;

/** Long enough for a GPU uuid (40) and for metric names; longer bounds are cut off and say so. */
const STATISTICS_BYTES = 64;

export async function openHyparquetEncoder(
  file: WritableFile,
  options: EncoderOptions,
): Promise<FileEncoder> {
  const bytes = new ByteWriter();
  const flush = () => {
    file.write(bytes.getBytes());
    bytes.index = 0;
  };
  const parquet = new ParquetWriter({
    writer: Object.assign(bytes, { flush, finish: flush }),
    schema: warehouseSchema(),
    codec: CODECS[options.compression],
    compressors: { GZIP: (input) => zlib.gzipSync(input) },
    statisticsTruncateLength: STATISTICS_BYTES,
    createdBy: options.createdBy,
  });
  return {
    async writeRowGroup(group) {
      const columnData = WAREHOUSE_COLUMNS.map((column) => ({
        name: column.name,
        data: columnCells(column, group),
        ...(typeof column.source === 'number' && { encoding: 'RLE_DICTIONARY' as const }),
      }));
      await parquet.write({ columnData, rowGroupSize: group.rows });
    },
    async finish(metadata) {
      parquet.kvMetadata = [...metadata].map(([key, value]) => ({ key, value }));
      await parquet.finish();
    },
    get bytes() {
      return bytes.offset;
    },
  };
}

function warehouseSchema(): SchemaElement[] {
  const columns = WAREHOUSE_COLUMNS.map(schemaElement);
  return [{ name: 'metrics', num_children: columns.length }, ...columns];
}

function schemaElement({ name, nullable, source }: WarehouseColumn): SchemaElement {
  const repetition_type = nullable ? 'OPTIONAL' : 'REQUIRED';
  if (source === 'value') return { name, type: 'DOUBLE', repetition_type };
  if (typeof source === 'number') {
    const logical_type = { type: 'STRING' } as const;
    return { name, type: 'BYTE_ARRAY', repetition_type, converted_type: 'UTF8', logical_type };
  }
  return {
    name,
    type: 'INT64',
    repetition_type,
    converted_type: 'TIMESTAMP_MICROS',
    logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' },
  };
}

function columnCells(column: WarehouseColumn, group: RowGroup) {
  if (column.source === 'value') return group.values;
  if (column.source === 'timestamp') return micros(group.timestampsMs);
  if (column.source === 'received') return micros(group.receivedAtMs);
  const cells: (string | null)[] = [];
  for (const { series, rows } of group.runs) {
    const cell = series.cells[column.source]!;
    for (let row = 0; row < rows; row++) cells.push(cell);
  }
  return cells;
}

function micros(timesMs: Float64Array): bigint[] {
  return Array.from(timesMs, (timeMs) => BigInt(Math.round(timeMs * 1000)));
}
