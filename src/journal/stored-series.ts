/**
 * The membership list of the cardinality limiter, as the journal keeps it. The limiter decides;
 * this only remembers, and a second or so late: a crash may cost the last changes, never a sample.
 */
import type { SeriesChange, StoredSeries } from '../telemetry.ts';
import type { Table, WriteList } from './environment.ts';

/** Changes that wait for a transaction; a later change of a series replaces an earlier one. */
export class SeriesChanges {
  readonly #waiting = new Map<number, SeriesChange>();

  get size(): number {
    return this.#waiting.size;
  }

  add(changes: readonly SeriesChange[]): void {
    for (const change of changes) {
      this.#waiting.set(hashOf(change), change);
    }
  }

  /** Takes up to `limit` changes, oldest first. */
  take(limit: number): SeriesChange[] {
    const taken: SeriesChange[] = [];
    for (const [hash, change] of this.#waiting) {
      if (taken.length === limit) break;
      taken.push(change);
      this.#waiting.delete(hash);
    }
    return taken;
  }

  /** Puts back what a failed transaction took, unless it changed again meanwhile. */
  putBack(changes: readonly SeriesChange[]): void {
    for (const change of changes) {
      if (!this.#waiting.has(hashOf(change))) this.#waiting.set(hashOf(change), change);
    }
  }
}

/** In key order, so that neighbours share the pages that are written. */
export function writeSeriesChanges(
  writes: WriteList,
  table: Table<number>,
  changes: readonly SeriesChange[],
): void {
  const byHash = changes.toSorted((a, b) => hashOf(a) - hashOf(b));
  for (const change of byHash) {
    if (change.kind === 'remove') writes.remove(table, change.hash);
    else writes.put(table, change.series.hash, encodeSeries(change.series));
  }
}

/** All series, decoded while they are iterated. */
export function* readStoredSeries(table: Table<number>): Generator<StoredSeries, void, undefined> {
  for (const { key, value } of table.getRange()) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    yield { hash: key, lastSeenMs: bytes.readDoubleLE(0), nodeId: bytes.toString('utf8', 8) };
  }
}

/** Last seen as float64, then the node id in UTF-8. */
function encodeSeries(series: StoredSeries): Uint8Array {
  const bytes = Buffer.allocUnsafe(8 + Buffer.byteLength(series.nodeId));
  bytes.writeDoubleLE(series.lastSeenMs, 0);
  bytes.write(series.nodeId, 8, 'utf8');
  return bytes;
}

function hashOf(change: SeriesChange): number {
  return change.kind === 'put' ? change.series.hash : change.hash;
}
