/**
 * Records that are not safe at InfluxDB yet, and whose turn it is. Nodes take turns: each adds a
 * sixteenth of a chunk, so that a record which makes a thousand times its own size in lines delays
 * its own node and not the others.
 *
 *     added ─► queued by node ─► encoded into chunks ─► all its chunks settled ─► done
 *
 * Records may be done in any order; the cursor is the last record before which all are done.
 */
import type { WriterProgress, WriterRecord } from '../writer.ts';
import type { LineChunk } from './line-chunk.ts';
import { RecordEncoder } from './record-encoder.ts';
import type { TablePlan } from './table-plan.ts';

/** Part of a chunk that a node may fill before it is the next one's turn. */
const TURN_SHARE = 1 / 16;
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

interface NodeQueue {
  readonly nodeId: string;
  /** The first one is being encoded. */
  readonly records: { readonly held: HeldRecord; readonly record: WriterRecord }[];
  encoder: RecordEncoder | undefined;
}

export class Backlog {
  readonly #plan: (tableId: string) => TablePlan;
  readonly #queues = new Map<string, NodeQueue>();
  /** Nodes with records to encode, in the order of their turns. */
  #ring: NodeQueue[] = [];
  /** Records in seq order, from the first one that is not done. */
  #order: HeldRecord[] = [];
  #orderFrom = 0;
  #queuedBytes = 0;
  #progress: WriterProgress | undefined;
  readonly #encoders: RecordEncoder[] = [];

  constructor(plan: (tableId: string) => TablePlan) {
    this.#plan = plan;
  }

  /** Bytes of journal records that are not encoded yet. */
  get queuedBytes(): number {
    return this.#queuedBytes;
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
      this.#queuedBytes += bytes;
      let queue = this.#queues.get(nodeId);
      if (queue === undefined) {
        queue = { nodeId, records: [], encoder: undefined };
        this.#queues.set(nodeId, queue);
        this.#ring.push(queue);
      }
      queue.records.push({ held, record });
    }
  }

  /**
   * Fills the empty `lines` up to `maxBytes`, leaving out the nodes in `waiting`. Undefined where
   * there is nothing to encode.
   */
  fill(
    lines: LineChunk<HeldRecord>,
    maxBytes: number,
    waiting: ReadonlySet<string>,
  ): FilledChunk | undefined {
    const records = new Set<HeldRecord>();
    const leftOut: NodeQueue[] = [];
    if (this.#ring.length > 0) lines.reserve(maxBytes);
    for (let queue = this.#ring.shift(); queue !== undefined; queue = this.#ring.shift()) {
      if (waiting.has(queue.nodeId)) {
        leftOut.push(queue);
        continue;
      }
      const before = lines.length;
      const isFull = !this.#takeTurn(queue, lines, maxBytes, records);
      if (queue.records.length === 0) this.#queues.delete(queue.nodeId);
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
        queue.encoder.start(record, this.#plan(record.tableId));
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
    this.#queuedBytes -= held.bytes;
    if (this.#encoders.length < SPARE_ENCODERS) this.#encoders.push(encoder);
  }
}
