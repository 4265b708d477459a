/**
 * Warehouse files read back, column by column and row group by row group, so that memory holds a
 * piece of one file at most.
 */
import zlib from 'node:zlib';
import { type AsyncBuffer, type FileMetaData, parquetMetadata, parquetRead } from 'hyparquet';
import type { FileSystem } from '../lib/filesystem.ts';
import { zstdDecompress } from '../lib/zstd.ts';

/** Rows from `start` up to, not including, `end`. */
export interface RowRange {
  readonly start: number;
  readonly end: number;
}

/** Length of the footer's length and the magic at the end of a file. */
const TAIL_BYTES = 8;

/** One file of the warehouse; it holds the footer, nothing else, and no open file. */
export class WarehouseFileReader {
  readonly #file: AsyncBuffer;
  readonly #metadata: FileMetaData;

  private constructor(file: AsyncBuffer, metadata: FileMetaData) {
    this.#file = file;
    this.#metadata = metadata;
  }

  /** Reads the footer. Throws where there is none that makes sense. */
  static open(fs: FileSystem, path: string): WarehouseFileReader {
    const fileBytes = fs.fileBytes(path);
    const tail = fs.readRange(path, Math.max(0, fileBytes - TAIL_BYTES), TAIL_BYTES);
    if (tail.toString('latin1', 4) !== 'PAR1') throw new Error('it has no Parquet footer');
    const footerBytes = Math.min(fileBytes, tail.readUInt32LE(0) + TAIL_BYTES);
    const footer = fs.readRange(path, fileBytes - footerBytes, footerBytes);
    const file: AsyncBuffer = {
      byteLength: fileBytes,
      slice(start, end = fileBytes) {
        return new Uint8Array(fs.readRange(path, start, end - start)).buffer;
      },
    };
    return new WarehouseFileReader(file, parquetMetadata(new Uint8Array(footer).buffer));
  }

  get columns(): string[] {
    return this.#metadata.schema.slice(1).map(({ name }) => name);
  }

  get rows(): number {
    return Number(this.#metadata.num_rows);
  }

  /** The row groups, larger ones in pieces of at most `rowsMax`. */
  rowRanges(rowsMax: number): RowRange[] {
    const ranges: RowRange[] = [];
    let groupStart = 0;
    for (const { num_rows } of this.#metadata.row_groups) {
      const groupEnd = groupStart + Number(num_rows);
      for (let start = groupStart; start < groupEnd; start += rowsMax) {
        ranges.push({ start, end: Math.min(groupEnd, start + rowsMax) });
      }
      groupStart = groupEnd;
    }
    return ranges;
  }

  /** Times as Unix ms. Throws where the file is damaged or ends too early. */
  async numbers(column: string, range: RowRange): Promise<Float64Array> {
    const values = new Float64Array(range.end - range.start);
    await this.#read(column, range, (value, at) => {
      values[at] = value as number;
    });
    return values;
  }

  /** Texts; null where there is none. */
  async texts(column: string, range: RowRange): Promise<(string | null)[]> {
    const values = new Array<string | null>(range.end - range.start).fill(null);
    await this.#read(column, range, (value, at) => {
      values[at] = (value as string | null | undefined) ?? null;
    });
    return values;
  }

  async #read(
    column: string,
    { start, end }: RowRange,
    take: (value: unknown, at: number) => void,
  ): Promise<void> {
    let read = 0;
    await parquetRead({
      file: this.#file,
      metadata: this.#metadata,
      columns: [column],
      rowStart: start,
      rowEnd: end,
      compressors: COMPRESSORS,
      parsers: PARSERS,
      onChunk({ columnData, rowStart }) {
        const from = Math.max(0, start - rowStart);
        const to = Math.min(columnData.length, end - rowStart);
        for (let i = from; i < to; i++) take(columnData[i], rowStart + i - start);
        read += Math.max(0, to - from);
      },
    });
    if (read !== end - start) {
      throw new Error(`column ${column} has ${read} values for ${end - start} rows`);
    }
  }
}

/** Snappy is built in. */
const COMPRESSORS = {
  GZIP: (bytes: Uint8Array) => new Uint8Array(zlib.gunzipSync(bytes)),
  ZSTD: zstdDecompress,
};

const PARSERS = {
  timestampFromMicroseconds: (micros: bigint) => Number(micros) / 1000,
};
