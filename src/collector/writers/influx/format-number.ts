/**
 * Doubles as decimal text, straight into a buffer. Whole numbers and readings with up to three
 * decimals, which is nearly all telemetry, never become a string; the rest goes through the
 * engine's shortest form. Whatever way is taken, the text reads back as the same double (-0 as 0).
 */

/** No number takes more bytes than this. */
export const MAX_NUMBER_BYTES = 26;

/** Writes `value`, which is finite, at `at`; returns the position behind it. */
export function writeNumber(out: Uint8Array, at: number, value: number): number {
  let position = at;
  let magnitude = value;
  if (value < 0) {
    out[position++] = MINUS;
    magnitude = -value;
  }
  if (magnitude <= Number.MAX_SAFE_INTEGER) {
    if (Math.floor(magnitude) === magnitude) return writeInteger(out, position, magnitude);
    // A double equal to thousandths / 1000 is the nearest one to that decimal, so it reads back.
    const thousandths = Math.round(magnitude * 1000);
    if (thousandths <= MAX_INT32 && thousandths / 1000 === magnitude) {
      return writeThousandths(out, position, thousandths);
    }
  }
  const text = String(magnitude);
  for (let i = 0; i < text.length; i++) out[position + i] = text.charCodeAt(i);
  return position + text.length;
}

/** Writes a whole number from 0 to 2^53 - 1. */
export function writeInteger(out: Uint8Array, at: number, value: number): number {
  if (value <= MAX_INT32) return writeInt32(out, at, value | 0);
  const high = Math.floor(value / 1e9);
  const middle = writeInt32(out, at, high);
  return writeDigits(out, middle, value - high * 1e9, 9);
}

const ZERO = 48;
const MINUS = 45;
const POINT = 46;
const MAX_INT32 = 0x7fffffff;

function writeInt32(out: Uint8Array, at: number, value: number): number {
  if (value < 10) {
    out[at] = ZERO + value;
    return at + 1;
  }
  return writeDigits(out, at, value, countDigits(value));
}

function writeDigits(out: Uint8Array, at: number, value: number, digits: number): number {
  let rest = value | 0;
  for (let i = at + digits - 1; i >= at; i--) {
    const tenth = (rest / 10) | 0;
    out[i] = ZERO + rest - tenth * 10;
    rest = tenth;
  }
  return at + digits;
}

function countDigits(value: number): number {
  if (value < 10_000) return value < 100 ? 2 : value < 1000 ? 3 : 4;
  if (value < 10_000_000) return value < 100_000 ? 5 : value < 1_000_000 ? 6 : 7;
  return value < 100_000_000 ? 8 : value < 1_000_000_000 ? 9 : 10;
}

function writeThousandths(out: Uint8Array, at: number, thousandths: number): number {
  const whole = (thousandths / 1000) | 0;
  let position = writeInt32(out, at, whole);
  out[position++] = POINT;
  position = writeDigits(out, position, thousandths - whole * 1000, 3);
  while (out[position - 1] === ZERO) position -= 1;
  return position;
}
