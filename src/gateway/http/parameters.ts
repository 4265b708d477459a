/**
 * Parameters that several paths share. Each schema says what is allowed, in words that go into the
 * problem and into the OpenAPI description.
 */
import { z } from 'zod';

export const LIMIT_DEFAULT = 100;
export const LIMIT_MAX = 1000;
const LIST_MAX = 100;
const TEXT_MAX = 256;

/** How many rows an answer may have. */
export const limitParameter = z.coerce
  .number()
  .int()
  .min(1)
  .max(LIMIT_MAX)
  .default(LIMIT_DEFAULT)
  .describe(`Rows of one answer, 1 to ${LIMIT_MAX}.`);

/** Where the next page begins. */
export const cursorParameter = z
  .string()
  .max(4096)
  .optional()
  .describe('`meta.next_cursor` of the page before.');

/** Values joined by commas, or the parameter more than once. */
export function listParameter(description: string) {
  return z
    .union([z.string(), z.array(z.string())])
    .default([])
    .transform((value) => [value].flat().flatMap((text) => text.split(',')))
    .transform((values) => values.map((value) => value.trim()).filter((value) => value !== ''))
    .refine(
      (values) => values.length <= LIST_MAX && values.every((one) => one.length <= TEXT_MAX),
      {
        message: `must have at most ${LIST_MAX} values of at most ${TEXT_MAX} characters`,
      },
    )
    .describe(`${description} Several are joined by commas.`);
}

const RFC_3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/;

/** A time, RFC 3339 or Unix milliseconds; the value is Unix ms. */
export function timeParameter(description: string) {
  return z
    .string()
    .max(64)
    .transform((text) => parseTime(text))
    .refine((timeMs) => timeMs !== undefined, {
      message: 'must be a time, as 2026-11-24T12:00:00Z, or Unix milliseconds',
    })
    .optional()
    .describe(`${description} RFC 3339, or Unix milliseconds.`);
}

/** Unix ms; undefined where `text` is no time. */
export function parseTime(text: string): number | undefined {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  if (!RFC_3339.test(text)) return undefined;
  const timeMs = Date.parse(text.replace(' ', 'T'));
  return Number.isNaN(timeMs) ? undefined : timeMs;
}

const DURATION = /^(\d{1,9})(ms|s|m|h|d)?$/;
const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A duration such as `30s`, `5m`, `1h`; a bare number is seconds. The value is in ms. */
export function durationParameter(description: string) {
  return z
    .string()
    .transform((text) => {
      const [, digits, unit = 's'] = DURATION.exec(text) ?? [];
      const durationMs = Number(digits) * (DURATION_UNITS[unit] ?? Number.NaN);
      return durationMs > 0 ? durationMs : undefined;
    })
    .refine((durationMs) => durationMs !== undefined, {
      message: 'must be a duration over 0, such as 30s, 5m or 1h',
    })
    .optional()
    .describe(`${description} Such as \`30s\`, \`5m\`, \`1h\`.`);
}
