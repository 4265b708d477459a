/**
 * Where batches wait until the collector's final verdict. A spool is bounded in bytes and refuses
 * what does not fit: a batch that was taken stays until it is acknowledged, so that nothing that
 * was promised is dropped later to make room.
 */

/** What a spool needs to know of a batch without its bytes. */
export interface SpooledBatch {
  readonly sequence: number;
  readonly sampleCount: number;
  /** Length of the frame. */
  readonly bytes: number;
}

export interface Spool {
  /** The incarnation that every batch in the spool belongs to. */
  readonly epoch: number;
  /** The number for the next batch; larger than that of every batch that was ever stored. */
  readonly nextSequence: number;
  /** What an earlier run left behind, in sequence order. */
  readonly recovered: readonly SpooledBatch[];
  /** Whether the batches outlive the process. */
  readonly isPersistent: boolean;
  /** Bytes in use, with the bookkeeping of each batch. */
  readonly usedBytes: number;
  /** Whether a frame of this length may be added. */
  hasRoomFor(frameBytes: number): boolean;
  /**
   * Stores a frame, which the spool then owns. Undefined means stored; a promise resolves once the
   * frame is safe, and rejects where it could not be stored: then nothing of it is kept. A frame
   * must not be sent before it is safe, since a number that was sent is never used again.
   */
  put(batch: SpooledBatch, frame: Uint8Array): Promise<void> | undefined;
  /** The stored frame, byte for byte; undefined where it cannot be read back. */
  frame(sequence: number): Uint8Array | undefined;
  /** Forgets a batch that has its final verdict. */
  remove(batch: SpooledBatch): void;
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

/** A spool that ends with the process: each run is a new epoch. */
export class MemorySpool implements Spool {
  readonly epoch: number;
  readonly nextSequence = 1;
  readonly recovered: readonly SpooledBatch[] = [];
  readonly isPersistent = false;
  readonly #budget: SpoolBudget;
  readonly #frames = new Map<number, Uint8Array>();

  constructor(options: { epoch: number; maxBytes: number }) {
    this.epoch = options.epoch;
    this.#budget = new SpoolBudget(options.maxBytes);
  }

  get usedBytes(): number {
    return this.#budget.usedBytes;
  }

  hasRoomFor(frameBytes: number): boolean {
    return this.#budget.hasRoomFor(frameBytes);
  }

  put(batch: SpooledBatch, frame: Uint8Array): undefined {
    this.#budget.add(frame.length);
    this.#frames.set(batch.sequence, frame);
  }

  frame(sequence: number): Uint8Array | undefined {
    return this.#frames.get(sequence);
  }

  remove(batch: SpooledBatch): void {
    if (this.#frames.delete(batch.sequence)) this.#budget.subtract(batch.bytes);
  }

  async close(): Promise<void> {
    this.#frames.clear();
  }
}
