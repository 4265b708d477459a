/**
 * Columns of a batch: packed protobuf numbers to typed arrays and back. Free functions over bytes;
 * one pass, nothing allocated.
 */

/** No reading of a clock is further from 1970 than this; the range of a JavaScript Date. */
export const MAX_TIMESTAMP_MS = 8.64e15;

const MAX_VARINT32_BYTES = 5;
const MAX_VARINT64_BYTES = 10;

/**
 * Reads packed uint32 values from `bytes[start, end)` into `out`. Returns how many there are, where
 * `out.length + 1` means "more than fit", or -1 where the bytes are not packed uint32 values.
 */
export function readPackedUint32(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: Uint32Array,
): number {
  let count = 0;
  for (let position = start; position < end; count += 1) {
    if (count === out.length) return count + 1;
    const first = bytes[position]!;
    position += 1;
    if (first < 0x80) {
      out[count] = first;
      continue;
    }
    let value = first & 0x7f;
    let scale = 0x80;
    let byte = first;
    for (let length = 1; byte >= 0x80; length += 1) {
      if (position >= end || length === MAX_VARINT32_BYTES) return -1;
      byte = bytes[position]!;
      position += 1;
      value += (byte & 0x7f) * scale;
      scale *= 0x80;
    }
    if (value > 0xffffffff) return -1;
    out[count] = value;
  }
  return count;
}

/**
 * Reads packed sint64 differences and writes their running sums into `out`. Returns as
 * `readPackedUint32` does. A sum that is no possible time is written all the same: look for it with
 * `firstImpossibleTime`.
 */
export function readPackedTimes(
  bytes: Uint8Array,
  start: number,
  end: number,
  out: Float64Array,
): number {
  let count = 0;
  let time = 0;
  for (let position = start; position < end; count += 1) {
    if (count === out.length) return count + 1;
    const first = bytes[position]!;
    position += 1;
    // Zigzag: the lowest bit is the sign, and it is in the first byte. What is above it fits a
    // double exactly for every possible time, while the whole would not.
    let half = (first & 0x7f) >>> 1;
    let scale = 0x40;
    let byte = first;
    for (let length = 1; byte >= 0x80; length += 1) {
      if (position >= end || length === MAX_VARINT64_BYTES) return -1;
      byte = bytes[position]!;
      position += 1;
      half += (byte & 0x7f) * scale;
      scale *= 0x80;
    }
    time += (first & 1) === 0 ? half : -half - 1;
    out[count] = time;
  }
  return count;
}

/** Index of the first entry that is `bound` or more; -1 where there is none. */
export function firstAtLeast(column: Uint32Array, bound: number): number {
  for (let index = 0; index < column.length; index += 1) {
    if (column[index]! >= bound) return index;
  }
  return -1;
}

/** Index of the first time that no clock can show; -1 where there is none. */
export function firstImpossibleTime(column: Float64Array): number {
  for (let index = 0; index < column.length; index += 1) {
    const time = column[index]!;
    if (!(time <= MAX_TIMESTAMP_MS && time >= -MAX_TIMESTAMP_MS)) return index;
  }
  return -1;
}

/** Bytes that `writePackedUint32` will need. */
export function packedUint32Bytes(column: Uint32Array): number {
  let bytes = 0;
  for (let index = 0; index < column.length; index += 1) bytes += varintBytes(column[index]!);
  return bytes;
}

/** Writes `column` as packed uint32 at `offset`; returns the offset behind it. */
export function writePackedUint32(target: Uint8Array, offset: number, column: Uint32Array): number {
  let position = offset;
  for (let index = 0; index < column.length; index += 1) {
    position = writeVarint(target, position, column[index]!);
  }
  return position;
}

/** Bytes that `writePackedTimes` will need. */
export function packedTimesBytes(timestampsMs: Float64Array): number {
  let bytes = 0;
  let previous = 0;
  for (let index = 0; index < timestampsMs.length; index += 1) {
    const time = timestampsMs[index]!;
    const delta = time - previous;
    previous = time;
    const half = delta >= 0 ? delta : -delta - 1;
    bytes += half < 0x40 ? 1 : 1 + varintBytes(Math.floor(half / 0x40));
  }
  return bytes;
}

/**
 * Writes times (whole ms) as packed sint64 differences at `offset`; returns the offset behind them.
 */
export function writePackedTimes(
  target: Uint8Array,
  offset: number,
  timestampsMs: Float64Array,
): number {
  let position = offset;
  let previous = 0;
  for (let index = 0; index < timestampsMs.length; index += 1) {
    const time = timestampsMs[index]!;
    const delta = time - previous;
    previous = time;
    const sign = delta >= 0 ? 0 : 1;
    const half = delta >= 0 ? delta : -delta - 1;
    if (half < 0x40) {
      target[position] = (half << 1) | sign;
      position += 1;
      continue;
    }
    target[position] = 0x80 | ((half % 0x40) << 1) | sign;
    position = writeVarint(target, position + 1, Math.floor(half / 0x40));
  }
  return position;
}

/** Bytes of a whole number from 0 to 2^53 as a varint. */
export function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes += 1;
  return bytes;
}

/** Writes a whole number from 0 to 2^53 at `offset`; returns the offset behind it. */
export function writeVarint(target: Uint8Array, offset: number, value: number): number {
  let position = offset;
  let rest = value;
  while (rest >= 0x80) {
    target[position] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
    position += 1;
  }
  target[position] = rest;
  return position + 1;
}
