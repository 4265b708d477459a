/**
 * Parquet files by hyparquet-writer: its header, footer, page headers around the pages of
 * column-chunk.ts. (Its own column writer takes a value per row and column, 3 µs a row; most of
 * our columns are runs.) Bytes go to the file after each row group, so that memory holds one at
 * most.
 */
import zlib from 'node:zlib';
import type {
  ColumnChunk,
  OffsetIndex,
  RowGroup as ParquetRowGroup,
  SchemaElement,
} from 'hyparquet';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { writePageHeader } from 'hyparquet-writer/src/datapage.js';
import type { PageColumnIndex, PageIndexes } from 'hyparquet-writer/src/types.js';
import { unconvertMinMax } from 'hyparquet-writer/src/unconvert.js';
import type { ParquetConfig } from '../config/schema.ts';
import type { WritableFile } from '../lib/filesystem.ts';
import { SnappyCompressor } from '../lib/snappy.ts';
import { zstdCompress } from '../lib/zstd.ts';
import {
  type Bound,
  type ColumnChunkPages,
  doubleChunk,
  type Page,
  type RunColumns,
  runColumns,
  seriesChunk,
  timeChunk,
} from './column-chunk.ts';
import { SORT_CELLS, WAREHOUSE_COLUMNS, type WarehouseColumn } from './columns.ts';
import type { EncoderOptions, FileEncoder, RowGroup } from './encoder.ts';

interface Codec {
  readonly name: 'SNAPPY' | 'GZIP' | 'ZSTD' | 'UNCOMPRESSED';
  /** What it returns is valid until the next call. */
  readonly compress: (bytes: Uint8Array) => Uint8Array;
}

function openCodec(compression: ParquetConfig['compression']): Codec {
  if (compression === 'gzip') return { name: 'GZIP', compress: (bytes) => zlib.gzipSync(bytes) };
  if (compression === 'zstd') return { name: 'ZSTD', compress: zstdCompress };
  if (compression === 'uncompressed') return { name: 'UNCOMPRESSED', compress: (bytes) => bytes };
  const snappy = new SnappyCompressor();
  return { name: 'SNAPPY', compress: (bytes) => snappy.compress(bytes) };
}

/** Pages of fewer bytes are a handful of runs, and cost more time to compress than they save. */
const COMPRESSED_BYTES_MIN = 128;

/** Long enough for a GPU uuid (40) and for metric names; longer bounds are cut off and say so. */
const STATISTICS_BYTES = 64;

/** In which order the rows of each row group, and of the file, are. */
const SORTING_COLUMNS: NonNullable<ParquetRowGroup['sorting_columns']> = [
  ...SORT_CELLS,
  'timestamp' as const,
].map((source) => ({
  column_idx: WAREHOUSE_COLUMNS.findIndex((column) => column.source === source),
  descending: false,
  nulls_first: true,
}));

