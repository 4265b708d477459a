/**
 * Where batches wait until the collector's final verdict. A spool is bounded in bytes and refuses
 * what does not fit: a batch that was taken stays until it is acknowledged, so that nothing that
 * was promised is dropped later to make room.
 */

/** What a spool needs to know of a batch without its bytes; the numbers name it. */
export interface SpooledBatch {
  readonly epoch: number;
  readonly sequence: number;
  readonly sampleCount: number;
  /** Length of the frame. */
  readonly bytes: number;
}

/** How well a spool keeps what it was given. */
export interface SpoolHealth {
  /** Of its files, batches that are not needed any more included. */
  readonly diskBytes: number;
  /** Of the frames that are in memory only. */
  readonly memoryBytes: number;
  /** What is put waits in memory because the disk does not take it. */
  readonly isDiskFailing: boolean;
  /** Damaged files that were found, and batches that could not be read back. */
  readonly damages: number;
  /** Batches that were in the spool and cannot be read any more. */
  readonly lostBatches: number;
}

export interface Spool {
  /** For new batches: later than that of every batch that was found. */
  readonly epoch: number;
  /** What earlier runs left behind, under the numbers they gave; by epoch and sequence. */
  readonly recovered: readonly SpooledBatch[];
  /** Bytes in use, with the bookkeeping of each batch. */
  readonly usedBytes: number;
  readonly health: SpoolHealth;
  /** Whether a frame of this length may be added. */
  hasRoomFor(frameBytes: number): boolean;
  /** Takes over a frame. Never throws: what the disk does not take stays in memory. */
  put(batch: SpooledBatch, frame: Uint8Array): void;
  /** The stored frame, byte for byte; undefined where it cannot be read back. */
  frame(batch: SpooledBatch): Uint8Array | undefined;
  /** Whether the batch outlives the process. */
  isStored(batch: SpooledBatch): boolean;
  /** Forgets a batch that has its final verdict. */
  remove(batch: SpooledBatch): void;
  /** Stores what it can. Idempotent. */
  close(): Promise<void>;
}

/** What a batch costs beside its frame; also bounds the number of small batches. */
export const SPOOL_ENTRY_BYTES = 256;

/** Counts what is in a spool against its bound. */
export class SpoolBudget {
  readonly #maxBytes: number;
  #usedBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  hasRoomFor(frameBytes: number): boolean {
    return this.#usedBytes + frameBytes + SPOOL_ENTRY_BYTES <= this.#maxBytes;
  }

  add(frameBytes: number): void {
    this.#usedBytes += frameBytes + SPOOL_ENTRY_BYTES;
  }

  subtract(frameBytes: number): void {
    this.#usedBytes -= frameBytes + SPOOL_ENTRY_BYTES;
  }
}

/** A spool that ends with the process. */
export class MemorySpool implements Spool {
  readonly epoch: number;
  readonly recovered: readonly SpooledBatch[] = [];
  readonly #budget: SpoolBudget;
  readonly #frames = new Map<number, Uint8Array>();

  constructor(options: { epoch: number; maxBytes: number }) {
    this.epoch = options.epoch;
    this.#budget = new SpoolBudget(options.maxBytes);
  }

  get usedBytes(): number {
    return this.#budget.usedBytes;
  }

  get health(): SpoolHealth {
    const memoryBytes = this.#budget.usedBytes;
    return { diskBytes: 0, memoryBytes, isDiskFailing: false, damages: 0, lostBatches: 0 };
  }

  hasRoomFor(frameBytes: number): boolean {
    return this.#budget.hasRoomFor(frameBytes);
  }

  put(batch: SpooledBatch, frame: Uint8Array): void {
    this.#budget.add(frame.length);
    this.#frames.set(batch.sequence, frame);
  }

  frame({ sequence }: SpooledBatch): Uint8Array | undefined {
    return this.#frames.get(sequence);
  }

  isStored(): boolean {
    return false;
  }

  remove(batch: SpooledBatch): void {
    if (this.#frames.delete(batch.sequence)) this.#budget.subtract(batch.bytes);
  }

  async close(): Promise<void> {
    this.#frames.clear();
  }
}
