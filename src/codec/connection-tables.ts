/**
 * The series tables that a connection has sent, for batches that repeat or name one. Which ones are
 * kept follows from the order of their use and their bytes alone, so that a sender can tell: it may
 * name what is kept, whether or not it was read.
 *
 * What was read of a table weighs more than its bytes. It is kept for the tables used last, as far
 * as memory goes; a table of which it is gone has to be read again.
 */
import type { SeriesTable } from '../domain/telemetry.ts';
import type { FieldBytes } from './frame-scan.ts';
import { REMEMBERED_TABLES, remembered } from './remembered-tables.ts';
import { seriesTableId } from './series-table.ts';

/** Estimated memory of what was read of them; that of the newest is kept whatever its size. */
const READ_BYTES_MAX = 8 * 1024 * 1024;
const BYTES_PER_SERIES = 100;
/** A table's texts as strings of up to two bytes a character, its lists of labels, its bytes. */
const MEMORY_PER_TABLE_BYTE = 4;

/**
 * A table as it was sent. Behind the decoder it is known by what its series say: spelled in other
 * bytes, with symbols that nothing uses for example, it is still the same, and takes no second
 * place in the journal or in anybody's cache.
 */
export interface SentTable {
  /** What batches of the connection may name it by. */
  readonly id: string;
  readonly bytes: Uint8Array;
  /** What it says; undefined where that was not read yet, or was dropped. */
  readonly table: SeriesTable | undefined;
}

export class ConnectionTables {
  /** Latest use first. */
  #tables: SentTable[] = [];

  /** The table of that name, now the newest; undefined where none is kept. */
  named(id: string): SentTable | undefined {
    return this.#use(this.#tables.findIndex((sent) => sent.id === id));
  }

  /** The table with the bytes of `field`, now the newest; a copy is kept of what is new. */
  sent(field: FieldBytes): SentTable {
    const { bytes, start, end } = field;
    const place = this.#tables.findIndex(
      (sent) =>
        sent.bytes.length === field.length &&
        bytes.compare(sent.bytes, 0, sent.bytes.length, start, end) === 0,
    );
    const known = this.#use(place);
    if (known !== undefined) return known;
    const copy = new Uint8Array(field.view());
    const newest = { id: seriesTableId(copy), bytes: copy, table: undefined };
    this.#tables = remembered([newest, ...this.#tables], REMEMBERED_TABLES);
    return newest;
  }

  /** The newest table was read. */
  keepRead(table: SeriesTable): void {
    const { id, bytes } = this.#tables[0]!;
    // What our own encoder writes is the same again, and then held once.
    this.#tables[0] = { id, bytes: id === table.id ? table.bytes : bytes, table };
    let weight = 0;
    this.#tables = this.#tables.map((sent, place) => {
      weight += sent.table === undefined ? 0 : memoryOf(sent.table);
      return place > 0 && weight > READ_BYTES_MAX ? { ...sent, table: undefined } : sent;
    });
  }

  /** The newest table is none. */
  forgetNewest(): void {
    this.#tables = this.#tables.slice(1);
  }

  #use(place: number): SentTable | undefined {
    const used = this.#tables[place];
    if (used !== undefined && place > 0) {
      this.#tables.splice(place, 1);
      this.#tables.unshift(used);
    }
    return used;
  }
}

function memoryOf({ bytes, series }: SeriesTable): number {
  return MEMORY_PER_TABLE_BYTE * bytes.length + BYTES_PER_SERIES * series.length;
}
