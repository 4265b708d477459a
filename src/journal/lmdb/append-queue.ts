/**
 * Entries on their way to the disk: in arrival order, taken in groups, each with a caller that
 * waits. A barrier waits for everything that stood before it and fails if any of that failed.
 */
import { promiseParts } from '../../lib/promise-parts.ts';
import type { SeriesTable } from '../../domain/telemetry.ts';
import type { BatchOutcome } from '../ledger.ts';

export interface QueuedAppend {
  readonly nodeId: string;
  readonly epoch: number;
  readonly sequence: number;
  readonly table: SeriesTable;
  readonly samples: number;
  readonly outcome: BatchOutcome;
  /** Encoded, not sealed. */
  readonly record: Uint8Array;
  readonly resolve: (seq: number) => void;
  readonly reject: (error: Error) => void;
}

interface Barrier {
  /** Waits for the first this many entries ever queued. */
  readonly after: number;
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  failure: Error | undefined;
}

export class AppendQueue {
  #waiting: QueuedAppend[] = [];
  #waitingBytes = 0;
  #queued = 0;
  #settled = 0;
  readonly #barriers: Barrier[] = [];

  get length(): number {
    return this.#waiting.length;
  }

  /** Bytes of the records that wait. */
  get bytes(): number {
    return this.#waitingBytes;
  }

  add(append: QueuedAppend): void {
    this.#waiting.push(append);
    this.#waitingBytes += append.record.length;
    this.#queued += 1;
  }

  /** Takes entries from the front: at least one, and then while they fit into `maxBytes`. */
  take(maxBytes: number): QueuedAppend[] {
    let bytes = 0;
    let count = 0;
    for (const { record } of this.#waiting) {
      if (count > 0 && bytes + record.length > maxBytes) break;
      bytes += record.length;
      count += 1;
    }
    this.#waitingBytes -= bytes;
    if (count === this.#waiting.length) {
      const all = this.#waiting;
      this.#waiting = [];
      return all;
    }
    return this.#waiting.splice(0, count);
  }

  /** Resolves once everything queued so far has settled well; rejects if some of it failed. */
  barrier(): Promise<void> {
    if (this.#settled === this.#queued) return Promise.resolve();
    const last = this.#barriers.at(-1);
    if (last?.after === this.#queued && last.failure === undefined) return last.promise;
    const { promise, resolve, reject } = promiseParts<void>();
    this.#barriers.push({ after: this.#queued, promise, resolve, reject, failure: undefined });
    return promise;
  }

  /** Tells those that wait for `group`, the entries taken last, that they are on disk. */
  succeed(group: readonly QueuedAppend[], firstSeq: number): void {
    group.forEach((append, index) => {
      append.resolve(firstSeq + index);
    });
    this.#settle(group.length, undefined);
  }

  fail(group: readonly QueuedAppend[], error: Error): void {
    for (const append of group) append.reject(error);
    this.#settle(group.length, error);
  }

  #settle(count: number, error: Error | undefined): void {
    this.#settled += count;
    for (const barrier of this.#barriers) barrier.failure ??= error;
    while (this.#barriers[0] !== undefined && this.#barriers[0].after <= this.#settled) {
      const { resolve, reject, failure } = this.#barriers.shift()!;
      if (failure === undefined) resolve();
      else reject(failure);
    }
  }
}
