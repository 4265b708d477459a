/**
 * The pages of one column of a row group, not yet compressed. Pure.
 *
 * Cells that depend on the series alone are encoded run by run, whatever the number of rows; only
 * the three number columns are looked at row by row.
 */
import { compareText, SERIES_COLUMNS, SORT_CELLS } from './columns.ts';
import type { RowGroup, SeriesCells } from './encoder.ts';
import { encodeIndexes, encodeRuns, indexBits } from './hybrid-encoding.ts';
import { numberDictionary } from './number-dictionary.ts';

export type Bound = string | number | bigint;

/** The least and the greatest value; undefined where there is none, or none for readers. */
export interface Bounds {
  readonly min: Bound | undefined;
  readonly max: Bound | undefined;
}

/** Without bounds where no reader would skip a page for them. */
export interface Page extends Bounds {
  readonly rows: number;
  readonly nulls: number;
  /** Definition levels; empty for required columns. */
  readonly levels: Uint8Array;
  readonly values: Uint8Array;
}

export interface ColumnChunkPages extends Bounds {
  readonly dictionary: { readonly entries: number; readonly values: Uint8Array } | undefined;
  /** Indexes into the dictionary where there is one, plain values otherwise. */
  readonly pages: readonly Page[];
}

/**
 * Rows in a page, the same in every column, so that a reader with the page index can skip the same
 * rows in all of them: the least that it decompresses.
 */
const PAGE_ROWS = 16_384;

/** Columns of texts by which whole pages are skipped: those that lead the sort order. */
const PAGED_CELLS: ReadonlySet<number> = new Set(SORT_CELLS.slice(0, 3));

const NO_BOUNDS: Bounds = { min: undefined, max: undefined };
const NO_LEVELS = new Uint8Array(0);

/**
 * The runs of a row group as columns: looked at series by series once, and not once per column,
 * because tens of thousands of series do not stay in a processor's cache.
 */
export interface RunColumns {
  readonly cells: SeriesCells;
  /** By run. */
  readonly rows: Uint32Array;
  /** By cell, then by run. */
  readonly textIds: readonly Uint32Array[];
}

/** Gathers what the columns of `runs` are made of. */
export function runColumns({ cells, runs }: Pick<RowGroup, 'cells' | 'runs'>): RunColumns {
  const { series, rows } = runs;
  const textIds = SERIES_COLUMNS.map(() => new Uint32Array(series.length));
  for (let run = 0; run < series.length; run++) {
    for (let cell = 0; cell < textIds.length; cell++) {
      textIds[cell]![run] = cells.textId(series[run]!, cell);
    }
  }
  return { cells, rows, textIds };
}

/** The column of cell `cell`. */
export function seriesChunk(
  { cells, rows, textIds }: RunColumns,
  cell: number,
  nullable: boolean,
): ColumnChunkPages {
  const ids = textIds[cell]!;
  const { texts, indexes } = textDictionary(cells, ids);
  const ranks = PAGED_CELLS.has(cell) ? rankTexts(texts) : undefined;
  const pages: Page[] = [];
  const page = new SeriesPage(Math.min(rows.length, PAGE_ROWS), texts, nullable, ranks);
  for (let run = 0; run < ids.length; run++) {
    const index = indexes[ids[run]!]!;
    for (let left = rows[run]!; left > 0; ) {
      const count = Math.min(left, PAGE_ROWS - page.rows);
      page.add(index, count);
      left -= count;
      if (page.rows === PAGE_ROWS) pages.push(page.take());
    }
  }
  if (page.rows > 0) pages.push(page.take());
  return {
    dictionary: { entries: texts.length, values: plainTexts(texts) },
    pages,
    ...(ranks === undefined
      ? textBounds(texts)
      : { min: ranks.sorted[0], max: ranks.sorted.at(-1) }),
  };
}

