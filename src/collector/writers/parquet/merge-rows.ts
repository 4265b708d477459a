/**
 * Merges sorted rows of one hour from several sources into row groups that are sorted over the
 * whole file. Pure but for what the sources read. Memory holds one row group and one block of each
 * source.
 *
 * A heap holds the sources by their next row. What is moved is not a row but a series: the run of
 * each source, one after the other, put in order by time where they overlap. Only where a series
 * does not fit into the row group, or is longer than a block, it is moved in stretches: the rows
 * that come before the next row of every other source.
 */
import type { RowGroup, SeriesCells } from '../../../warehouse/encoder.ts';
import { type SortedRows, SortedRowsBuilder } from '../../../warehouse/sorted-rows.ts';

/**
 * Blocks of rows that go on where the last one ended, in sorted order. A run goes on in the next
 * block only where it fills a block alone.
 */
export type RowSource = Iterator<SortedRows>;

/** The rank of a source that has no rows left. */
const DONE = Number.POSITIVE_INFINITY;

export interface MergeOptions {
  readonly cells: SeriesCells;
  /** The place of each series in sort order. */
  readonly ranks: Uint32Array;
  /** Rows of all sources together. */
  readonly rows: number;
  readonly rowGroupRows: number;
}

/**
 * Yields row groups of about equal size, none above `rowGroupRows`. Rows of equal series and time
 * come in the order of `sources`. A group's arrays are valid until the next one is asked for.
 */
export function* mergeRows(
  sources: readonly RowSource[],
  { cells, ranks, rows, rowGroupRows }: MergeOptions,
): Generator<RowGroup> {
  const groups = Math.ceil(rows / rowGroupRows);
  const output = new SortedRowsBuilder(Math.ceil(rows / groups));
  const heap = new SourceHeap(sources.map((source, place) => new Cursor(source, place, ranks)));
  while (!heap.isDone) {
    if (!heap.moveSeries(output)) heap.moveStretch(output);
    if (output.room > 0) continue;
    yield { rows: output.rows, cells, ...output.sorted() };
    output.clear();
  }
  if (output.rows > 0) yield { rows: output.rows, cells, ...output.sorted() };
}

/** The next row of a source. */
class Cursor {
  readonly #source: RowSource;
  readonly #place: number;
  readonly #ranks: Uint32Array;
  #block: SortedRows | undefined;
  #run = 0;
  #runEnd = 0;
  #row = 0;
  #rank = 0;

  constructor(source: RowSource, place: number, ranks: Uint32Array) {
    this.#source = source;
    this.#place = place;
    this.#ranks = ranks;
    this.#nextBlock();
  }

  /** Where its series stands in sort order; behind all others once there is no row left. */
  get rank(): number {
    return this.#rank;
  }

  /** Among the sources. */
  get place(): number {
    return this.#place;
  }

  /** The rows of its series that its block holds; undefined where the next one may hold more. */
  get wholeRun(): number | undefined {
    return this.#block!.runs.rows.length === 1 ? undefined : this.#runEnd - this.#row;
  }

  isBefore(other: Cursor): boolean {
    if (this.#rank !== other.#rank || this.#rank === DONE) return this.#rank < other.#rank;
    return this.#precedes(this.#row, other);
  }

  /** Moves its series' rows in this block to `output`. */
  moveRun(output: SortedRowsBuilder): void {
    this.#move(output, this.#runEnd);
  }

  /** Moves the rows of its series that come before `other`, as far as there is room. */
  moveStretch(output: SortedRowsBuilder, other: Cursor | undefined): void {
    const end = Math.min(this.#runEnd, this.#row + output.room);
    const isAlone = other === undefined || other.#rank !== this.#rank;
    let row = end;
    if (!isAlone && !this.#precedes(end - 1, other)) {
      row = this.#row + 1;
      while (this.#precedes(row, other)) row++;
    }
    this.#move(output, row);
  }

  /** Afterwards it stands at `end`, or at the next run where that ends this one. */
  #move(output: SortedRowsBuilder, end: number): void {
    const block = this.#block!;
    output.append(block.runs.series[this.#run]!, block, this.#row, end);
    this.#row = end;
    if (end < this.#runEnd) return;
    this.#run += 1;
    if (this.#run < block.runs.rows.length) this.#enterRun();
    else this.#nextBlock();
  }

  /** Whether a row of this source precedes the next one of `other`, which is of the same series. */
  #precedes(row: number, other: Cursor): boolean {
    const mine = this.#block!.timestampsMs[row]!;
    const theirs = other.#block!.timestampsMs[other.#row]!;
    return mine < theirs || (mine === theirs && this.#place < other.#place);
  }

  #nextBlock(): void {
    const { value, done } = this.#source.next();
    this.#block = done === true ? undefined : value;
    if (this.#block === undefined) {
      this.#rank = DONE;
      return;
    }
    this.#run = 0;
    this.#row = 0;
    this.#runEnd = 0;
    this.#enterRun();
  }

  #enterRun(): void {
    this.#runEnd += this.#block!.runs.rows[this.#run]!;
    this.#rank = this.#ranks[this.#block!.runs.series[this.#run]!]!;
  }
}

/** The cursors, the least first. */
class SourceHeap {
  readonly #cursors: Cursor[];

  constructor(cursors: readonly Cursor[]) {
    this.#cursors = cursors.toSorted((a, b) => (a.isBefore(b) ? -1 : 1));
  }

  get isDone(): boolean {
    return this.#cursors.length === 0 || this.#cursors[0]!.rank === DONE;
  }

  /**
   * Moves all rows of the first series. Returns false, and moves nothing, where they do not fit or
   * are not all in memory.
   */
  moveSeries(output: SortedRowsBuilder): boolean {
    const holders = this.#holdersOfFirst();
    const cursors = holders.map((at) => this.#cursors[at]!);
    let rows = 0;
    for (const { wholeRun } of cursors) rows += wholeRun ?? Number.POSITIVE_INFINITY;
    if (rows > output.room) return false;
    cursors.sort((a, b) => a.place - b.place);
    for (const cursor of cursors) cursor.moveRun(output);
    if (cursors.length > 1) output.orderLast(rows);
    for (let i = holders.length - 1; i >= 0; i--) this.#settle(holders[i]!);
    return true;
  }

  /** Moves the rows of the first cursor that come before every other's. */
  moveStretch(output: SortedRowsBuilder): void {
    const [first, left, right] = this.#cursors;
    first!.moveStretch(output, right?.isBefore(left!) === true ? right : left);
    this.#settle(0);
  }

  /** Where the cursors stand that are at the first one's series, in rising order. */
  #holdersOfFirst(): number[] {
    const cursors = this.#cursors;
    const { rank } = cursors[0]!;
    const holders = [0];
    for (let i = 0; i < holders.length; i++) {
      const child = 2 * holders[i]! + 1;
      if (cursors[child]?.rank === rank) holders.push(child);
      if (cursors[child + 1]?.rank === rank) holders.push(child + 1);
    }
    return holders;
  }

  /** The cursor there has moved on: puts it where it belongs now. */
  #settle(at: number): void {
    const cursors = this.#cursors;
    const moving = cursors[at]!;
    let place = at;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= cursors.length) break;
      if (child + 1 < cursors.length && cursors[child + 1]!.isBefore(cursors[child]!)) child += 1;
      if (moving.isBefore(cursors[child]!)) break;
      cursors[place] = cursors[child]!;
      place = child;
    }
    cursors[place] = moving;
  }
}
