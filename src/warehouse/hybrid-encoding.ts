/**
 * Parquet's RLE/bit-packing hybrid for levels and dictionary indexes, from runs or from an array.
 * Pure. A run is `count << 1` and the value in whole bytes; a bit-packed stretch is `groups << 1 |
 * 1` and groups of eight values, lowest bits first.
 */

/** Equal values in a row: cheaper as a run than bit-packed. */
const RUN_MIN = 8;

/** Bits that hold every index into a dictionary of `entries`. */
export function indexBits(entries: number): number {
  return entries <= 1 ? 0 : 32 - Math.clz32(entries - 1);
}

/** Encodes runs: `counts[i]` times `values[i]`. */
export function encodeRuns(values: Uint32Array, counts: Uint32Array, bits: number): Uint8Array {
  const width = (bits + 7) >> 3;
  const out = new Uint8Array(values.length * (5 + width));
  let at = 0;
  for (let i = 0; i < values.length; i++) at = putRun(out, at, values[i]!, counts[i]!, width);
  return out.subarray(0, at);
}

/**
 * Encodes `indexes` behind a byte that holds `bits`, as the values of a dictionary-encoded page.
 */
export function encodeIndexes(indexes: Uint32Array, bits: number): Uint8Array {
  const width = (bits + 7) >> 3;
  const rows = indexes.length;
  // A run costs at most what its eight values cost packed, but for its header.
  const out = new Uint8Array(16 + Math.ceil((rows + 8) / 8) * (Math.max(bits, width) + 6));
  out[0] = bits;
  let at = 1;
  let packedFrom = 0;
  for (let row = 0; row < rows; ) {
    const value = indexes[row]!;
    let end = row + 1;
    while (end < rows && indexes[end] === value) end++;
    if (end - row < RUN_MIN) {
      // Bit-packing goes by groups of eight, so that only a whole group can precede a run.
      row += 8;
      continue;
    }
    if (row > packedFrom) at = putPacked(out, at, indexes, packedFrom, row, bits);
    at = putRun(out, at, value, end - row, width);
    row = end;
    packedFrom = end;
  }
  if (packedFrom < rows) at = putPacked(out, at, indexes, packedFrom, rows, bits);
  return out.subarray(0, at);
}

function putRun(out: Uint8Array, at: number, value: number, count: number, width: number): number {
  let next = putVarint(out, at, count * 2);
  for (let byte = 0; byte < width; byte++) out[next++] = (value >>> (byte * 8)) & 0xff;
  return next;
}

/** Packs indexes [from, to); a last group that is not full is filled up with zeros. */
function putPacked(
  out: Uint8Array,
  at: number,
  indexes: Uint32Array,
  from: number,
  to: number,
  bits: number,
): number {
  const groups = (to - from + 7) >> 3;
  let next = putVarint(out, at, groups * 2 + 1);
  const end = next + groups * bits;
  let pending = 0;
  let pendingBits = 0;
  for (let i = from; i < to; i++) {
    // At most 7 bits are pending and an index has at most 24, so 31 bits suffice.
    pending |= indexes[i]! << pendingBits;
    pendingBits += bits;
    while (pendingBits >= 8) {
      out[next++] = pending & 0xff;
      pending >>>= 8;
      pendingBits -= 8;
    }
  }
  if (pendingBits > 0) out[next] = pending & 0xff;
  return end;
}

function putVarint(out: Uint8Array, at: number, value: number): number {
  let rest = value;
  let next = at;
  while (rest >= 0x80) {
    out[next++] = (rest & 0x7f) | 0x80;
    rest = Math.floor(rest / 128);
  }
  out[next++] = rest;
  return next;
}
