import { describe, expect, it } from 'vitest';
import { BatchDecoder } from '../../src/codec/decode-batch.ts';
import { encodeSeriesTable } from '../../src/codec/series-table.ts';
import type { Series } from '../../src/domain/telemetry.ts';
import { bytesField, TEST_LIMITS, wireBatch } from '../helpers/wire-batch.ts';

const gauge = (name: string, labels: Series['labels'] = []): Series => {
  return { name, labels, kind: 'gauge', unit: '' };
};

function decodeTable(series: readonly Series[], limits: Partial<typeof TEST_LIMITS>) {
  const frame = Buffer.concat([wireBatch({}), bytesField(5, encodeSeriesTable(series).bytes)]);
  const result = new BatchDecoder({ ...TEST_LIMITS, ...limits }).decode(frame);
  return result.ok ? result.batch.table.series.length : `${result.reason}: ${result.message}`;
}

describe('a series table', () => {
  it('may have so many series and not one more', () => {
    const series = ['a', 'b', 'c'].map((name) => gauge(name));
    expect(decodeTable(series, { maxSeries: 3 })).toBe(3);
    expect(decodeTable(series, { maxSeries: 2 })).toBe('bad_series: table has more than 2 series');
  });

  it('may stand for so much text, however little of it is on the wire', () => {
    const labels = [['k', 'v'.repeat(60)]] as const;
    const series = Array.from({ length: 100 }, () => gauge('n', labels));
    expect(decodeTable(series, { maxTextCharacters: 6200 })).toBe(100);
    expect(decodeTable(series, { maxTextCharacters: 6199 })).toBe(
      'bad_series: names and labels up to series 99 come to 6200 characters, over the limit of 6199',
    );
  });

  it('may stand for so much text for each of its bytes', () => {
    const labels = [['k', 'v'.repeat(60)]] as const;
    const series = Array.from({ length: 2000 }, () => gauge('n', labels));
    // 2000 series of 10 bytes and 62 characters, and 64 Ki characters that every table may have.
    expect(decodeTable(series, { maxTextPerByte: 3 })).toBe(2000);
    expect(decodeTable(series, { maxTextPerByte: 2 })).toMatch(
      /^bad_series: names and labels up to/,
    );
  });
});
