/**
 * Buffers for unfinished frames, lent to the streams of many connections: a stream in the middle of
 * a frame has one, an idle stream has none, and new ones are rarely allocated.
 */

const SMALLEST_BYTES = 256;
/** Larger ones are made for their frame and left to the garbage collector. */
const LARGEST_KEPT_BYTES = 65_536;
const KEPT_OF_EACH_SIZE = 16;

/** Holds at most two megabytes of unused buffers. */
export class FrameBuffers {
  /** By size, a power of two. */
  readonly #free = new Map<number, Buffer[]>();

  /** A buffer of at least so many bytes, with anything in it. */
  take(bytes: number): Buffer {
    if (bytes > LARGEST_KEPT_BYTES) return Buffer.allocUnsafeSlow(bytes);
    let size = SMALLEST_BYTES;
    while (size < bytes) size *= 2;
    return this.#free.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size);
  }

  /** Takes back what `take` gave; the caller must not use it any more. */
  giveBack(buffer: Buffer): void {
    if (buffer.length > LARGEST_KEPT_BYTES) return;
    const free = this.#free.get(buffer.length) ?? [];
    this.#free.set(buffer.length, free);
    if (free.length < KEPT_OF_EACH_SIZE) free.push(buffer);
  }
}
