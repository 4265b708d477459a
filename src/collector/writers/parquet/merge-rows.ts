/**
 * Merges sorted rows of one hour from several sources into row groups that are sorted over the
 * whole file. Pure but for what the sources read. Memory holds one row group and one block of each
 * source.
 *
 * A heap holds the sources by their next row. What is moved is not a row but a stretch: the rows of
 * one series that come before the next row of every other source, which with a steady agent is the
 * whole run.
 */
import type { RowGroup, SeriesCells } from '../../../warehouse/encoder.ts';
import { type SortedRows, SortedRowsBuilder } from '../../../warehouse/sorted-rows.ts';

/** Blocks of rows that go on where the last one ended, in sorted order. */
export type RowSource = Iterator<SortedRows>;

export interface MergeOptions {
  readonly cells: SeriesCells;
  /** Where each series stands in sort order. */
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
  for (let first = heap.first; first !== undefined; first = heap.first) {
    const end = first.stretchEnd(heap.second, output.room);
    output.append(first.series, first.block, first.row, end);
    first.moveTo(end);
    heap.settleFirst();
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

  get isDone(): boolean {
    return this.#block === undefined;
  }

  get block(): SortedRows {
    return this.#block!;
  }

  get row(): number {
    return this.#row;
  }

  get series(): number {
    return this.#block!.runs.series[this.#run]!;
  }

  isBefore(other: Cursor): boolean {
    if (this.#rank !== other.#rank) return this.#rank < other.#rank;
    return this.#precedes(this.#row, other);
  }

  /** The end of the rows from here on that are of this series and come before `other`. */
  stretchEnd(other: Cursor | undefined, rowsMax: number): number {
    const end = Math.min(this.#runEnd, this.#row + rowsMax);
    if (other === undefined || other.#rank !== this.#rank) return end;
    if (this.#precedes(end - 1, other)) return end;
    let row = this.#row + 1;
    while (this.#precedes(row, other)) row++;
    return row;
  }

  /** To a later row of this run, or to the next run where it has ended. */
  moveTo(row: number): void {
    this.#row = row;
    if (row < this.#runEnd) return;
    this.#run += 1;
    if (this.#run < this.#block!.runs.rows.length) this.#enterRun();
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
    if (this.#block === undefined) return;
    this.#run = 0;
    this.#row = 0;
    this.#runEnd = 0;
    this.#enterRun();
  }

  #enterRun(): void {
    this.#runEnd += this.#block!.runs.rows[this.#run]!;
    this.#rank = this.#ranks[this.series]!;
  }
}

/** The cursors that are not done, the least first. */
class SourceHeap {
  readonly #cursors: Cursor[];

  constructor(cursors: readonly Cursor[]) {
    const live = cursors.filter(({ isDone }) => !isDone);
    this.#cursors = live.sort((a, b) => (a.isBefore(b) ? -1 : 1));
  }

  get first(): Cursor | undefined {
    return this.#cursors[0];
  }

  get second(): Cursor | undefined {
    const [, left, right] = this.#cursors;
    return right?.isBefore(left!) === true ? right : left;
  }

  /** The first has moved on: puts it where it belongs now. */
  settleFirst(): void {
    const cursors = this.#cursors;
    if (cursors[0]!.isDone) {
      const last = cursors.pop()!;
      if (cursors.length === 0) return;
      cursors[0] = last;
    }
    const moving = cursors[0]!;
    let place = 0;
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
