import { describe, expect, it } from 'vitest';
import { renderText } from '../../../src/collector/cli/render-text.ts';

describe('renderText', () => {
  it('aligns values, indents groups and draws tables', () => {
    const text = renderText({
      headSeq: 1_234_567,
      lastCommitMs: 0,
      createdAtMs: 1_700_000_000_000,
      clean: true,
      absent: undefined,
      writers: [
        { name: 'influxdb', cursor: 12 },
        { name: 'parquet', cursor: 3, lagSamples: 9 },
      ],
      ledger: { received: 5, rejected: {} },
      gaps: [],
    });
    expect(text).toBe(
      [
        'head seq        1,234,567',
        'last commit ms  0',
        'created at ms   2023-11-14T22:13:20.000Z',
        'clean           true',
        'writers:',
        '  name      cursor  lag samples',
        '  influxdb  12      -',
        '  parquet   3       9',
        'ledger:',
        '  received  5',
        '  rejected  none',
        'gaps            none',
        '',
      ].join('\n'),
    );
  });
});
