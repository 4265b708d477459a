/**
 * Names every (node, series) that has rows in memory with a small dense number, so that a row is
 * four numbers and no string. What costs time (cells, identity, sort order) happens once per
 * series.
 *
 * The index only grows; its owner replaces it with a new one when no row refers to it any more and
 * it has grown past its bound.
 */
import type { Labels, Series, SeriesTable } from '../../../domain/telemetry.ts';
import { compareText, labelCells, SERIES_COLUMNS, SORT_CELLS } from '../../../warehouse/columns.ts';
import type { SeriesCells } from '../../../warehouse/encoder.ts';
import { WeightedCache } from '../weighted-cache.ts';

const NOT_YET = 0xffffffff;
const CELLS = SERIES_COLUMNS.length;
const FIRST_SERIES = 256;
/** A power of two, and more than twice as many as series. */
const FIRST_SLOTS = 1024;
const FREE = -1;
/** A text in the map and in the list, without its characters. */
const TEXT_BYTES = 120;
/** The ids of one node and table, without the ids and the characters of the key. */
const TABLE_BYTES = 300;
/** Part of the bound on the index' memory that the ids of tables may take. */
const TABLES_SHARE = 1 / 8;

export class SeriesIndex implements SeriesCells {
  #size = 0;
  /** Numbers of texts, `CELLS` for each series; behind the last series there is room for one. */
  #textIdsBySeries = new Uint32Array(FIRST_SERIES * CELLS);
  /** Hash table over the cells: ids of series. */
  #slots = new Int32Array(FIRST_SLOTS).fill(FREE);
  /** Every text of a cell, with its number from 1 on. */
  readonly #textIds = new Map<string, number>();
  /** By number. */
  readonly #texts: (string | null)[] = [null];
  #textBytes = 0;
  /**
   * Per node and table: entry i is the id of the table's series i. Only to save time: what it
   * forgets is found again through the texts.
   */
  readonly #idsByTable: WeightedCache<Uint32Array>;
  /** Valid for the first `#rankedSize` series. */
  #ranks = new Uint32Array(0);
  #order = new Uint32Array(0);
  #rankedSize = -1;

  /** `bytesMax` is what the owner lets the index take before it starts another. */
  constructor(bytesMax: number) {
    this.#idsByTable = new WeightedCache(bytesMax * TABLES_SHARE);
  }

  /** Distinct series known. */
  get size(): number {
    return this.#size;
  }

  /**
   * What the index takes in memory, about: 70 to 140 for a series, and each distinct text with its
   * true length.
   */
  get bytes(): number {
    const ofSeries = this.#textIdsBySeries.byteLength + this.#slots.byteLength;
    const ofOrder = this.#ranks.byteLength + this.#order.byteLength;
    return ofSeries + ofOrder + this.#textBytes + this.#idsByTable.weight;
  }

  textId(series: number, cell: number): number {
    return this.#textIdsBySeries[series * CELLS + cell]!;
  }

  text(textId: number): string | null {
    return this.#texts[textId]!;
  }

  /**
   * The ids of the series of a table, sent by `nodeId`. Only the entries that `used` points to are
   * filled in: admission may have refused the others. `load` is called where some of them are new.
   */
  resolve(
    nodeId: string,
    tableId: string,
    used: Uint32Array,
    load: (id: string) => SeriesTable,
  ): Uint32Array {
    const key = `${tableId}${nodeId}`;
    const known = this.#idsByTable.find(key);
    if (known !== undefined && isResolved(known, used)) return known;
    const table = load(tableId);
    const ids = known ?? new Uint32Array(table.series.length).fill(NOT_YET);
    if (known === undefined) {
      this.#idsByTable.add(key, ids, TABLE_BYTES + ids.byteLength + heapBytes(key));
    }
    const nodeTextId = this.#textId(nodeId);
    const labelTextIds = new Map<Labels, readonly number[]>();
    for (let i = 0; i < used.length; i++) {
      const place = used[i]!;
      if (ids[place] !== NOT_YET) continue;
      const series = table.series[place]!;
      const ofLabels = labelTextIds.get(series.labels) ?? this.#labelTextIds(series.labels);
      labelTextIds.set(series.labels, ofLabels);
      ids[place] = this.#intern(series, nodeTextId, ofLabels);
    }
    return ids;
  }

