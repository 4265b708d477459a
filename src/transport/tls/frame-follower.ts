/**
 * Follows a stream of frames (a length of four bytes, big endian, and as many bytes) to know
 * whether it stands between two of them: only there may a control record be written.
 */
const LENGTH_BYTES = 4;

export class FrameFollower {
  /** Bytes of the present length that have come. */
  #lengthBytes = 0;
  /** Bytes of the present frame that are still to come; the length so far, while that comes. */
  #bodyLeft = 0;

  /** Whether no frame is begun and unfinished. */
  get isBetweenFrames(): boolean {
    return this.#lengthBytes === 0;
  }

  advance(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) at += this.advanceInFrame(bytes, at);
  }

  /** Follows `bytes` from `at` on, at most to the end of the frame; returns how many that were. */
  advanceInFrame(bytes: Uint8Array, at: number): number {
    let next = at;
    while (next < bytes.length && this.#lengthBytes < LENGTH_BYTES) {
      this.#bodyLeft = this.#bodyLeft * 256 + bytes[next]!;
      this.#lengthBytes += 1;
      next += 1;
    }
    if (this.#lengthBytes < LENGTH_BYTES) return next - at;
    const skipped = Math.min(this.#bodyLeft, bytes.length - next);
    this.#bodyLeft -= skipped;
    if (this.#bodyLeft === 0) this.#lengthBytes = 0;
    return next + skipped - at;
  }
}