/** The distinct texts in order of appearance, and the place of each by its id; -1 is NULL. */
function textDictionary(cells: SeriesCells, ids: Uint32Array) {
  const texts: string[] = [];
  const indexes = new Int32Array(greatest(ids) + 1).fill(-1);
  for (let run = 0; run < ids.length; run++) {
    const id = ids[run]!;
    if (id !== 0 && indexes[id] === -1) indexes[id] = texts.push(cells.text(id)!) - 1;
  }
  return { texts, indexes };
}

interface TextRanks {
  readonly sorted: readonly string[];
  /** By index in the dictionary. */
  readonly ranks: Uint32Array;
}

function rankTexts(texts: readonly string[]): TextRanks {
  const order = Uint32Array.from(texts.keys());
  order.sort((a, b) => compareText(texts[a]!, texts[b]!));
  const ranks = new Uint32Array(texts.length);
  for (let rank = 0; rank < order.length; rank++) ranks[order[rank]!] = rank;
  return { sorted: Array.from(order, (index) => texts[index]!), ranks };
}

/** A page of a column of texts that is being filled; used again for the next one. */
class SeriesPage {
  readonly #bits: number;
  readonly #nullable: boolean;
  readonly #ranks: TextRanks | undefined;
  readonly #values: RunList;
  readonly #levels: RunList;
  #rows = 0;
  #nulls = 0;
  #least = Number.POSITIVE_INFINITY;
  #greatest = -1;

  constructor(
    runsMax: number,
    texts: readonly string[],
    nullable: boolean,
    ranks: TextRanks | undefined,
  ) {
    this.#bits = indexBits(texts.length);
    this.#nullable = nullable;
    this.#ranks = ranks;
    this.#values = new RunList(runsMax);
    this.#levels = new RunList(nullable ? runsMax : 0);
  }

  get rows(): number {
    return this.#rows;
  }

