/**
 * Which series tables are stored, and which of them nothing needs any more. A table is stored in
 * the transaction of the first record that uses it, and removed once every writer is past the last
 * record that used it and it has not been used for a while: an agent that sends every few seconds
 * to writers that keep up would otherwise store its table again with every batch.
 */

/** Kept this long after its last use, while there is room. */
const RETENTION_MS = 10 * 60 * 1000;
/** Unneeded tables beyond this many bytes go at once, oldest first. */
const MAX_IDLE_BYTES = 64 * 1024 * 1024;
/** So do unneeded tables beyond this many: the smallest costs some 300 bytes of memory here. */
const MAX_IDLE_TABLES = 50_000;

interface LiveTable {
  readonly bytes: number;
  lastSeq: number;
  lastUsedMs: number;
}

export class LiveTables {
  /** In order of use, least recent first; so the last seqs rise, too. */
  readonly #tables = new Map<string, LiveTable>();
  #bytes = 0;

  get count(): number {
    return this.#tables.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  has(id: string): boolean {
    return this.#tables.has(id);
  }

  /** The record at `seq` uses the table; after its commit. Also for what is found at open. */
  use(id: string, bytes: number, seq: number, nowMs: number): void {
    const table = this.#tables.get(id);
    if (table === undefined) this.#bytes += bytes;
    this.#tables.delete(id);
    this.#tables.set(id, { bytes: table?.bytes ?? bytes, lastSeq: seq, lastUsedMs: nowMs });
  }

  /** Up to `limit` tables that can go: no record above `tailSeq` uses them. */
  unneeded(tailSeq: number, nowMs: number, limit: number): string[] {
    const ids: string[] = [];
    let bytes = this.#bytes;
    for (const [id, table] of this.#tables) {
      if (ids.length === limit || table.lastSeq > tailSeq) break;
      const isRoomy = bytes <= MAX_IDLE_BYTES && this.count - ids.length <= MAX_IDLE_TABLES;
      if (isRoomy && nowMs - table.lastUsedMs < RETENTION_MS) break;
      ids.push(id);
      bytes -= table.bytes;
    }
    return ids;
  }

  /** After the commit that removed them. */
  removed(ids: readonly string[]): void {
    for (const id of ids) {
      this.#bytes -= this.#tables.get(id)?.bytes ?? 0;
      this.#tables.delete(id);
    }
  }
}
