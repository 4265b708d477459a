/**
 * Which batches still owe an answer, and which of them may be sent now. Pure bookkeeping: no bytes,
 * no sockets, no clock of its own.
 *
 *     add ──► ready ──sent──► in flight ──final ack──► gone
 *               ▲                 │
 *               └── throttled, connection lost
 *
 * Batches go out in the order of their positions, what must be repeated first. From the oldest
 * batch without an answer to the newest one sent there are never more positions than
 * `maxInFlightBatches`: that keeps a resent batch inside the collector's duplicate window, whatever
 * order the answers came in. Within an epoch, positions rise with the sequences.
 */
import { assert } from '../lib/errors.ts';

/** A batch without a final verdict. */
export interface PendingBatch {
  /** Its place in the order of sending. */
  readonly position: number;
  readonly sampleCount: number;
  /** Length of the frame. */
  readonly bytes: number;
  state: 'ready' | 'in-flight';
  /** Monotonic ms of the first transmission; undefined before it. */
  firstSentMs: number | undefined;
}

export interface AckLedgerOptions {
  readonly maxInFlightBatches: number;
  readonly maxInFlightBytes: number;
  /** No batch has a lower one. */
  readonly firstPosition: number;
}

export class AckLedger<T extends PendingBatch = PendingBatch> {
  readonly #options: AckLedgerOptions;
  readonly #batches = new Map<number, T>();
  /** Sent before and to be sent again; ascending, bounded by the in-flight limit. */
  #again: number[] = [];
  /** No batch without an answer is below it. */
  #oldest: number;
  /** The first position that was never sent. */
  #nextNew: number;
  /** One more than the largest position added. */
  #end: number;
  /** How many batches may be in flight now; small after a throttle, growing with each ack. */
  #window: number;
  /** As the options say, or the collector where its duplicate window is smaller. */
  #maxBatches: number;
  #inFlight = 0;
  #inFlightBytes = 0;
  #samples = 0;

  constructor(options: AckLedgerOptions) {
    this.#options = options;
    this.#oldest = options.firstPosition;
    this.#nextNew = options.firstPosition;
    this.#end = options.firstPosition;
    this.#window = options.maxInFlightBatches;
    this.#maxBatches = options.maxInFlightBatches;
  }

  /** Batches without a final verdict. */
  get size(): number {
    return this.#batches.size;
  }

  /** Samples without a final verdict. */
  get samples(): number {
    return this.#samples;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Takes over a batch; positions must rise, gaps are allowed. */
  add(batch: T): void {
    assert(batch.position >= this.#end, 'batches are added in order');
    this.#batches.set(batch.position, batch);
    this.#end = batch.position + 1;
    this.#samples += batch.sampleCount;
  }

  /** The batch that is to be sent next; undefined while none may be. */
  next(): T | undefined {
    if (this.#inFlight >= this.#window) return undefined;
    if (this.#inFlightBytes >= this.#options.maxInFlightBytes) return undefined;
    return this.#nextAgain() ?? this.#nextFresh();
  }

  /** Notes that what `next` returned went out. */
  markSent(batch: T, nowMs: number): void {
    assert(batch.state === 'ready', 'only a ready batch is sent');
    if (this.#again[0] === batch.position) this.#again.shift();
    else this.#nextNew = batch.position + 1;
    batch.state = 'in-flight';
    batch.firstSentMs ??= nowMs;
    this.#inFlight += 1;
    this.#inFlightBytes += batch.bytes;
  }

  /** The batch at a position; undefined where none waits for an answer. */
  find(position: number): T | undefined {
    return this.#batches.get(position);
  }

  /** Takes out a batch with its final verdict; undefined for an answer that nothing waits for. */
  settle(position: number): T | undefined {
    const batch = this.#batches.get(position);
    if (batch?.state !== 'in-flight') return undefined;
    this.#window = Math.min(this.#maxBatches, this.#window * 2);
    this.#forget(batch);
    return batch;
  }

  /** Puts a batch in flight back to be sent again; undefined as for `settle`. */
  throttle(position: number): T | undefined {
    const batch = this.#batches.get(position);
    if (batch?.state !== 'in-flight') return undefined;
    this.#window = 1;
    this.#takeBack(batch);
    this.#again.push(position);
    this.#again.sort((a, b) => a - b);
    return batch;
  }

  /** Whatever was in flight is to be sent again. */
  connectionLost(): void {
    this.#again = [];
    for (let position = this.#oldest; position < this.#nextNew; position += 1) {
      const batch = this.#batches.get(position);
      if (batch === undefined) continue;
      if (batch.state === 'in-flight') this.#takeBack(batch);
      this.#again.push(position);
    }
    this.#window = this.#maxBatches;
  }

  /** Keeps the span from the oldest to the newest within what a collector remembers; 0: unknown. */
  limitTo(sequenceWindow: number): void {
    const { maxInFlightBatches } = this.#options;
    const isTold = sequenceWindow > 0;
    this.#maxBatches = isTold ? Math.min(maxInFlightBatches, sequenceWindow) : maxInFlightBatches;
    this.#window = Math.min(this.#window, this.#maxBatches);
  }

  /** Takes out a batch that is never to be sent. */
  drop(batch: T): void {
    if (this.#again[0] === batch.position) this.#again.shift();
    this.#forget(batch);
  }

  /** Takes out everything, in order. */
  clear(): T[] {
    const batches = [...this.#batches.values()];
    this.#batches.clear();
    this.#again = [];
    this.#inFlight = 0;
    this.#inFlightBytes = 0;
    this.#samples = 0;
    return batches;
  }

  #nextAgain(): T | undefined {
    const position = this.#again[0];
    if (position === undefined) return undefined;
    while (this.#oldest < position && !this.#batches.has(this.#oldest)) this.#oldest += 1;
    return position - this.#oldest < this.#maxBatches ? this.#batches.get(position) : undefined;
  }

  #nextFresh(): T | undefined {
    while (this.#nextNew < this.#end && !this.#batches.has(this.#nextNew)) this.#nextNew += 1;
    while (this.#oldest < this.#nextNew && !this.#batches.has(this.#oldest)) this.#oldest += 1;
    if (this.#nextNew - this.#oldest >= this.#maxBatches) return undefined;
    const batch = this.#batches.get(this.#nextNew);
    return batch?.state === 'ready' ? batch : undefined;
  }

  #takeBack(batch: T): void {
    batch.state = 'ready';
    this.#inFlight -= 1;
    this.#inFlightBytes -= batch.bytes;
  }

  #forget(batch: T): void {
    if (batch.state === 'in-flight') this.#takeBack(batch);
    this.#batches.delete(batch.position);
    this.#samples -= batch.sampleCount;
  }
}
