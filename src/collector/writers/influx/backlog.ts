/**
 * Records that are not safe at InfluxDB yet, and whose turn it is. Nodes take turns: each adds a
 * sixteenth of a chunk, so that a record which makes a thousand times its own size in lines delays
 * its own node and not the others.
 *
 *     added ─► queued by node ─► encoded into chunks ─► all its chunks settled ─► done
 *       └─► put off, without its samples ─┘ read again when the node has nothing else queued
 *
 * Memory is shared in the same way. A node that has its share of it queued keeps only the numbers
 * of its further records, so that the records of other nodes behind them are read all the same.
 *
 * Records may be done in any order; the cursor is the last record before which all are done.
 */
import type { WriterProgress, WriterRecord } from '../writer.ts';
import type { LineChunk } from './line-chunk.ts';
import { RecordEncoder } from './record-encoder.ts';
import type { TablePlan } from './table-plan.ts';

/** Part of a chunk that a node may fill before it is the next one's turn. */
const TURN_SHARE = 1 / 16;
/** Of the memory for queued records, the part that is shared out evenly; the rest is headroom. */
const SHARED_PART = 1 / 2;
/** Journal bytes that a node has read again at once, where that is not over its share. */
const READ_AGAIN_BYTES = 1024 * 1024;
/** Encoders kept for reuse; each has room for the samples of the largest record it has seen. */
const SPARE_ENCODERS = 16;

/** A record on its way. */
export interface HeldRecord {
  readonly seq: number;
  readonly nodeId: string;
  readonly samples: number;
  readonly bytes: number;
  /** Values that no line can say; known once the record is encoded. */
  unspeakable: number;
  /** Samples given up. */
  deadLettered: number;
  isEncoded: boolean;
  /** Chunks with lines of it that are not settled. */
  openChunks: number;
  isDone: boolean;
}

/** Lines of a chunk and the records they belong to, those without any lines among them. */
export interface FilledChunk {
  readonly lines: LineChunk<HeldRecord>;
  readonly records: ReadonlySet<HeldRecord>;
}

interface QueuedRecord {
  readonly held: HeldRecord;
  readonly record: WriterRecord;
}

interface NodeQueue {
  readonly nodeId: string;
  /** The first one is being encoded. */
  readonly records: QueuedRecord[];
  /** Journal bytes of `records`. */
  bytes: number;
  /** Put off: behind `records`, and to be read again. */
  readonly later: HeldRecord[];
  encoder: RecordEncoder | undefined;
}

/** Where what is queued comes from. */
export interface BacklogSource {
  /** Of the table of a record that is queued. */
  readonly plan: (tableId: string) => TablePlan;
  /** Reads a record again; throws where that fails. */
  readonly record: (seq: number) => WriterRecord;
}

export class Backlog {
  readonly #source: BacklogSource;
  readonly #maxBytes: number;
  readonly #queues = new Map<string, NodeQueue>();
  /** Nodes with records to encode, in the order of their turns. */
  #ring: NodeQueue[] = [];
  /** Records in seq order, from the first one that is not done. */
  #order: HeldRecord[] = [];
  #orderFrom = 0;
  #queuedBytes = 0;
  #laterRecords = 0;
  #progress: WriterProgress | undefined;
  readonly #encoders: RecordEncoder[] = [];

  /** Nodes share `maxBytes` of journal records; a little more is held where they are many. */
  constructor(source: BacklogSource, maxBytes: number) {
    this.#source = source;
    this.#maxBytes = maxBytes;
  }

  /** Bytes of journal records that are held and not encoded yet. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Records that are put off: the node has its share of memory queued. */
  get laterRecords(): number {
    return this.#laterRecords;
  }