/** Opens an encoder that writes to `file` with hyparquet-writer. */
export async function openHyparquetEncoder(
  file: WritableFile,
  options: EncoderOptions,
): Promise<FileEncoder> {
  const codec = openCodec(options.compression);
  const bytes = new ByteWriter();
  const flush = () => {
    file.write(bytes.getBytes());
    bytes.index = 0;
  };
  const parquet = new ParquetWriter({
    writer: Object.assign(bytes, { flush, finish: flush }),
    schema: warehouseSchema(),
    codec: codec.name,
    statisticsTruncateLength: STATISTICS_BYTES,
    createdBy: options.createdBy,
  });
  return {
    async writeRowGroup(group) {
      writeRowGroup(parquet, bytes, codec, group);
      flush();
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

function writeRowGroup(
  parquet: ParquetWriter,
  writer: ByteWriter,
  codec: Codec,
  group: RowGroup,
): void {
  const start = writer.offset;
  const runs = runColumns(group);
  const written = WAREHOUSE_COLUMNS.map((column, index) =>
    writeChunk(writer, codec, parquet.schema[index + 1]!, encodeColumn(column, group, runs)),
  );
  const columns = written.map(({ chunk }) => chunk);
  const uncompressed = columns.map((chunk) => chunk.meta_data!.total_uncompressed_size);
  parquet.num_rows += BigInt(group.rows);
  parquet.row_groups.push({
    columns,
    num_rows: BigInt(group.rows),
    total_byte_size: uncompressed.reduce((sum, bytes) => sum + bytes, 0n),
    total_compressed_size: BigInt(writer.offset - start),
    sorting_columns: SORTING_COLUMNS,
  });
  // Written behind the last row group, so that readers find all of them in one place.
  parquet.pendingIndexes.push(...written);
}

function encodeColumn(
  { source, nullable }: WarehouseColumn,
  group: RowGroup,
  runs: RunColumns,
): ColumnChunkPages {
  if (source === 'value') return doubleChunk(group.values);
  if (source === 'timestamp') return timeChunk(group.timestampsMs);
  if (source === 'received') return timeChunk(group.receivedAtMs);
  return seriesChunk(runs, source, nullable);
}

function writeChunk(
  writer: ByteWriter,
  codec: Codec,
  element: SchemaElement,
  { dictionary, pages, min, max }: ColumnChunkPages,
): PageIndexes & { readonly chunk: ColumnChunk } {
  const start = writer.offset;
  const encoding = dictionary === undefined ? 'PLAIN' : 'RLE_DICTIONARY';
  let uncompressed = 0;
  if (dictionary !== undefined) {
    uncompressed += writeDictionaryPage(writer, codec, dictionary);
  }
  const pagesStart = writer.offset;
  const locations: OffsetIndex['page_locations'] = [];
  let rows = 0;
  for (const page of pages) {
    const offset = writer.offset;
    uncompressed += writeDataPage(writer, codec, encoding, page);
    const compressed_page_size = writer.offset - offset;
    locations.push({
      offset: BigInt(offset),
      compressed_page_size,
      first_row_index: BigInt(rows),
    });
    rows += page.rows;
  }
  const pageStats = { page_type: 'DATA_PAGE_V2', encoding, count: pages.length } as const;
  const chunk: ColumnChunk = {
    file_offset: BigInt(start),
    meta_data: {
      type: element.type!,
      encodings: dictionary === undefined ? ['PLAIN'] : ['PLAIN', 'RLE_DICTIONARY'],
      path_in_schema: [element.name],
      codec: codec.name,
      num_values: BigInt(rows),
      total_uncompressed_size: BigInt(uncompressed),
      total_compressed_size: BigInt(writer.offset - start),
      data_page_offset: BigInt(pagesStart),
      ...(dictionary !== undefined && { dictionary_page_offset: BigInt(start) }),
      statistics: {
        ...(min !== undefined && { min_value: min }),
        ...(max !== undefined && { max_value: max }),
        null_count: BigInt(pages.reduce((sum, { nulls }) => sum + nulls, 0)),
      },
      encoding_stats:
        dictionary === undefined
          ? [pageStats]
          : [{ page_type: 'DICTIONARY_PAGE', encoding: 'PLAIN', count: 1 }, pageStats],
    },
  };
  const columnIndex = pageBounds(element, pages);
  return { chunk, offsetIndex: { page_locations: locations }, ...(columnIndex && { columnIndex }) };
}

/** The bounds of each page; undefined where one has none though it has values. */
function pageBounds(element: SchemaElement, pages: readonly Page[]): PageColumnIndex | undefined {
  if (pages.some(({ min, nulls, rows }) => min === undefined && nulls < rows)) return undefined;
  const bytes = (bound: Bound | undefined, isMax: boolean) =>
    unconvertMinMax(bound, element, isMax, STATISTICS_BYTES) ?? new Uint8Array();
  return {
    null_pages: pages.map(({ nulls, rows }) => nulls === rows),
    min_values: pages.map(({ min }) => bytes(min, false)),
    max_values: pages.map(({ max }) => bytes(max, true)),
    boundary_order: 'UNORDERED',
    null_counts: pages.map(({ nulls }) => BigInt(nulls)),
  };
}

/** Returns the bytes of header and page before compression. */
function writeDictionaryPage(
  writer: ByteWriter,
  codec: Codec,
  dictionary: NonNullable<ColumnChunkPages['dictionary']>,
): number {
  const compressed = codec.compress(dictionary.values);
  const start = writer.offset;
  writePageHeader(writer, {
    type: 'DICTIONARY_PAGE',
    uncompressed_page_size: dictionary.values.length,
    compressed_page_size: compressed.length,
    dictionary_page_header: { num_values: dictionary.entries, encoding: 'PLAIN' },
  });
  const headerBytes = writer.offset - start;
  writer.appendBytes(compressed);
  return headerBytes + dictionary.values.length;
}

/** Returns the bytes of header and page before compression. */
function writeDataPage(
  writer: ByteWriter,
  codec: Codec,
  encoding: 'PLAIN' | 'RLE_DICTIONARY',
  page: Page,
): number {
  const isCompressed = codec.name !== 'UNCOMPRESSED' && page.values.length >= COMPRESSED_BYTES_MIN;
  const compressed = isCompressed ? codec.compress(page.values) : page.values;
  const start = writer.offset;
  writePageHeader(writer, {
    type: 'DATA_PAGE_V2',
    uncompressed_page_size: page.levels.length + page.values.length,
    compressed_page_size: page.levels.length + compressed.length,
    data_page_header_v2: {
      num_values: page.rows,
      num_nulls: page.nulls,
      num_rows: page.rows,
      encoding,
      definition_levels_byte_length: page.levels.length,
      repetition_levels_byte_length: 0,
      is_compressed: isCompressed,
    },
  });
  const headerBytes = writer.offset - start;
  writer.appendBytes(page.levels);
  writer.appendBytes(compressed);
  return headerBytes + page.levels.length + page.values.length;
}
