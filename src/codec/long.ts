/**
 * The 64-bit integers that protobufjs hands out, as numbers: exact up to 2^53, and past it still
 * past it.
 */

/** The part of protobufjs' Long that is needed. */
export interface Long {
  readonly low: number;
  readonly high: number;
}

const HIGH_UNIT = 2 ** 32;

/** The value of an unsigned Long. */
export function unsignedNumber(long: Long): number {
  return (long.high >>> 0) * HIGH_UNIT + (long.low >>> 0);
}

/** The value of a signed Long. */
export function signedNumber(long: Long): number {
  return long.high * HIGH_UNIT + (long.low >>> 0);
}
