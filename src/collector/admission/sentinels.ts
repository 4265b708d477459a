/**
 * Numbers that DCGM writes where it has no reading: not supported, no permission, not found. They
 * look like values and must never become one.
 */

/** Every sentinel is at least this: the cheap first question of a hot loop. */
export const SMALLEST_SENTINEL = 2_147_483_632;

const INT32_BLANK = { first: SMALLEST_SENTINEL, last: 2_147_483_647 };
const FP64_BLANK = { first: 2 ** 47, last: 2 ** 47 + 15 };
/** The int64 blanks (2^63 - 16 and up) are no doubles; all of them arrive rounded to this. */
const INT64_BLANK_ROUNDED = 2 ** 63;

/**
 * Whether a value stands for "no reading"; docs/protocol.md has the table for clients. Only exact
 * values count, never "from here upwards". The int32 and FP64 blanks count only for DCGM's own
 * metrics: a host's byte counter passes 2^31 within seconds and 2^47 within weeks, and must not
 * stop there. 2^63 counts for every metric, because people rename DCGM's, and a reading that is
 * exactly this number is always somebody's largest integer.
 */
export function isSentinel(value: number, metricName: string): boolean {
  if (value < SMALLEST_SENTINEL) return false;
  if (value === INT64_BLANK_ROUNDED) return true;
  const isBlank =
    (value <= INT32_BLANK.last && value >= INT32_BLANK.first) ||
    (value <= FP64_BLANK.last && value >= FP64_BLANK.first);
  return isBlank && isDcgmMetric(metricName);
}

function isDcgmMetric(name: string): boolean {
  return name.startsWith('DCGM_') || name.startsWith('dcgm_');
}
