/** Small pieces are put together up to this: a stack takes few large ones more easily. */
const MERGED_BYTES_MAX = 16 * 1024;

/**
 * Bytes of one stream that the stack has not taken yet, in order, and whether the stream ends after
 * them. Owns copies.
 */
export class WriteQueue {
  #chunks: Uint8Array[] = [];
  #head = 0;
  #fin = false;

  /** Copies `bytes`. */
  push(bytes: Uint8Array, fin: boolean): void {
    if (bytes.length > 0) this.#chunks.push(Buffer.from(bytes));
    this.#fin ||= fin;
  }

  /** The next bytes to send; empty when nothing but the end of the stream is left. */
  peek(): Uint8Array {
    this.#mergeHead();
    return this.#chunks[this.#head] ?? EMPTY;
  }

  /** Whether the stream ends with what `peek` returns. */
  peekFin(): boolean {
    return this.#fin && this.#head + 1 >= this.#chunks.length;
  }

  /** Drops the first `taken` bytes of what `peek` returned. */
  advance(taken: number): void {
    const chunk = this.#chunks[this.#head];
    if (chunk === undefined) return;
    if (taken < chunk.length) {
      this.#chunks[this.#head] = chunk.subarray(taken);
      return;
    }
    this.#head += 1;
    if (this.#head === this.#chunks.length || this.#head > 256) {
      this.#chunks = this.#chunks.slice(this.#head);
      this.#head = 0;
    }
  }

  get bytes(): number {
    let bytes = 0;
    for (let i = this.#head; i < this.#chunks.length; i += 1) bytes += this.#chunks[i]!.length;
    return bytes;
  }

  get isEmpty(): boolean {
    return this.#head >= this.#chunks.length;
  }

  #mergeHead(): void {
    let end = this.#head;
    let bytes = 0;
    while (end < this.#chunks.length && bytes + this.#chunks[end]!.length <= MERGED_BYTES_MAX) {
      bytes += this.#chunks[end]!.length;
      end += 1;
    }
    if (end - this.#head < 2) return;
    const merged = Buffer.concat(this.#chunks.slice(this.#head, end), bytes);
    this.#head = end - 1;
    this.#chunks[this.#head] = merged;
  }
}

const EMPTY = new Uint8Array(0);
