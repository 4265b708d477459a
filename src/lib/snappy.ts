/**
 * Compresses in Snappy's raw format, as Parquet pages hold it. Pure.
 *
 *     length of the input as a varint, then elements:
 *     literal   length - 1 in six bits, or in up to four bytes behind the tag; the bytes
 *     copy      of 4 to 11 bytes from less than 2 KiB before, in two bytes
 *     copy      of up to 64 bytes from less than 64 KiB before, in three bytes
 *
 * The compressor of hyparquet-writer puts each byte by a call into a buffer that grows anew for
 * each page.
 */

const HASH_BITS_MAX = 14;
const OFFSET_MAX = 0xffff;
/** Literals at the end of the input are not searched for copies. */
const MARGIN = 15;
/** After so many places without a match the search leaves places out, one more each time. */
const PATIENCE = 32;

/** Compresses one page after the other; a result is valid until the next call. */
export class SnappyCompressor {
  /** By hash of four bytes: one more than where they were seen last; 0 is never. */
  readonly #seen = new Uint32Array(1 << HASH_BITS_MAX);
  #out = new Uint8Array(0);
  #at = 0;

  /** Returns the compressed form of `input`, in memory of the compressor. */
  compress(input: Uint8Array): Uint8Array {
    const bytesMax = 32 + input.length + Math.ceil(input.length / 6);
    if (this.#out.length < bytesMax) this.#out = new Uint8Array(bytesMax);
    this.#at = 0;
    this.#putVarint(input.length);
    const literalFrom = input.length > MARGIN ? this.#putMatches(input) : 0;
    this.#putLiteral(input, literalFrom, input.length);
    return this.#out.subarray(0, this.#at);
  }

  /** Returns the end of what has been put. */
  #putMatches(input: Uint8Array): number {
    const view = new DataView(input.buffer, input.byteOffset, input.length);
    // Small pages need a small table, which costs less to empty.
    const hashBits = Math.min(HASH_BITS_MAX, 32 - Math.clz32(input.length));
    const seen = this.#seen.fill(0, 0, 1 << hashBits);
    const searchEnd = input.length - MARGIN;
    let literalFrom = 0;
    let misses = PATIENCE;
    for (let at = 0; at < searchEnd; ) {
      const bytes = view.getUint32(at, true);
      const slot = Math.imul(bytes, 0x1e35a7bd) >>> (32 - hashBits);
      const candidate = seen[slot]! - 1;
      seen[slot] = at + 1;
      const isMatch =
        candidate >= 0 && at - candidate <= OFFSET_MAX && view.getUint32(candidate, true) === bytes;
      if (!isMatch) {
        at += misses++ >>> 5;
        continue;
      }
      const length = matchLength(view, candidate, at);
      this.#putLiteral(input, literalFrom, at);
      this.#putCopy(at - candidate, length);
      at += length;
      literalFrom = at;
      misses = PATIENCE;
    }
    return literalFrom;
  }

  #putVarint(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 128)) this.#out[this.#at++] = rest | 0x80;
    this.#out[this.#at++] = rest;
  }

  #putLiteral(input: Uint8Array, from: number, to: number): void {
    if (from === to) return;
    const out = this.#out;
    const last = to - from - 1;
    const lengthBytes = last < 60 ? 0 : last < 0x100 ? 1 : last < 0x1_0000 ? 2 : 4;
    out[this.#at++] = (lengthBytes === 0 ? last : 59 + lengthBytes) << 2;
    for (let byte = 0; byte < lengthBytes; byte++) out[this.#at++] = last >>> (byte * 8);
    if (to - from > 64) out.set(input.subarray(from, to), this.#at);
    else for (let i = from, at = this.#at; i < to; i++, at++) out[at] = input[i]!;
    this.#at += to - from;
  }

  #putCopy(offset: number, length: number): void {
    let left = length;
    // What is left over must be 4 bytes or more, the least of a short copy.
    for (; left >= 68; left -= 64) this.#putLongCopy(offset, 64);
    if (left > 64) {
      this.#putLongCopy(offset, 60);
      left -= 60;
    }
    if (left >= 12 || offset >= 2048) this.#putLongCopy(offset, left);
    else {
      this.#out[this.#at++] = 1 | ((left - 4) << 2) | ((offset >>> 8) << 5);
      this.#out[this.#at++] = offset;
    }
  }

  #putLongCopy(offset: number, length: number): void {
    this.#out[this.#at++] = 2 | ((length - 1) << 2);
    this.#out[this.#at++] = offset;
    this.#out[this.#at++] = offset >>> 8;
  }
}

/** How many bytes from `at` on are those from `candidate` on; the first four are known to be. */
function matchLength(view: DataView, candidate: number, at: number): number {
  const end = view.byteLength;
  let length = 4;
  while (
    at + length + 4 <= end &&
    view.getUint32(candidate + length, true) === view.getUint32(at + length, true)
  ) {
    length += 4;
  }
  while (at + length < end && view.getUint8(candidate + length) === view.getUint8(at + length)) {
    length += 1;
  }
  return length;
}
