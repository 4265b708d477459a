/**
 * Which series tables one reader holds, as the collector decides: those that its records used last.
 * feed/held-tables.ts is the other side.
 */
import { HELD_TABLE_BYTES, HELD_TABLES } from '../../feed/held-tables.ts';

export class SentTables {
  /** Id → bytes, in order of use, least recent first. */
  readonly #tables = new Map<string, number>();
  readonly #dropped = new Set<string>();
  #bytes = 0;

  /** Whether the reader holds the table, which a record uses now. */
  use(id: string): boolean {
    const bytes = this.#tables.get(id);
    if (bytes === undefined) return false;
    this.#tables.delete(id);
    this.#tables.set(id, bytes);
    return true;
  }

  /** The table goes to the reader. */
  add(id: string, bytes: number): void {
    // It may have been dropped a moment ago, which the reader has not heard of yet.
    this.#dropped.delete(id);
    this.#tables.set(id, bytes);
    this.#bytes += bytes;
    for (const [oldest, size] of this.#tables) {
      const isRoomy = this.#bytes <= HELD_TABLE_BYTES && this.#tables.size <= HELD_TABLES;
      if (isRoomy || oldest === id) break;
      this.#tables.delete(oldest);
      this.#bytes -= size;
      this.#dropped.add(oldest);
    }
  }

  /** What the reader is to drop once it has taken the records that go to it now. */
  takeDropped(): string[] {
    const dropped = [...this.#dropped];
    this.#dropped.clear();
    return dropped;
  }
}
