/**
 * Names every (node, series) that has rows in memory with a small dense number, so that a row is
 * four numbers and no string. What costs time (cells, identity, sort order) happens once per
 * series.
 *
 * The index only grows; its owner replaces it with a new one when no row refers to it any more and
 * it has grown past its bound.
 */
import type { SeriesTable } from '../../telemetry.ts';
import { compareSeriesRows, seriesRow } from './columns.ts';
import type { IndexedSeries } from './encoder.ts';

const NOT_YET = 0xffffffff;

export class SeriesIndex {
  readonly #rows: IndexedSeries[] = [];
  readonly #idByCells = new Map<string, number>();
  /** Every text that stands in a cell, with its number from 1 on. */
  readonly #textIds = new Map<string, number>();
  /** By number. Cells hold these very strings, so that a text of many series is kept once. */
  readonly #texts: (string | null)[] = [null];
  /** Per node and table: entry i is the id of the table's series i. */
  readonly #idsByTable = new Map<string, Uint32Array>();
  #tableEntries = 0;
  /** Valid for the first `#rankedSize` rows. */
  #ranks = new Uint32Array(0);
  #order = new Uint32Array(0);
  #rankedSize = -1;

  /** Distinct series known. */
  get size(): number {
    return this.#rows.length;
  }

  /** Series and table entries held: what the index costs in memory, about 400 and 4 bytes each. */
  get entries(): number {
    return this.#rows.length + this.#tableEntries;
  }

  row(id: number): IndexedSeries {
    return this.#rows[id]!;
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
    const known = this.#idsByTable.get(key);
    if (known !== undefined && isResolved(known, used)) return known;
    const table = load(tableId);
    const ids = known ?? new Uint32Array(table.series.length).fill(NOT_YET);
    if (known === undefined) {
      this.#idsByTable.set(key, ids);
      this.#tableEntries += ids.length;
    }
    for (let i = 0; i < used.length; i++) {
      const series = used[i]!;
      if (ids[series] === NOT_YET) ids[series] = this.#intern(nodeId, table, series);
    }
    return ids;
  }

  #intern(nodeId: string, table: SeriesTable, series: number): number {
    const { cells } = seriesRow(nodeId, table.series[series]!);
    const textIds: number[] = [];
    let key = '';
    for (const text of cells) {
      const textId = text === null ? 0 : this.#textId(text);
      textIds.push(textId);
      key += `${textId},`;
    }
    let id = this.#idByCells.get(key);
    if (id === undefined) {
      id = this.#rows.length;
      this.#rows.push({ cells: textIds.map((textId) => this.#texts[textId]!), textIds });
      this.#idByCells.set(key, id);
    }
    return id;
  }

  #textId(text: string): number {
    let id = this.#textIds.get(text);
    if (id === undefined) {
      id = this.#texts.push(text) - 1;
      this.#textIds.set(text, id);
    }
    return id;
  }

  /** Where each id stands in sort order, and the id at each place. Computed anew after growth. */
  ranking(): { ranks: Uint32Array; order: Uint32Array } {
    if (this.#rankedSize !== this.#rows.length) {
      const order = Uint32Array.from(this.#rows.keys());
      order.sort((a, b) => compareSeriesRows(this.#rows[a]!, this.#rows[b]!));
      const ranks = new Uint32Array(order.length);
      for (let place = 0; place < order.length; place++) ranks[order[place]!] = place;
      this.#order = order;
      this.#ranks = ranks;
      this.#rankedSize = this.#rows.length;
    }
    return { ranks: this.#ranks, order: this.#order };
  }
}

function isResolved(ids: Uint32Array, used: Uint32Array): boolean {
  for (let i = 0; i < used.length; i++) if (ids[used[i]!] === NOT_YET) return false;
  return true;
}
