/**
 * The membership list of the cardinality limiter, as the journal keeps it: a log of changes, in
 * rows of a few thousand series; later changes override earlier ones. Changing a series in place
 * would cost a page of the disk, because the hashes of a batch are spread over the whole list; in a
 * log it costs eight bytes. Once the log is twice as long as the members need, each transaction
 * that may add to it also removes its oldest rows, and appends again what in them is still true.
 *
 * The limiter decides; this only remembers, about a second late. A crash may cost the last changes,
 * and damage the changes after it in its row, but never a sample. The members bound what waits for
 * a transaction: while the journal cannot be written, the gate lets no batch reach the limiter.
 */
import type { SeriesChange } from '../../domain/telemetry.ts';
import type { Table, WriteList } from './environment.ts';
import { decodeSeriesRow, encodeSeriesRow } from './series-row.ts';

/** Knows which of the stored changes still hold. */
export interface SeriesMembers {
  readonly size: number;
  /** Whether the series is a member, and was last said to have been seen at that time. */
  isLatest(hash: number, seenSecs: number): boolean;
}

/** Series of one row, but where a change alone has more. */
const ROW_SERIES = 4096;
/** Series of old rows that one transaction may say again: more than it adds, so that it gains. */
const CLEANED_SERIES = 2 * ROW_SERIES;
/** A log up to this long is left alone. */
const LOG_SERIES_FLOOR = 65_536;

interface Row {
  readonly key: number;
  readonly series: number;
}

export class SeriesLog {
  /** Rows that were not what they should be when the log was opened. */
  readonly damaged: readonly { readonly key: number; readonly why: string }[];
  readonly #table: Table<number>;
  /** Oldest first. */
  readonly #rows: Row[] = [];
  #storedSeries = 0;
  #nextKey = 1;
  #waiting: SeriesChange[] = [];
  #waitingSeries = 0;
  #members: SeriesMembers | undefined;

  constructor(table: Table<number>) {
    this.#table = table;
    const damaged: { key: number; why: string }[] = [];
    for (const { key, value } of table.getRange()) {
      const { changes, why } = decodeSeriesRow(value);
      this.#stored({ key, series: seriesOf(changes) });
      if (why !== undefined) damaged.push({ key, why });
    }
    this.damaged = damaged;
  }

  /** Series of changes that wait for a transaction. */
  get waiting(): number {
    return this.#waitingSeries;
  }

  /** Whether as much waits as one transaction takes. */
  get isRowFull(): boolean {
    return this.#waitingSeries >= ROW_SERIES;
  }

  /** From now on the log is kept short. */
  attach(members: SeriesMembers): void {
    this.#members = members;
  }

  add(changes: readonly SeriesChange[]): void {
    this.#waiting.push(...changes);
    this.#waitingSeries += seriesOf(changes);
  }

  /** Takes the oldest changes for a transaction. */
  take(): readonly SeriesChange[] {
    let count = 0;
    let series = 0;
    for (const { hashes } of this.#waiting) {
      if (series >= ROW_SERIES) break;
      series += hashes.length;
      count += 1;
    }
    this.#waitingSeries -= series;
    return this.#waiting.splice(0, count);
  }

  /** Puts back what a failed transaction took. */
  putBack(changes: readonly SeriesChange[]): void {
    this.#waiting = [...changes, ...this.#waiting];
    this.#waitingSeries += seriesOf(changes);
  }

  /**
   * Writes what was taken, and shortens a log that is too long. Returns what to do after the
   * commit.
   */
  plan(writes: WriteList, changes: readonly SeriesChange[]): () => void {
    const old = this.#rowsToClean();
    const added: Row[] = [];
    for (const row of [old.flatMap((each) => this.#whatHolds(each)), changes]) {
      if (row.length === 0) continue;
      const key = this.#nextKey + added.length;
      writes.put(this.#table, key, encodeSeriesRow(row));
      added.push({ key, series: seriesOf(row) });
    }
    for (const { key } of old) writes.remove(this.#table, key);
    return () => {
      for (const { series } of this.#rows.splice(0, old.length)) this.#storedSeries -= series;
      for (const row of added) this.#stored(row);
    };
  }

  #stored(row: Row): void {
    this.#rows.push(row);
    this.#storedSeries += row.series;
    this.#nextKey = row.key + 1;
  }

  /** The oldest rows, if any are to go. */
  #rowsToClean(): readonly Row[] {
    if (this.#members === undefined) return [];
    if (this.#storedSeries <= LOG_SERIES_FLOOR + 2 * this.#members.size) return [];
    let series = 0;
    const firstToStay = this.#rows.findIndex((row, at) => {
      series += row.series;
      return at > 0 && series > CLEANED_SERIES;
    });
    return this.#rows.slice(0, firstToStay);
  }

  /** Removals in the oldest rows have nothing left to overrule. */
  #whatHolds({ key }: Row): SeriesChange[] {
    const holds: SeriesChange[] = [];
    for (const change of decodeSeriesRow(this.#table.getBinary(key)!).changes) {
      if (change.kind === 'remove') continue;
      const { seenSecs } = change;
      const hashes = change.hashes.filter((hash) => this.#members!.isLatest(hash, seenSecs));
      if (hashes.length > 0) holds.push({ ...change, hashes });
    }
    return holds;
  }
}

/** All changes, decoded while they are iterated: later ones overrule earlier ones. */
export function* readSeriesLog(table: Table<number>): Generator<SeriesChange, void, undefined> {
  for (const { value } of table.getRange()) yield* decodeSeriesRow(value).changes;
}

/** How many members the log amounts to. */
export function countMembers(table: Table<number>): number {
  // In several, for one Set ends at 2^24.
  const members = Array.from({ length: 64 }, () => new Set<number>());
  for (const { kind, hashes } of readSeriesLog(table)) {
    for (const hash of hashes) {
      const some = members[hash % members.length]!;
      if (kind === 'put') some.add(hash);
      else some.delete(hash);
    }
  }
  return members.reduce((sum, { size }) => sum + size, 0);
}

function seriesOf(changes: readonly SeriesChange[]): number {
  return changes.reduce((sum, { hashes }) => sum + hashes.length, 0);
}
