/**
 * The series tables that a reader holds for one connection. The collector decides which: it sends a
 * table before the first record that names it, and says when it is not needed any more, so both
 * sides always hold the same ones.
 */
import { decodeSeriesTable } from '../codec/series-table.ts';
import type { SeriesTable } from '../domain/telemetry.ts';
import { badFeedMessage } from './feed-codec.ts';

/** A collector has a reader hold this many bytes of tables, plus one table. */
export const HELD_TABLE_BYTES = 16 * 1024 * 1024;
/** And so many tables. */
export const HELD_TABLES = 20_000;
/** A collector that has a reader hold so much more is broken. */
const HELD_BYTES_MAX = 64 * HELD_TABLE_BYTES;

export class HeldTables {
  readonly #tables = new Map<string, SeriesTable>();
  #bytes = 0;

  /** Throws OperatingError where the bytes are no table. */
  add(id: string, bytes: Uint8Array): void {
    const table = decodeSeriesTable(bytes);
    if (table.id !== id) throw badFeedMessage(`table ${id} is ${table.id}`);
    this.drop([id]);
    this.#tables.set(id, table);
    this.#bytes += bytes.length;
    if (this.#bytes > HELD_BYTES_MAX) throw badFeedMessage(`${this.#bytes} bytes of tables`);
  }

  /** Throws OperatingError BAD_FEED_MESSAGE where the collector has not sent it. */
  table(id: string): SeriesTable {
    const table = this.#tables.get(id);
    if (table === undefined) throw badFeedMessage(`table ${id} was not sent`);
    return table;
  }

  drop(ids: readonly string[]): void {
    for (const id of ids) {
      this.#bytes -= this.#tables.get(id)?.bytes.length ?? 0;
      this.#tables.delete(id);
    }
  }
}
