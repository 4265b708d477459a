/**
 * A scratch file under `.staging/` for sorted rows that no longer fit in memory: blocks one after
 * the other, each read back on its own. It needs no sync and no checks of its own, because it dies
 * with the process and the journal still holds every row.
 *
 *     block   timestamps │ values │ receive times    8 bytes a row each, as doubles
 *             series │ rows of the run               4 bytes a run each
 */
import { OperatingError } from '../../../lib/errors.ts';
import type { FileSystem, WritableFile } from '../../../lib/filesystem.ts';
import { type SortedRows, splitRows } from '../../../warehouse/sorted-rows.ts';

/** Rows of a block: a merge holds one block of every spill in memory, 100 kB at most each. */
const BLOCK_ROWS = 4096;
const ROW_BYTES = 24;
const RUN_BYTES = 8;

/** Where a block lies. */
export interface SpilledBlock {
  readonly offset: number;
  readonly rows: number;
  readonly runs: number;
}

/** What the record of one block takes in memory, about. */
export const SPILLED_BLOCK_BYTES = 80;

export class SpillFile {
  readonly #fs: FileSystem;
  readonly #path: string;
  #file: WritableFile | undefined;
  #bytes = 0;
  /** The file is still there, though nobody needs it. */
  #isLeft = false;

  /** The file is created with the first rows. */
  constructor(fs: FileSystem, path: string) {
    this.#fs = fs;
    this.#path = path;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Appends sorted rows of one hour and says where they lie, in their order. */
  append(sorted: SortedRows): SpilledBlock[] {
    this.#file ??= this.#fs.openForWriting(this.#path);
    const blocks: SpilledBlock[] = [];
    for (const part of splitRows(sorted, BLOCK_ROWS)) {
      const rows = part.values.length;
      const runs = part.runs.rows.length;
      const columns = [part.timestampsMs, part.values, part.receivedAtMs];
      const bytes = Buffer.concat([...columns, part.runs.series, part.runs.rows].map(bytesOf));
      this.#file.write(bytes);
      blocks.push({ offset: this.#bytes, rows, runs });
      this.#bytes += bytes.length;
    }
    return blocks;
  }

  /** Throws OperatingError where the file has lost its end. */
  read({ offset, rows, runs }: SpilledBlock): SortedRows {
    const length = rows * ROW_BYTES + runs * RUN_BYTES;
    const bytes = this.#fs.readRange(this.#path, offset, length);
    if (bytes.length < length) {
      throw new OperatingError(
        'WAREHOUSE_SPILL_CUT',
        `cannot read ${this.#path}: it ends before byte ${offset + length}`,
      );
    }
    // The numbers must be aligned, which a buffer of the file system's own need not be.
    const { buffer } = bytes.byteOffset % 8 === 0 ? bytes : Uint8Array.from(bytes);
    const start = bytes.byteOffset % 8 === 0 ? bytes.byteOffset : 0;
    const runsAt = start + rows * ROW_BYTES;
    return {
      timestampsMs: new Float64Array(buffer, start, rows),
      values: new Float64Array(buffer, start + rows * 8, rows),
      receivedAtMs: new Float64Array(buffer, start + rows * 16, rows),
      runs: {
        series: new Uint32Array(buffer, runsAt, runs),
        rows: new Uint32Array(buffer, runsAt + runs * 4, runs),
      },
    };
  }

  /** Gives the file up. Never throws: what cannot be removed is removed by the next call. */
  abandon(): void {
    this.#bytes = 0;
    const file = this.#file;
    this.#file = undefined;
    if (file !== undefined) this.#isLeft = true;
    if (!this.#isLeft) return;
    try {
      file?.close();
    } catch {
      // Its bytes are of no use any more.
    }
    try {
      this.#fs.remove(this.#path);
      this.#isLeft = false;
    } catch {
      // The disk that failed the rows may fail the removal of their file too.
    }
  }
}

function bytesOf(numbers: Float64Array | Uint32Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
}