  /** `count` rows with the text of that index; -1 is NULL. */
  add(index: number, count: number): void {
    this.#rows += count;
    if (this.#nullable) this.#levels.add(index === -1 ? 0 : 1, count);
    if (index === -1) {
      this.#nulls += count;
      return;
    }
    this.#values.add(index, count);
    if (this.#ranks === undefined) return;
    const rank = this.#ranks.ranks[index]!;
    if (rank < this.#least) this.#least = rank;
    if (rank > this.#greatest) this.#greatest = rank;
  }

  take(): Page {
    const sorted = this.#ranks?.sorted;
    const page = {
      rows: this.#rows,
      nulls: this.#nulls,
      levels: this.#nullable ? this.#levels.encode(1) : NO_LEVELS,
      values: Buffer.concat([Uint8Array.of(this.#bits), this.#values.encode(this.#bits)]),
      min: sorted?.[this.#least],
      max: sorted?.[this.#greatest],
    };
    this.#rows = 0;
    this.#nulls = 0;
    this.#least = Number.POSITIVE_INFINITY;
    this.#greatest = -1;
    this.#values.clear();
    this.#levels.clear();
    return page;
  }
}

/** Values, and how often each is repeated in sequence. */
class RunList {
  readonly #values: Uint32Array;
  readonly #counts: Uint32Array;
  #length = 0;

  constructor(capacity: number) {
    this.#values = new Uint32Array(capacity);
    this.#counts = new Uint32Array(capacity);
  }

  add(value: number, count: number): void {
    const last = this.#length - 1;
    if (last >= 0 && this.#values[last] === value) {
      this.#counts[last]! += count;
      return;
    }
    this.#values[this.#length] = value;
    this.#counts[this.#length] = count;
    this.#length += 1;
  }

  clear(): void {
    this.#length = 0;
  }

  encode(bits: number): Uint8Array {
    const length = this.#length;
    return encodeRuns(this.#values.subarray(0, length), this.#counts.subarray(0, length), bits);
  }
}

function greatest(ids: Uint32Array): number {
  let most = 0;
  for (let run = 0; run < ids.length; run++) if (ids[run]! > most) most = ids[run]!;
  return most;
}

/** Each text with its length before it. */
function plainTexts(texts: readonly string[]): Uint8Array {
  let length = 0;
  for (const text of texts) length += 4 + Buffer.byteLength(text);
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  for (const text of texts) {
    const written = bytes.write(text, at + 4);
    bytes.writeUInt32LE(written, at);
    at += 4 + written;
  }
  return bytes;
}

function textBounds(texts: readonly string[]): Bounds {
  let min = texts[0];
  let max = texts[0];
  for (const text of texts) {
    if (compareText(text, min!) < 0) min = text;
    if (compareText(text, max!) > 0) max = text;
  }
  return { min, max };
}

/**
 * A column of doubles. Bounds are left out where they would be NaN, which no reader may see there.
 */
export function doubleChunk(values: Float64Array): ColumnChunkPages {
  return numberChunk(values, bytesOf, ({ min, max }) => {
    if (Number.isNaN(min)) return NO_BOUNDS;
    // Zeros of both signs count as equal in comparisons; the bounds must hold either.
    return { min: min === 0 ? -0 : min, max: max === 0 ? 0 : max };
  });
}

/** A column of times, given in ms, as whole microseconds. */
export function timeChunk(timesMs: Float64Array): ColumnChunkPages {
  return numberChunk(timesMs, plainMicros, ({ min, max }) => ({
    min: micros(min),
    max: micros(max),
  }));
}

function micros(timeMs: number): bigint {
  return BigInt(Math.round(timeMs * 1000));
}

interface NumberBounds {
  readonly min: number;
  readonly max: number;
}

function numberBounds(values: Float64Array): NumberBounds {
  let min = values[0]!;
  let max = min;
  for (let row = 1; row < values.length; row++) {
    const value = values[row]!;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return { min, max };
}

function numberChunk(
  values: Float64Array,
  plain: (values: Float64Array) => Uint8Array,
  toBounds: (bounds: NumberBounds) => Bounds,
): ColumnChunkPages {
  const dictionary = payingDictionary(values);
  const bits = indexBits(dictionary?.entries.length ?? 0);
  const pages: Page[] = [];
  for (let start = 0; start < values.length; start += PAGE_ROWS) {
    const end = Math.min(start + PAGE_ROWS, values.length);
    const rows = values.subarray(start, end);
    pages.push({
      rows: end - start,
      nulls: 0,
      levels: NO_LEVELS,
      values:
        dictionary === undefined
          ? plain(rows)
          : encodeIndexes(dictionary.indexes.subarray(start, end), bits),
      ...toBounds(numberBounds(rows)),
    });
  }
  return {
    dictionary: dictionary && {
      entries: dictionary.entries.length,
      values: plain(dictionary.entries),
    },
    pages,
    ...toBounds(numberBounds(dictionary?.entries ?? values)),
  };
}

/** A dictionary is kept where it and the indexes take at most half of what the values would. */
function payingDictionary(values: Float64Array) {
  const dictionary = numberDictionary(values, Math.ceil(values.length / 2));
  if (dictionary === undefined) return undefined;
  const entries = dictionary.entries.length;
  const bytes = entries * 8 + (values.length * indexBits(entries)) / 8;
  return bytes * 2 <= values.length * 8 ? dictionary : undefined;
}

function bytesOf(values: Float64Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/**
 * Microseconds as little-endian INT64, by halves: a BigInt per row would cost ten times as much.
 */
function plainMicros(timesMs: Float64Array): Uint8Array {
  const bytes = new Uint8Array(timesMs.length * 8);
  const view = new DataView(bytes.buffer);
  for (let row = 0; row < timesMs.length; row++) {
    const time = Math.round(timesMs[row]! * 1000);
    const high = Math.floor(time / 0x1_0000_0000);
    view.setUint32(row * 8, time - high * 0x1_0000_0000, true);
    view.setInt32(row * 8 + 4, high, true);
  }
  return bytes;
}