  #labelTextIds(labels: Labels): readonly number[] {
    return labelCells(labels).map((text) => (text === null ? 0 : this.#textId(text)));
  }

  /** The id of a series, which may be known from another table. */
  #intern(series: Series, nodeTextId: number, labelTextIds: readonly number[]): number {
    const start = this.#size * CELLS;
    if (start === this.#textIdsBySeries.length) this.#growCells();
    const textIds = this.#textIdsBySeries;
    textIds[start] = this.#textId(series.name);
    textIds[start + 1] = this.#textId(series.unit);
    textIds[start + 2] = this.#textId(series.kind);
    textIds[start + 3] = nodeTextId;
    textIds.set(labelTextIds, start + 4);
    const slot = this.#slotOf(this.#size);
    const known = this.#slots[slot]!;
    if (known !== FREE) return known;
    const id = this.#size++;
    this.#slots[slot] = id;
    if (this.#size * 2 > this.#slots.length) this.#growSlots();
    return id;
  }

  #growCells(): void {
    const grown = new Uint32Array(this.#textIdsBySeries.length * 2);
    grown.set(this.#textIdsBySeries);
    this.#textIdsBySeries = grown;
  }

  #growSlots(): void {
    this.#slots = new Int32Array(this.#slots.length * 4).fill(FREE);
    for (let id = 0; id < this.#size; id++) this.#slots[this.#slotOf(id)] = id;
  }

  /** Where a series with the cells of `id` is in the hash table, or where it belongs. */
  #slotOf(id: number): number {
    const mask = this.#slots.length - 1;
    let slot = this.#hash(id) & mask;
    while (this.#slots[slot] !== FREE && !this.#haveSameCells(this.#slots[slot]!, id)) {
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #hash(id: number): number {
    let hash = 0;
    for (let cell = 0; cell < CELLS; cell++) {
      hash = Math.imul(hash ^ this.textId(id, cell), 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    return hash;
  }

  #haveSameCells(a: number, b: number): boolean {
    for (let cell = 0; cell < CELLS; cell++) {
      if (this.textId(a, cell) !== this.textId(b, cell)) return false;
    }
    return true;
  }

  #textId(text: string): number {
    let id = this.#textIds.get(text);
    if (id === undefined) {
      id = this.#texts.push(text) - 1;
      this.#textIds.set(text, id);
      this.#textBytes += TEXT_BYTES + heapBytes(text);
    }
    return id;
  }

  /** The place of each id in sort order, and the id at each place. Computed again after growth. */
  ranking(): { ranks: Uint32Array; order: Uint32Array } {
    if (this.#rankedSize !== this.#size) {
      const order = this.#sorted();
      const ranks = new Uint32Array(order.length);
      for (let place = 0; place < order.length; place++) ranks[order[place]!] = place;
      this.#order = order;
      this.#ranks = ranks;
      this.#rankedSize = this.#size;
    }
    return { ranks: this.#ranks, order: this.#order };
  }

  /**
   * All ids in sort order. Only texts are compared, each once; series are dealt out by the ranks of
   * theirs, cell by cell from the least significant on, since each deal keeps the order within.
   */
  #sorted(): Uint32Array<ArrayBuffer> {
    const rankOfText = this.#rankTexts();
    let order = new Uint32Array(this.#size).map((_, id) => id);
    let dealt = new Uint32Array(this.#size);
    for (const cell of SORT_CELLS.toReversed()) {
      const starts = new Uint32Array(this.#texts.length + 1);
      for (let id = 0; id < order.length; id++) starts[rankOfText[this.textId(id, cell)]! + 1]!++;
      if (starts.includes(order.length, 1)) continue;
      for (let rank = 1; rank < starts.length; rank++) starts[rank]! += starts[rank - 1]!;
      for (let place = 0; place < order.length; place++) {
        const id = order[place]!;
        dealt[starts[rankOfText[this.textId(id, cell)]!]!++] = id;
      }
      [order, dealt] = [dealt, order];
    }
    return order;
  }

  /** By number of a text, its place among all; no text comes before all others. */
  #rankTexts(): Uint32Array {
    const byText = new Uint32Array(this.#texts.length - 1).map((_, at) => at + 1);
    byText.sort((a, b) => compareText(this.#texts[a]!, this.#texts[b]!));
    const ranks = new Uint32Array(this.#texts.length);
    for (let place = 0; place < byText.length; place++) {
      ranks[byText[place]!] = place + 1;
    }
    return ranks;
  }
}

/** The engine keeps a byte for each character, or two where one of them does not fit in a byte. */
function heapBytes(text: string): number {
  return Buffer.byteLength(text) === text.length ? text.length : 2 * text.length;
}

function isResolved(ids: Uint32Array, used: Uint32Array): boolean {
  for (let i = 0; i < used.length; i++) if (ids[used[i]!] === NOT_YET) return false;
  return true;
}
