/**
 * The newest acknowledged batches, in the order of the feed, as many as fit into a bound of bytes.
 * Live clients walk along it, each at its own place, and the last minutes of a GPU are read from
 * it.
 *
 * Entries are numbered from the start of this process. A number that is below `first` is gone.
 */
import type { SampleColumns, SeriesTable } from '../../domain/telemetry.ts';
import type { Position } from './position.ts';

/** One acknowledged batch. */
export interface TailRecord {
  readonly source: string;
  readonly seq: number;
  readonly nodeId: string;
  /** Unix ms. */
  readonly receivedAtMs: number;
  readonly table: SeriesTable;
  readonly samples: SampleColumns;
}

interface SourceState {
  /** The feed began behind this seq. */
  readonly beganSeq: number;
  /** Records up to this seq are gone, or never came. */
  goneSeq: number;
  /** Records up to this seq were acknowledged before the feed began. */
  pastSeq: number;
}

/** An object, its arrays' headers and its places in two lists, about. */
const RECORD_BYTES = 600;
const SAMPLE_BYTES = 4 + 8 + 8;
/** What a decoded table costs beside its encoded bytes: an object and a few texts a series. */
const SERIES_BYTES = 250;

export class Tail {
  readonly #maxBytes: number;
  readonly #records = new Queue<TailRecord>();
  readonly #byNode = new Map<string, Queue<TailRecord>>();
  /** How many records hold each table. */
  readonly #tableUses = new Map<SeriesTable, number>();
  readonly #head = new Map<string, number>();
  readonly #sources = new Map<string, SourceState>();
  #first = 0;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The number of the oldest entry. */
  get first(): number {
    return this.#first;
  }

  /** The number that the next entry will have. */
  get end(): number {
    return this.#first + this.#records.length;
  }

  /** Behind the newest entry, and behind what the feed has passed without samples. */
  get head(): Position {
    return this.#head;
  }

  /** When the oldest entry was received, Unix ms; undefined while there is none. */
  get heldFromMs(): number | undefined {
    return this.#records.at(0)?.receivedAtMs;
  }

  /** Where a reader begins that wants nothing of the past. */
  get newest(): Position {
    return new Map(
      [...this.#head].map(([source, seq]) => [
        source,
        Math.max(seq, this.#sources.get(source)?.pastSeq ?? 0),
      ]),
    );
  }

  /**
   * The feed begins, or goes on with a hole, behind `seq` of `source`. Records up to `pastSeq` are
   * the past: they are brought now and were acknowledged before.
   */
  begin(source: string, seq: number, pastSeq = seq): void {
    const before = this.#sources.get(source);
    if (before !== undefined) before.pastSeq = pastSeq;
    if (this.#head.get(source) === seq) return;
    this.#head.set(source, seq);
    if (before === undefined) {
      this.#sources.set(source, { beganSeq: seq, goneSeq: seq, pastSeq });
    } else before.goneSeq = seq;
  }

  /** Takes the next record of its source; the oldest ones make room. */
  append(record: TailRecord): void {
    const { source, seq, nodeId } = record;
    this.#records.push(record);
    this.#head.set(source, seq);
    let ofNode = this.#byNode.get(nodeId);
    if (ofNode === undefined) {
      ofNode = new Queue();
      this.#byNode.set(nodeId, ofNode);
    }
    ofNode.push(record);
    this.#bytes += bytesOf(record) + this.#useTable(record.table, 1);
    while (this.#bytes > this.#maxBytes && this.#records.length > 1) this.#dropOldest();
  }

  /** The feed of `source` has passed `seq`. */
  advance(source: string, seq: number): void {
    this.#head.set(source, seq);
  }

  /** The entry with this number; undefined where there is none. */
  at(number: number): TailRecord | undefined {
    return this.#records.at(number - this.#first);
  }

  /** The records of a node, oldest first. */
  ofNode(nodeId: string): Iterable<TailRecord> {
    return this.#byNode.get(nodeId) ?? [];
  }

  /**
   * Where a reader that is at `position` goes on: no entry before `number` is new to it. Entries
   * after it may be behind the position where several sources mix. `isWhole` is false where entries
   * that the reader has not seen are gone, or where the tail does not know a source of the
   * position.
   */
  find(position: Position): { readonly number: number; readonly isWhole: boolean } {
    let isWhole = [...position.keys()].every((source) => this.#head.has(source));
    for (const [source, { beganSeq, goneSeq }] of this.#sources) {
      if ((position.get(source) ?? beganSeq) < goneSeq) isWhole = false;
    }
    // Readers that come back are near the end, so the search starts there.
    const unmet = new Set(this.#sources.keys());
    let number = this.end;
    while (number > this.#first && unmet.size > 0) {
      const { source, seq } = this.at(number - 1)!;
      if (seq <= (position.get(source) ?? 0)) unmet.delete(source);
      number -= 1;
    }
    return { number, isWhole };
  }

  #dropOldest(): void {
    const record = this.#records.shift();
    if (record === undefined) return;
    this.#first += 1;
    const source = this.#sources.get(record.source);
    if (source !== undefined) source.goneSeq = Math.max(source.goneSeq, record.seq);
    const ofNode = this.#byNode.get(record.nodeId);
    ofNode?.shift();
    if (ofNode?.length === 0) this.#byNode.delete(record.nodeId);
    this.#bytes -= bytesOf(record) + this.#useTable(record.table, -1);
  }

  /** Bytes that the table begins or ends to cost with this use. */
  #useTable(table: SeriesTable, change: 1 | -1): number {
    const uses = (this.#tableUses.get(table) ?? 0) + change;
    if (uses === 0) this.#tableUses.delete(table);
    else this.#tableUses.set(table, uses);
    const isFirstOrLast = uses === (change === 1 ? 1 : 0);
    return isFirstOrLast ? table.bytes.length + table.series.length * SERIES_BYTES : 0;
  }
}

function bytesOf({ samples }: TailRecord): number {
  return RECORD_BYTES + samples.series.length * SAMPLE_BYTES;
}

/** First in, first out, with access by index; both ends cost the same however long it is. */
class Queue<T> {
  #items: T[] = [];
  #start = 0;

  get length(): number {
    return this.#items.length - this.#start;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const item = this.#items[this.#start];
    if (item === undefined) return undefined;
    this.#start += 1;
    // Half of the array is gone: moving the rest costs one step an item over its life.
    if (this.#start * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#start);
      this.#start = 0;
    }
    return item;
  }

  at(index: number): T | undefined {
    return index < 0 ? undefined : this.#items[this.#start + index];
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let index = 0; index < this.length; index += 1) yield this.#items[this.#start + index]!;
  }
}
