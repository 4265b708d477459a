/**
 * How much disk the journal may use. LMDB's file never shrinks, freed pages are used again; so the
 * bytes of the live records are counted, in whole pages, and the file system is asked for the rest.
 */
import type { Clock } from '../../lib/clock.ts';

const FREE_BYTES_MAX_AGE_MS = 1000;
/** Left on the file system whatever happens, so that cursors can move and records be removed. */
const RESERVE_BYTES = 4 * 1024 * 1024;
const PAGE_BYTES = 4096;
/** LMDB keeps larger values in pages of their own. */
const MAX_INLINE_BYTES = 2000;
const OVERFLOW_HEADER_BYTES = 16;
const NODE_BYTES = 40;

export interface DiskBudgetOptions {
  /** For live records, see `diskBytes`. */
  readonly maxBytes: number;
  /** To be left free on the file system. */
  readonly minFreeBytes: number;
  /** Free bytes of the journal's file system now; throws if they cannot be read. */
  readonly freeBytes: () => number;
}

export class DiskBudget {
  readonly #clock: Clock;
  readonly #options: DiskBudgetOptions;
  #freeBytes = Number.POSITIVE_INFINITY;
  #readAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, options: DiskBudgetOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  get maxBytes(): number {
    return this.#options.maxBytes;
  }

  /** Free bytes of the file system, at most a second old. */
  get freeBytes(): number {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#readAtMs >= FREE_BYTES_MAX_AGE_MS) this.refresh();
    return this.#freeBytes;
  }

  /** Asks the file system again; if it fails, the last answer is kept. */
  refresh(): number {
    this.#readAtMs = this.#clock.monotonicMs();
    try {
      this.#freeBytes = this.#options.freeBytes();
    } catch {
      // The commit that follows meets the same trouble and reports it.
    }
    return this.#freeBytes;
  }

  /** Free bytes below which agents have to wait. */
  get minFreeBytes(): number {
    return this.#options.minFreeBytes;
  }

  /** Whether agents have to wait: the budget is used up or the disk nearly is. */
  isFull(liveBytes: number): boolean {
    return this.shortage(liveBytes) !== undefined;
  }

  /** Why agents have to wait for room, as a sentence part; undefined while they need not. */
  shortage(liveBytes: number): string | undefined {
    const { maxBytes, minFreeBytes } = this.#options;
    if (liveBytes >= maxBytes) return `${liveBytes} bytes wait for writers, all of max_bytes`;
    const { freeBytes } = this;
    if (freeBytes >= minFreeBytes) return undefined;
    return `disk low: ${freeBytes} bytes are free, less than min_free_bytes, ${minFreeBytes}`;
  }

  /**
   * Whether a transaction of this size should be tried at all. Asked of the file system each time:
   * LMDB survives running into the end of the disk, but its error report is not written with care.
   */
  hasRoomFor(bytes: number): boolean {
    return this.refresh() >= bytes + RESERVE_BYTES;
  }
}

/** What a value of `bytes` takes on disk. */
export function diskBytes(bytes: number): number {
  if (bytes <= MAX_INLINE_BYTES) return bytes + NODE_BYTES;
  return NODE_BYTES + Math.ceil((bytes + OVERFLOW_HEADER_BYTES) / PAGE_BYTES) * PAGE_BYTES;
}
