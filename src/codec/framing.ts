/**
 * Frames on a stream: a 4-byte big-endian length and that many bytes. Pure; knows nothing of what
 * is inside a frame.
 */
import { assert } from '../lib/errors.ts';
import { FrameBuffers } from './frame-buffers.ts';

export const FRAME_HEADER_BYTES = 4;

/**
 * A stream whose last frame was so large gets a buffer of that size at once: agents' frames are
 * alike, and growing in steps copies each of them twice. What a stream has never sent it is not
 * given.
 */
const EXPECTED_FRAME_BYTES_MAX = 65_536;

/** Length and payload in one buffer, ready for a stream. `payload` is copied. */
export function encodeFrame(payload: Uint8Array): Uint8Array {
  assert(payload.length > 0 && payload.length < 2 ** 32, 'a frame holds 1 to 2^32 - 1 bytes');
  const frame = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES + payload.length);
  frame.writeUInt32BE(payload.length, 0);
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/**
 * Cuts one stream into frames. Frames that arrive whole are handed on without a copy; of an
 * unfinished one the bytes that arrived are held, in a buffer that grows with them, or is as large
 * as the frame before was: an announced length alone costs nothing.
 *
 *     fresh ──whole frames──► fresh ──part of a frame──► holding ──the rest──► fresh
 *       └────────────── length is 0 or over the bound ──────┴──► broken, for good
 */
export class FrameSplitter {
  readonly #maxFrameBytes: number;
  readonly #buffers: FrameBuffers;
  /** Of the unfinished frame. */
  #buffer: Buffer | undefined;
  /** Bytes of the unfinished frame in `#buffer`, its header included. */
  #held = 0;
  /** Of the last frame that was held, its header included. */
  #expectedBytes = 0;
  #brokenReason: string | undefined;

  /** `buffers` may be shared with other splitters. */
  constructor(maxFrameBytes: number, buffers = new FrameBuffers()) {
    this.#maxFrameBytes = maxFrameBytes;
    this.#buffers = buffers;
  }

  /** Bytes held of the unfinished frame. */
  get bufferedBytes(): number {
    return this.#held;
  }

  /** Why the stream can't be read any further; undefined while it can. */
  get brokenReason(): string | undefined {
    return this.#brokenReason;
  }

  /**
   * Feeds the next bytes of the stream, in any cut. Calls `onFrame` for each frame that is now
   * whole; the view is valid until `onFrame` returns, which must not push. Returns false once the
   * stream is broken, and then does nothing any more.
   */
  push(bytes: Uint8Array, onFrame: (frame: Uint8Array) => void): boolean {
    let offset = this.#held > 0 ? this.#finishHeldFrame(bytes, onFrame) : 0;
    if (this.#brokenReason !== undefined) return false;
    while (bytes.length - offset >= FRAME_HEADER_BYTES) {
      const frameBytes = readLength(bytes, offset);
      if (!this.#accepts(frameBytes)) return false;
      const end = offset + FRAME_HEADER_BYTES + frameBytes;
      if (end > bytes.length) break;
      onFrame(bytes.subarray(offset + FRAME_HEADER_BYTES, end));
      offset = end;
    }
    this.#hold(bytes, offset, bytes.length);
    return true;
  }

  /** Adds to the held frame what belongs to it; returns how many of `bytes` that were. */
  #finishHeldFrame(bytes: Uint8Array, onFrame: (frame: Uint8Array) => void): number {
    let offset = 0;
    if (this.#held < FRAME_HEADER_BYTES) {
      offset = Math.min(FRAME_HEADER_BYTES - this.#held, bytes.length);
      this.#hold(bytes, 0, offset);
      if (this.#held < FRAME_HEADER_BYTES) return offset;
    }
    const buffer = this.#buffer;
    assert(buffer !== undefined, 'held bytes have a buffer');
    const frameBytes = readLength(buffer, 0);
    if (!this.#accepts(frameBytes)) return offset;
    const wanted = FRAME_HEADER_BYTES + frameBytes - this.#held;
    const taken = Math.min(wanted, bytes.length - offset);
    this.#hold(bytes, offset, offset + taken);
    if (taken === wanted) this.#releaseHeldFrame(onFrame);
    return offset + taken;
  }

  #releaseHeldFrame(onFrame: (frame: Uint8Array) => void): void {
    const buffer = this.#buffer;
    const end = this.#held;
    assert(buffer !== undefined, 'a held frame has a buffer');
    this.#held = 0;
    this.#buffer = undefined;
    this.#expectedBytes = Math.min(end, EXPECTED_FRAME_BYTES_MAX);
    onFrame(buffer.subarray(FRAME_HEADER_BYTES, end));
    this.#buffers.giveBack(buffer);
  }

  #hold(bytes: Uint8Array, start: number, end: number): void {
    if (start === end) return;
    const needed = this.#held + end - start;
    let buffer = this.#buffer;
    if (buffer === undefined || buffer.length < needed) {
      const grown = this.#buffers.take(Math.max(needed, 2 * this.#held, this.#expectedBytes));
      if (buffer !== undefined) {
        buffer.copy(grown, 0, 0, this.#held);
        this.#buffers.giveBack(buffer);
      }
      this.#buffer = grown;
      buffer = grown;
    }
    buffer.set(bytes.subarray(start, end), this.#held);
    this.#held = needed;
  }

  #accepts(frameBytes: number): boolean {
    if (frameBytes > this.#maxFrameBytes) {
      this.#break(`frame of ${frameBytes} bytes is over the limit of ${this.#maxFrameBytes}`);
      return false;
    }
    if (frameBytes === 0) {
      this.#break('frame of 0 bytes holds no message');
      return false;
    }
    return true;
  }

  #break(reason: string): void {
    this.#brokenReason = reason;
    this.#buffer = undefined;
    this.#held = 0;
  }
}

function readLength(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 0x1000000 + (bytes[at + 1]! << 16) + (bytes[at + 2]! << 8) + bytes[at + 3]!;
}
