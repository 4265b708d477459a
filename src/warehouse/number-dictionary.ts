/**
 * The distinct numbers of a column in order of first appearance, and each row's index among them. A
 * hash table over the numbers' bits: a JavaScript Map costs several times as much per row, and
 * takes -0 for 0. Most rows are found without it: a gauge that stands still repeats its number, and
 * the times of each series are those of the series before.
 */

/** Indexes must fit what the bit packer can hold. */
const ENTRIES_MAX = 1 << 22;

export interface NumberDictionary {
  readonly entries: Float64Array;
  /** One per row. */
  readonly indexes: Uint32Array;
}

/** Undefined once more than `entriesMax` distinct numbers were seen: a dictionary would not pay. */
export function numberDictionary(
  values: Float64Array,
  entriesMax: number,
): NumberDictionary | undefined {
  const limit = Math.min(entriesMax, ENTRIES_MAX);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length * 2);
  const entries = new Float64Array(limit);
  const entryBits = new Uint32Array(entries.buffer);
  const indexes = new Uint32Array(values.length);
  let slots = new Int32Array(1024).fill(-1);
  let count = 0;
  let last = 0;
  for (let row = 0; row < values.length; row++) {
    const low = bits[row * 2]!;
    const high = bits[row * 2 + 1]!;
    if (!holds(entryBits, count, last, low, high)) last += 1;
    if (holds(entryBits, count, last, low, high)) {
      indexes[row] = last;
      continue;
    }
    const mask = slots.length - 1;
    let slot = hash(low, high) & mask;
    let index = slots[slot]!;
    while (index >= 0 && (entryBits[index * 2] !== low || entryBits[index * 2 + 1] !== high)) {
      slot = (slot + 1) & mask;
      index = slots[slot]!;
    }
    if (index < 0) {
      if (count === limit) return undefined;
      index = count++;
      entries[index] = values[row]!;
      slots[slot] = index;
      if (count * 2 > slots.length) slots = grownSlots(entryBits, count, slots.length * 4);
    }
    indexes[row] = index;
    last = index;
  }
  return { entries: entries.subarray(0, count), indexes };
}

/** Whether entry `index` is there and is this number. */
function holds(
  entryBits: Uint32Array,
  count: number,
  index: number,
  low: number,
  high: number,
): boolean {
  return index < count && entryBits[index * 2] === low && entryBits[index * 2 + 1] === high;
}

function grownSlots(entryBits: Uint32Array, count: number, size: number): Int32Array<ArrayBuffer> {
  const slots = new Int32Array(size).fill(-1);
  for (let index = 0; index < count; index++) {
    let slot = hash(entryBits[index * 2]!, entryBits[index * 2 + 1]!) & (size - 1);
    while (slots[slot]! >= 0) slot = (slot + 1) & (size - 1);
    slots[slot] = index;
  }
  return slots;
}

function hash(low: number, high: number): number {
  const mixed = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}
