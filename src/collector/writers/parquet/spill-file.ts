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

/** The place of a block. */
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
  /** The block that is being written; used again for the next. */
  readonly #block = Buffer.from(new ArrayBuffer(BLOCK_ROWS * (ROW_BYTES + RUN_BYTES)));
  /** The file is still there, though it is no longer needed. */
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
      const block = { offset: this.#bytes, rows: part.values.length, runs: part.runs.rows.length };
      const { timestampsMs, values, receivedAtMs, runs } = blockIn(this.#block.buffer, block);
      timestampsMs.set(part.timestampsMs);
      values.set(part.values);
      receivedAtMs.set(part.receivedAtMs);
      runs.series.set(part.runs.series);
      runs.rows.set(part.runs.rows);
      this.#file.write(this.#block.subarray(0, bytesOf(block)));
      blocks.push(block);
      this.#bytes += bytesOf(block);
    }
    return blocks;
  }

  /**
   * Reads blocks one after the other; each is valid until the next is asked for. Throws
   * OperatingError where the file has lost its end.
   */
  *read(blocks: readonly SpilledBlock[]): Generator<SortedRows, undefined> {
    // An allocation of its own, since the numbers must be aligned.
    const target = Buffer.from(new ArrayBuffer(Math.max(...blocks.map(bytesOf))));
    for (const block of blocks) {
      const length = bytesOf(block);
      const { length: found } = this.#fs.readRange(this.#path, block.offset, length, target);
      if (found < length) {
        throw new OperatingError(
          'WAREHOUSE_SPILL_CUT',
          `cannot read ${this.#path}: it ends before byte ${block.offset + length}`,
        );
      }
      yield blockIn(target.buffer, block);
    }
    return undefined;
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

function bytesOf({ rows, runs }: SpilledBlock): number {
  return rows * ROW_BYTES + runs * RUN_BYTES;
}

/** The columns of a block that lies at the start of `buffer`. */
function blockIn(buffer: ArrayBufferLike, { rows, runs }: SpilledBlock): SortedRows {
  const runsAt = rows * ROW_BYTES;
  return {
    timestampsMs: new Float64Array(buffer, 0, rows),
    values: new Float64Array(buffer, rows * 8, rows),
    receivedAtMs: new Float64Array(buffer, rows * 16, rows),
    runs: {
      series: new Uint32Array(buffer, runsAt, runs),
      rows: new Uint32Array(buffer, runsAt + runs * 4, runs),
    },
  };
}
