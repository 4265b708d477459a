/**
 * Which sequences of one producer (one node, one epoch) are already in the journal. Pure.
 *
 *     1 … passedTo       passedTo+1 … floor    floor+1 … floor+WINDOW_SEQUENCES     above
 *     out of window      durable               a bit each: durable or new           new
 *
 * The floor rises over sequences as they become contiguous. A sequence above the window moves the
 * window up to it. What the floor passes without having seen it is a known gap and is counted. From
 * then on, a sequence up to the newest gap may have been stored or may never have come: there is no
 * way to know. It is out of the window: storing it could double it, and calling it durable could
 * lose it.
 *
 * A client that keeps (highest sequence sent − lowest sequence not finally answered) below
 * WINDOW_SEQUENCES never asks about one. The reference client does.
 *
 * A producer first seen above the window has a past elsewhere (another collector, or forgotten
 * here): its window starts there, all below is out of the window, and nothing is counted.
 */
import { assert } from '../../lib/errors.ts';

/** How many sequences above the lowest unanswered one a client may have under way. */
export const WINDOW_SEQUENCES = 1024;

/**
 * Gaps that are counted of one producer, since the start: an agent that lost a spool skips some
 * thousands, and a number of 2^53 proves nothing.
 */
const COUNTED_GAPS_MAX = 1_000_000;

const WORDS = WINDOW_SEQUENCES / 32;
/** Bytes of an encoded window: floor as float64, then the bitmap. */
export const WINDOW_BYTES = 8 + 4 * WORDS;

/** What a window knows of a sequence. */
export type SequenceState = 'new' | 'durable' | 'out_of_window';

export class ProducerWindow {
  #floor = 0;
  #passedTo = 0;
  #fresh = true;
  #countedGaps = 0;
  /** Bit `sequence % WINDOW_SEQUENCES`, for the sequences above the floor. */
  readonly #bits: Uint32Array;

  constructor(bits: Uint32Array = new Uint32Array(WORDS)) {
    this.#bits = bits;
  }

  /** Everything up to here is durable or a known gap. */
  get floor(): number {
    return this.#floor;
  }

  /** Known gaps since the start of the process, COUNTED_GAPS_MAX at most. */
  get countedGaps(): number {
    return this.#countedGaps;
  }

  /** The newest known gap; 0 where there is none. */
  get passedTo(): number {
    return this.#passedTo;
  }

  state(sequence: number): SequenceState {
    if (sequence <= this.#passedTo) return 'out_of_window';
    if (sequence <= this.#floor) return 'durable';
    const isSeen = sequence <= this.#floor + WINDOW_SEQUENCES && this.#bit(sequence);
    return isSeen ? 'durable' : 'new';
  }

  /**
   * Marks `sequence` durable and returns by how much the count of known gaps changes: holes that
   * fell out of the window, as many as are counted, or −1 for a hole that was filled after all.
   */
  add(sequence: number): number {
    const gaps = Math.min(this.#add(sequence), COUNTED_GAPS_MAX - this.#countedGaps);
    this.#countedGaps = Math.max(0, this.#countedGaps + gaps);
    return gaps;
  }

  #add(sequence: number): number {
    assert(
      Number.isSafeInteger(sequence) && sequence > 0,
      `sequence ${sequence} cannot be tracked`,
    );
    if (sequence <= this.#floor) return -1;
    let gaps = 0;
    if (sequence > this.#floor + WINDOW_SEQUENCES) {
      const skipped = this.#raiseFloor(sequence - WINDOW_SEQUENCES);
      gaps = this.#fresh ? 0 : skipped;
    }
    this.#fresh = false;
    this.#setBit(sequence);
    while (this.#bit(this.#floor + 1)) {
      this.#floor += 1;
      this.#clearBit(this.#floor);
    }
    return gaps;
  }

  /** Returns how many sequences below the new floor were never seen. */
  #raiseFloor(floor: number): number {
    const missed = floor - this.#floor;
    if (missed > WINDOW_SEQUENCES) {
      const seen = this.#countBits();
      this.#bits.fill(0);
      this.#floor = floor;
      this.#passedTo = floor;
      return missed - seen;
    }
    let gaps = 0;
    while (this.#floor < floor) {
      this.#floor += 1;
      if (!this.#bit(this.#floor)) {
        gaps += 1;
        this.#passedTo = this.#floor;
      }
      this.#clearBit(this.#floor);
    }
    return gaps;
  }

  copy(): ProducerWindow {
    const copy = new ProducerWindow(this.#bits.slice());
    copy.#floor = this.#floor;
    copy.#passedTo = this.#passedTo;
    copy.#fresh = this.#fresh;
    copy.#countedGaps = this.#countedGaps;
    return copy;
  }

  /** Why this cannot be a window that `add` made; undefined where it can. */
  get flaw(): string | undefined {
    if (!Number.isSafeInteger(this.#floor) || this.#floor < 0) return `floor ${this.#floor}`;
    if (!(this.#passedTo >= 0 && this.#passedTo <= this.#floor)) return `gap ${this.#passedTo}`;
    return this.#bit(this.#floor + 1) ? `floor ${this.#floor} was not raised` : undefined;
  }

  /** Writes WINDOW_BYTES into `target` at `offset`. */
  encodeInto(target: Uint8Array, offset: number): void {
    const view = new DataView(target.buffer, target.byteOffset + offset, WINDOW_BYTES);
    view.setFloat64(0, this.#floor, true);
    this.#bits.forEach((word, index) => {
      view.setUint32(8 + 4 * index, word, true);
    });
  }

  /** Reads what `encodeInto` wrote; `passedTo` is kept elsewhere. */
  static decode(bytes: Uint8Array, offset: number, passedTo: number): ProducerWindow {
    const view = new DataView(bytes.buffer, bytes.byteOffset + offset, WINDOW_BYTES);
    const window = new ProducerWindow();
    window.#floor = view.getFloat64(0, true);
    window.#passedTo = passedTo;
    window.#fresh = false;
    for (let word = 0; word < WORDS; word += 1) {
      window.#bits[word] = view.getUint32(8 + 4 * word, true);
    }
    return window;
  }

  #bit(sequence: number): boolean {
    const slot = sequence % WINDOW_SEQUENCES;
    return (this.#bits[slot >>> 5]! & (1 << (slot & 31))) !== 0;
  }

  #setBit(sequence: number): void {
    const slot = sequence % WINDOW_SEQUENCES;
    this.#bits[slot >>> 5]! |= 1 << (slot & 31);
  }

  #clearBit(sequence: number): void {
    const slot = sequence % WINDOW_SEQUENCES;
    this.#bits[slot >>> 5]! &= ~(1 << (slot & 31));
  }

  #countBits(): number {
    let count = 0;
    for (let word of this.#bits) {
      for (; word !== 0; word &= word - 1) count += 1;
    }
    return count;
  }
}