  /**
   * Whether every node that may take its turn has records put off: what other nodes have sent is
   * all encoded, or behind those records in the journal and has to be read now.
   */
  isOfHeavyNodes(waiting: ReadonlySet<string>): boolean {
    if (this.#laterRecords === 0) return false;
    return this.#ring.every(({ nodeId, later }) => later.length > 0 || waiting.has(nodeId));
  }

  /** Records from the first one that is not done. */
  get records(): number {
    return this.#order.length - this.#orderFrom;
  }

  add(records: readonly WriterRecord[]): void {
    for (const record of records) {
      const { seq, nodeId, bytes } = record;
      const held: HeldRecord = {
        ...{ seq, nodeId, bytes, samples: record.samples.values.length },
        ...{ unspeakable: 0, deadLettered: 0, isEncoded: false, openChunks: 0, isDone: false },
      };
      this.#order.push(held);
      let queue = this.#queues.get(nodeId);
      if (queue === undefined) {
        queue = { nodeId, records: [], bytes: 0, later: [], encoder: undefined };
        this.#queues.set(nodeId, queue);
        this.#ring.push(queue);
      }
      const isOverShare = queue.bytes > 0 && queue.bytes + bytes > this.#share();
      if (queue.later.length > 0 || isOverShare) {
        queue.later.push(held);
        this.#laterRecords += 1;
      } else {
        this.#enqueue(queue, { held, record });
      }
    }
  }

  /**
   * Fills the empty `lines` up to `maxBytes`, leaving out the nodes in `waiting`. Undefined where
   * there is nothing to encode. Throws what reading a record again throws, and has then changed
   * nothing that matters.
   */
  fill(
    lines: LineChunk<HeldRecord>,
    maxBytes: number,
    waiting: ReadonlySet<string>,
  ): FilledChunk | undefined {
    const records = new Set<HeldRecord>();
    const leftOut: NodeQueue[] = [];
    for (const queue of this.#ring) if (!waiting.has(queue.nodeId)) this.#readAgain(queue);
    if (this.#ring.length > 0) lines.reserve(maxBytes);
    for (let queue = this.#ring.shift(); queue !== undefined; queue = this.#ring.shift()) {
      if (waiting.has(queue.nodeId) || queue.records.length === 0) {
        leftOut.push(queue);
        continue;
      }
      const before = lines.length;
      const isFull = !this.#takeTurn(queue, lines, maxBytes, records);
      if (queue.records.length + queue.later.length === 0) this.#queues.delete(queue.nodeId);
      else if (lines.length > before) this.#ring.push(queue);
      else this.#ring.unshift(queue);
      if (isFull) break;
    }
    this.#ring.unshift(...leftOut);
    for (const held of records) held.openChunks += 1;
    return records.size === 0 ? undefined : { lines, records };
  }

  /** The lines of `chunk` are written or given up. */
  settled({ records }: FilledChunk): void {
    for (const held of records) {
      held.openChunks -= 1;
      held.isDone = held.isEncoded && held.openChunks === 0;
    }
    for (; this.#order[this.#orderFrom]?.isDone === true; this.#orderFrom++) {
      const { seq, samples, deadLettered } = this.#order[this.#orderFrom]!;
      const { writtenSamples = 0, deadLetteredSamples = 0 } = this.#progress ?? {};
      this.#progress = {
        cursor: seq,
        writtenSamples: writtenSamples + samples - deadLettered,
        deadLetteredSamples: deadLetteredSamples + deadLettered,
      };
    }
    // Cut off from time to time, so that a record does not cost a shift of all others.
    if (this.#orderFrom * 2 < this.#order.length) return;
    this.#order = this.#order.slice(this.#orderFrom);
    this.#orderFrom = 0;
  }

  /** What became safe since the last call; undefined where the cursor stays where it is. */
  takeProgress(): WriterProgress | undefined {
    const progress = this.#progress;
    this.#progress = undefined;
    return progress;
  }

  /** Journal bytes that a node may have queued, beside one record. */
  #share(): number {
    return (this.#maxBytes * SHARED_PART) / this.#queues.size;
  }

  #enqueue(queue: NodeQueue, queued: QueuedRecord): void {
    queue.records.push(queued);
    queue.bytes += queued.held.bytes;
    this.#queuedBytes += queued.held.bytes;
  }

  /** The next records of a node that has only put off ones. */
  #readAgain(queue: NodeQueue): void {
    if (queue.records.length > 0) return;
    const most = Math.min(READ_AGAIN_BYTES, this.#share());
    let count = 0;
    for (let bytes = 0; count < queue.later.length && bytes < most; count += 1) {
      bytes += queue.later[count]!.bytes;
    }
    const again = queue.later
      .slice(0, count)
      .map((held) => ({ held, record: this.#source.record(held.seq) }));
    queue.later.splice(0, count);
    this.#laterRecords -= count;
    for (const queued of again) this.#enqueue(queue, queued);
  }

  /** False where the chunk is full. */
  #takeTurn(
    queue: NodeQueue,
    lines: LineChunk<HeldRecord>,
    maxBytes: number,
    records: Set<HeldRecord>,
  ): boolean {
    const turnBytes = Math.min(maxBytes, lines.length + Math.ceil(maxBytes * TURN_SHARE));
    for (;;) {
      const first = queue.records[0];
      if (first === undefined) return true;
      const { held, record } = first;
      if (queue.encoder === undefined) {
        queue.encoder = this.#encoders.pop() ?? new RecordEncoder();
        queue.encoder.start(record, this.#source.plan(record.tableId));
      }
      const before = lines.length;
      let isDone = queue.encoder.encodeInto(lines, turnBytes, held);
      // A line may need more room than is left of the turn.
      if (!isDone && lines.length === before && turnBytes < maxBytes) {
        isDone = queue.encoder.encodeInto(lines, maxBytes, held);
      }
      if (isDone || lines.length > before) records.add(held);
      if (!isDone) return lines.length > before && lines.length < maxBytes && turnBytes < maxBytes;
      this.#encoded(queue, held);
      if (lines.length >= turnBytes) return lines.length < maxBytes;
    }
  }

  #encoded(queue: NodeQueue, held: HeldRecord): void {
    const encoder = queue.encoder!;
    held.isEncoded = true;
    held.unspeakable = encoder.notFinite;
    queue.records.shift();
    queue.encoder = undefined;
    queue.bytes -= held.bytes;
    this.#queuedBytes -= held.bytes;
    if (this.#encoders.length < SPARE_ENCODERS) this.#encoders.push(encoder);
  }
}
