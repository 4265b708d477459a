/**
 * Telling a value from the many spellings of "there is none". A missing value becomes no reading;
 * it never becomes 0, 9.2e18 or 1.4e14.
 */

/** What text in a value's place can turn out to be. */
export type ParsedValue = { readonly ok: true; readonly value: number } | NoValue;

/** Why there is no value; few and stable, so that they can be counted by. */
export type NoValueReason = 'no value' | 'sentinel' | 'not a number' | 'infinite';
export interface NoValue {
  readonly ok: false;
  readonly why: NoValueReason;
}

export interface ParseValueOptions {
  /**
   * Whether DCGM's own blanks are looked for. Only where the number comes from DCGM: elsewhere
   * 2147483647 is an honest file descriptor limit and 2e14 an honest byte count.
   */
  readonly dcgm: boolean;
}

/** nvidia-smi, rocm-smi, spreadsheets and DCGM, in lower case. */
const BLANK_TEXTS: ReadonlySet<string> = new Set([
  '',
  'n/a',
  '[n/a]',
  'err!',
  '[err!]',
  '[not supported]',
  'not supported',
  '[not found]',
  '[requested functionality has been deprecated]',
  '[insufficient permissions]',
  '[gpu requires reset]',
  '[gpu is lost]',
  '[unknown error]',
  'unknown error',
]);

/**
 * DCGM's string blanks: `<<<NULL>>>`, `<<<NOT_FOUND>>>`, `<<<NOT_SUPPORTED>>>`, `<<<NOT_PERM>>>`.
 */
const DCGM_STRING_BLANK = /^<<<.*>>>$/;

/** Whether `text` is a known way of saying that there is no value. "NaN" is not one of them. */
export function isBlankText(text: string): boolean {
  const trimmed = text.trim();
  return BLANK_TEXTS.has(trimmed.toLowerCase()) || DCGM_STRING_BLANK.test(trimmed);
}

/**
 * No two parts can take the same digit: a long row of them would otherwise be tried in all cuts.
 */
const DECIMAL = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;
const INTEGER = /^\+?\d{10,40}$/;
const INFINITE = /^[+-]?inf(?:inity)?$/i;

/**
 * Reads the decimal number that `text` is, blanks around it aside. Stricter than `Number()`, which
 * takes '' for 0 and understands hexadecimal.
 */
export function parseMetricValue(text: string, options: ParseValueOptions): ParsedValue {
  const trimmed = text.trim();
  if (!DECIMAL.test(trimmed)) return { ok: false, why: whyNoNumber(trimmed) };
  if (options.dcgm && isDcgmSentinel(trimmed)) return { ok: false, why: 'sentinel' };
  const value = Number(trimmed);
  return Number.isFinite(value) ? { ok: true, value } : { ok: false, why: 'infinite' };
}

function whyNoNumber(trimmed: string): NoValueReason {
  if (isBlankText(trimmed)) return 'no value';
  return INFINITE.test(trimmed) ? 'infinite' : 'not a number';
}

/**
 * The blank and the 15 codes that DCGM reserves after it (not found, not supported, no
 * permission…).
 */
const RESERVED_CODES = 15n;
const INT32_BLANK = 0x7ffffff0n;
const INT64_BLANK = 0x7ffffffffffffff0n;
const FP64_BLANK = 140_737_488_355_328n;
/** What every int64 blank becomes as a double. */
const INT64_BLANK_ROUNDED = 2 ** 63;

/**
 * Whether decimal `text` is one of DCGM's blanks. Integers are compared as integers: as doubles,
 * the int64 blanks cannot be distinguished from 2^63. The double blank is a lower bound in DCGM,
 * but only text with a decimal point is surely a DCGM double; for other text the bound would
 * swallow byte counters past 140 TB, so there only the reserved codes themselves count.
 */
export function isDcgmSentinel(text: string): boolean {
  if (INTEGER.test(text)) {
    const value = BigInt(text.startsWith('+') ? text.slice(1) : text);
    return value >= INT64_BLANK || isReserved(value, INT32_BLANK) || isReserved(value, FP64_BLANK);
  }
  const value = Number(text);
  if (value >= INT64_BLANK_ROUNDED) return Number.isFinite(value);
  if (text.includes('.') && !/e/i.test(text)) {
    return value >= Number(FP64_BLANK) || isReservedNumber(value, INT32_BLANK);
  }
  return isReservedNumber(value, FP64_BLANK) || isReservedNumber(value, INT32_BLANK);
}

function isReserved(value: bigint, blank: bigint): boolean {
  return value >= blank && value <= blank + RESERVED_CODES;
}

function isReservedNumber(value: number, blank: bigint): boolean {
  return Number.isInteger(value) && isReserved(BigInt(value), blank);
}
