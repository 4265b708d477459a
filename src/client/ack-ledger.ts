/**
 * Which batches still owe an answer, and which of them may be sent now. Pure bookkeeping: no bytes,
 * no sockets, no clock of its own.
 *
 *     add ──► waiting ──stored──► ready ──sent──► in flight ──final ack──► gone
 *                                   ▲                 │
 *                                   └── throttled, connection lost
 *
 * Batches go out in sequence order, what must be repeated first. From the oldest batch without an
 * answer to the newest one sent there are never more numbers than `maxInFlightBatches`: that keeps
 * a resent batch inside the collector's duplicate window, whatever order the answers came in.
 */
import { assert } from '../lib/errors.ts';
import type { SpooledBatch } from './spool.ts';

/** A batch without a final verdict. */
export interface PendingBatch extends SpooledBatch {
  state: 'waiting' | 'ready' | 'in-flight';
  /** Monotonic ms of the first transmission; undefined before it. */
  firstSentMs: number | undefined;
}

export interface AckLedgerOptions {
  readonly maxInFlightBatches: number;
  readonly maxInFlightBytes: number;
  /** Every batch is numbered from here on. */
  readonly firstSequence: number;
}

export class AckLedger<T extends PendingBatch = PendingBatch> {
  readonly #options: AckLedgerOptions;
  readonly #batches = new Map<number, T>();
  /** Sent before and to be sent again; ascending, bounded by the in-flight limit. */
  #again: number[] = [];
  /** No batch without an answer is below it. */
  #oldest: number;
  /** The first number that was never sent. */
  #nextNew: number;
  /** One more than the largest number added. */
  #end: number;
  /** How many batches may be in flight now; small after a throttle, growing with each ack. */
  #window: number;
  #inFlight = 0;
  #inFlightBytes = 0;
  #samples = 0;

  constructor(options: AckLedgerOptions) {
    this.#options = options;
    this.#oldest = options.firstSequence;
    this.#nextNew = options.firstSequence;
    this.#end = options.firstSequence;
    this.#window = options.maxInFlightBatches;
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

  /** Takes over a batch; numbers must rise, gaps are allowed. */
  add(batch: T): void {
    assert(batch.sequence >= this.#end, 'batches are added in sequence order');
    this.#batches.set(batch.sequence, batch);
    this.#end = batch.sequence + 1;
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
    if (this.#again[0] === batch.sequence) this.#again.shift();
    else this.#nextNew = batch.sequence + 1;
    batch.state = 'in-flight';
    batch.firstSentMs ??= nowMs;
    this.#inFlight += 1;
    this.#inFlightBytes += batch.bytes;
  }

  /** Takes out a batch with its final verdict; undefined for an answer that nothing waits for. */
  settle(sequence: number): T | undefined {
    const batch = this.#batches.get(sequence);
    if (batch?.state !== 'in-flight') return undefined;
    this.#window = Math.min(this.#options.maxInFlightBatches, this.#window * 2);
    this.#forget(batch);
    return batch;
  }

  /** Puts a batch in flight back to be sent again; undefined as for `settle`. */
  throttle(sequence: number): T | undefined {
    const batch = this.#batches.get(sequence);
    if (batch?.state !== 'in-flight') return undefined;
    this.#window = 1;
    this.#takeBack(batch);
    this.#again.push(sequence);
    this.#again.sort((a, b) => a - b);
    return batch;
  }

  /** Whatever was in flight is to be sent again. */
  connectionLost(): void {
    this.#again = [];
    for (let sequence = this.#oldest; sequence < this.#nextNew; sequence += 1) {
      const batch = this.#batches.get(sequence);
      if (batch === undefined) continue;
      if (batch.state === 'in-flight') this.#takeBack(batch);
      this.#again.push(sequence);
    }
    this.#window = this.#options.maxInFlightBatches;
  }

  /** Takes out a batch that is never to be sent. */
  drop(batch: T): void {
    if (this.#again[0] === batch.sequence) this.#again.shift();
    this.#forget(batch);
  }

  /** Takes out everything, in sequence order. */
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
    const sequence = this.#again[0];
    return sequence === undefined ? undefined : this.#batches.get(sequence);
  }

  #nextFresh(): T | undefined {
    while (this.#nextNew < this.#end && !this.#batches.has(this.#nextNew)) this.#nextNew += 1;
    while (this.#oldest < this.#nextNew && !this.#batches.has(this.#oldest)) this.#oldest += 1;
    if (this.#nextNew - this.#oldest >= this.#options.maxInFlightBatches) return undefined;
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
    this.#batches.delete(batch.sequence);
    this.#samples -= batch.sampleCount;
  }
}
