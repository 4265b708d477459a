import { describe, expect, test } from 'vitest';
import {
  isBlankText,
  isDcgmSentinel,
  parseMetricValue,
} from '../../../src/agent/sources/blank-values.ts';

const BLANKS = [
  ...['', '   ', '[N/A]', 'N/A', 'n/a', '[Not Supported]', 'ERR!', '[Unknown Error]'],
  '[Requested functionality has been deprecated]',
  ...['[Insufficient Permissions]', '[GPU requires reset]', '<<<NULL>>>', '<<<NOT_SUPPORTED>>>'],
];

describe('a missing value', () => {
  test.each(BLANKS)('is recognised as %j', (text) => {
    expect(isBlankText(text)).toBe(true);
    expect(parseMetricValue(text, { dcgm: false })).toEqual({ ok: false, why: 'no value' });
  });

  test.each(['0', 'na', 'none', 'default', 'GPU-1', '-'])('is not seen in %j', (text) => {
    expect(isBlankText(text)).toBe(false);
  });

  test.each(['NaN', 'nan', '0x10', '1_000', '1,5', '12 MiB', '--1', '1e', '.', 'true'])(
    'is not a number as %j',
    (text) => {
      expect(parseMetricValue(text, { dcgm: true })).toEqual({ ok: false, why: 'not a number' });
    },
  );

  test.each(['+Inf', '-Inf', 'inf', 'Infinity', '1e999'])('is infinite as %j', (text) => {
    expect(parseMetricValue(text, { dcgm: true })).toEqual({ ok: false, why: 'infinite' });
  });
});

test.each([
  ['75', 75],
  [' 75', 75],
  ['1e-7', 1e-7],
  ['8.969000', 8.969],
  ['-3.', -3],
  ['.5', 0.5],
  ['+1.98e+09', 1.98e9],
  ['0', 0],
])('%j is a number', (text, value) => {
  expect(parseMetricValue(text, { dcgm: true })).toEqual({ ok: true, value });
});

describe('DCGM sentinels', () => {
  test.each([
    ...['2147483632', '2147483633', '2147483647', '2147483634.000000'],
    ...['9223372036854775792', '9223372036854775794', '9223372036854775807'],
    // As they look after somebody carried them as a double.
    ...['9223372036854775808', '9223372036854776000', '9.223372036854776e+18'],
    ...['140737488355328.000000', '140737488355330.0', '140737488355328', '1.40737488355328e+14'],
  ])('%s is one', (text) => {
    expect(isDcgmSentinel(text)).toBe(true);
    expect(parseMetricValue(text, { dcgm: true })).toEqual({ ok: false, why: 'sentinel' });
    expect(parseMetricValue(text, { dcgm: false }).ok).toBe(true);
  });

  test.each([
    // One below the int64 blank: as a double it would be the same number.
    '9223372036854775791',
    ...['2147483631', '2147483648', '3000000000'],
    // Byte counters pass the double's bound after minutes on NVLink.
    ...['140737488355327', '150000000000000', '1.5e+14', '140737488355327.5'],
    ...['0', '-1', '691.500000', '-9223372036854775808'],
  ])('%s is a value', (text) => {
    expect(isDcgmSentinel(text)).toBe(false);
  });
});
