/**
 * The pages of one column of a row group, not yet compressed. Pure.
 *
 * Cells that depend on the series alone are encoded run by run, whatever the number of rows; only
 * the three number columns are looked at row by row.
 */
import { compareText, SERIES_COLUMNS } from './columns.ts';
import type { RowGroup, SeriesCells } from './encoder.ts';
import { encodeIndexes, encodeRuns, indexBits } from './hybrid-encoding.ts';
import { numberDictionary } from './number-dictionary.ts';

export interface Page {
  readonly rows: number;
  readonly nulls: number;
  /** Definition levels; empty for required columns. */
  readonly levels: Uint8Array;
  readonly values: Uint8Array;
}

export interface ColumnChunkPages {
  readonly dictionary: { readonly entries: number; readonly values: Uint8Array } | undefined;
  /** Indexes into the dictionary where there is one, plain values otherwise. */
  readonly pages: readonly Page[];
  readonly min: string | number | bigint | undefined;
  readonly max: string | number | bigint | undefined;
}

/** Rows in one page of a number column: the least that a reader decompresses. */
const PAGE_ROWS = 131_072;

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
  const texts: string[] = [];
  const indexes = new Int32Array(greatest(ids) + 1).fill(-1);
  const values = new RunList(rows.length);
  const levels = new RunList(nullable ? rows.length : 0);
  let total = 0;
  let nulls = 0;
  for (let run = 0; run < ids.length; run++) {
    const id = ids[run]!;
    const count = rows[run]!;
    total += count;
    if (nullable) levels.add(id === 0 ? 0 : 1, count);
    if (id === 0) {
      nulls += count;
      continue;
    }
    if (indexes[id] === -1) indexes[id] = texts.push(cells.text(id)!) - 1;
    values.add(indexes[id]!, count);
  }
  const bits = indexBits(texts.length);
  return {
    dictionary: { entries: texts.length, values: plainTexts(texts) },
    pages: [
      {
        rows: total,
        nulls,
        levels: nullable ? levels.encode(1) : NO_LEVELS,
        values: Buffer.concat([Uint8Array.of(bits), values.encode(bits)]),
      },
    ],
    ...textBounds(texts),
  };
}

/** Values and how often each stands in a row. */
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

function plainTexts(texts: readonly string[]): Uint8Array {
  const parts = texts.flatMap((text) => {
    const bytes = Buffer.from(text);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    return [length, bytes];
  });
  return Buffer.concat(parts);
}

function textBounds(texts: readonly string[]) {
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
  const { min, max } = numberBounds(values);
  const pages = numberPages(values, bytesOf);
  if (Number.isNaN(min)) return { ...pages, min: undefined, max: undefined };
  // Zeros of both signs count as equal in comparisons; the bounds must hold either.
  return { ...pages, min: min === 0 ? -0 : min, max: max === 0 ? 0 : max };
}

/** A column of times, given in ms, as whole microseconds. */
export function timeChunk(timesMs: Float64Array): ColumnChunkPages {
  const { min, max } = numberBounds(timesMs);
  return { ...numberPages(timesMs, plainMicros), min: micros(min), max: micros(max) };
}

function micros(timeMs: number): bigint {
  return BigInt(Math.round(timeMs * 1000));
}

function numberBounds(values: Float64Array): { min: number; max: number } {
  let min = values[0]!;
  let max = min;
  for (let row = 1; row < values.length; row++) {
    const value = values[row]!;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return { min, max };
}

function numberPages(
  values: Float64Array,
  plain: (values: Float64Array) => Uint8Array,
): Pick<ColumnChunkPages, 'dictionary' | 'pages'> {
  const dictionary = payingDictionary(values);
  const bits = indexBits(dictionary?.entries.length ?? 0);
  const pages: Page[] = [];
  for (let start = 0; start < values.length; start += PAGE_ROWS) {
    const end = Math.min(start + PAGE_ROWS, values.length);
    pages.push({
      rows: end - start,
      nulls: 0,
      levels: NO_LEVELS,
      values:
        dictionary === undefined
          ? plain(values.subarray(start, end))
          : encodeIndexes(dictionary.indexes.subarray(start, end), bits),
    });
  }
  if (dictionary === undefined) return { dictionary: undefined, pages };
  const { entries } = dictionary;
  return { dictionary: { entries: entries.length, values: plain(entries) }, pages };
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
