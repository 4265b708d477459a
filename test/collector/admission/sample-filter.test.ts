import { describe, expect, it } from 'vitest';
import { filterSeries, filterValues } from '../../../src/collector/admission/sample-filter.ts';
import { encodeSeriesTable } from '../../../src/codec/series-table.ts';
import type { SampleColumns } from '../../../src/domain/telemetry.ts';

const TABLE = encodeSeriesTable(
  ['DCGM_FI_DEV_GPU_TEMP', 'node_network_receive_bytes_total', 'dcgm_gpu_temp'].map((name) => ({
    name,
    labels: [['gpu', '0']],
    kind: 'gauge',
    unit: '',
  })),
);
const DCGM = 0;
const HOST = 1;
const OLD_DCGM = 2;
const WINDOW = { oldestMs: 1000, newestMs: 2000 };

function samplesOf(...rows: [series: number, timestampMs: number, value: number][]): SampleColumns {
  return {
    series: Uint32Array.from(rows, ([series]) => series),
    timestampsMs: Float64Array.from(rows, ([, timestampMs]) => timestampMs),
    values: Float64Array.from(rows, ([, , value]) => value),
  };
}

/** The reason that a single sample is refused for. */
function reasonFor(series: number, value: number, timestampMs = 1500): string | undefined {
  return filterValues(TABLE, samplesOf([series, timestampMs, value]), WINDOW).rejections[0]?.reason;
}

describe('filterValues', () => {
  it('passes the same columns on where nothing is wrong', () => {
    const samples = samplesOf([DCGM, 1000, 0], [HOST, 2000, -1e300]);
    const result = filterValues(TABLE, samples, WINDOW);
    expect(result.samples).toBe(samples);
    expect(result.rejections).toEqual([]);
  });

  it('refuses what is not a number or not finite', () => {
    expect(reasonFor(HOST, Number.NaN)).toBe('not_a_number');
    expect(reasonFor(HOST, Number.POSITIVE_INFINITY)).toBe('infinite');
    expect(reasonFor(HOST, Number.NEGATIVE_INFINITY)).toBe('infinite');
    expect(reasonFor(HOST, Number.MAX_SAFE_INTEGER)).toBeUndefined();
  });

  it('refuses times outside the window, whose bounds belong to it', () => {
    expect(reasonFor(HOST, 1, 999)).toBe('too_old');
    expect(reasonFor(HOST, 1, 1000)).toBeUndefined();
    expect(reasonFor(HOST, 1, 2000)).toBeUndefined();
    expect(reasonFor(HOST, 1, 2001)).toBe('too_far_ahead');
  });

  it.each([DCGM, OLD_DCGM])('refuses the exact blanks of DCGM metrics (series %d)', (series) => {
    for (const blank of [2_147_483_632, 2_147_483_635, 2_147_483_647, 2 ** 47, 2 ** 47 + 15]) {
      expect(reasonFor(series, blank), String(blank)).toBe('sentinel');
    }
    for (const real of [2_147_483_631, 2_147_483_648, 2 ** 47 - 1, 2 ** 47 + 16, 1e17]) {
      expect(reasonFor(series, real), String(real)).toBeUndefined();
    }
  });

  it('lets a counter that is not of DCGM pass through the numbers that are blanks elsewhere', () => {
    for (const real of [2_147_483_632, 2_147_483_647, 2 ** 47, 2 ** 47 + 15, 2 ** 60]) {
      expect(reasonFor(HOST, real), String(real)).toBeUndefined();
    }
  });

  it('refuses the int64 blanks, which round to 2^63, of every series', () => {
    for (const text of ['9223372036854775792', '9223372036854775794', '9223372036854775807']) {
      expect(reasonFor(HOST, Number(text)), text).toBe('sentinel');
      expect(reasonFor(DCGM, Number(text)), text).toBe('sentinel');
    }
  });

  it('refuses nothing because it is large, or negative', () => {
    const values = [2 ** 63 + 2 ** 11, 2 ** 63 - 2 ** 10, 2 ** 64, 1e300, -(2 ** 63), -(2 ** 47)];
    for (const real of [...values, -2_147_483_632, 1e6, Number.MAX_VALUE]) {
      expect(reasonFor(HOST, real), String(real)).toBeUndefined();
      expect(reasonFor(DCGM, real), String(real)).toBeUndefined();
    }
  });

  it('keeps the rest in order, and counts each reason with its first series', () => {
    const samples = samplesOf(
      [HOST, 1500, 1],
      [DCGM, 1500, Number.NaN],
      [HOST, 1600, 2],
      [HOST, 1700, Number.NaN],
      [OLD_DCGM, 10, 3],
      [DCGM, 1800, 4],
    );
    const result = filterValues(TABLE, samples, WINDOW);
    expect(result.samples).toEqual(samplesOf([HOST, 1500, 1], [HOST, 1600, 2], [DCGM, 1800, 4]));
    expect(result.rejections).toEqual([
      { reason: 'not_a_number', count: 2, firstSeries: 'DCGM_FI_DEV_GPU_TEMP{gpu="0"}' },
      { reason: 'too_old', count: 1, firstSeries: 'dcgm_gpu_temp{gpu="0"}' },
    ]);
    expect(samples.values[1]).toBeNaN();
  });

  it('can refuse everything', () => {
    const result = filterValues(TABLE, samplesOf([HOST, 0, 1]), WINDOW);
    expect(result.samples.values).toHaveLength(0);
  });
});

describe('filterSeries', () => {
  it('drops the samples of series that are not admitted', () => {
    const samples = samplesOf([DCGM, 1500, 1], [HOST, 1500, 2], [DCGM, 1600, 3]);
    const result = filterSeries(TABLE, samples, Uint8Array.of(0, 1, 1), 'cardinality_node');
    expect(result.samples).toEqual(samplesOf([HOST, 1500, 2]));
    expect(result.rejections).toEqual([
      { reason: 'cardinality_node', count: 2, firstSeries: 'DCGM_FI_DEV_GPU_TEMP{gpu="0"}' },
    ]);
  });

  it('passes the same columns on where the refused series have no samples', () => {
    const samples = samplesOf([HOST, 1500, 2]);
    const result = filterSeries(TABLE, samples, Uint8Array.of(0, 1, 0), 'cardinality_node');
    expect(result.samples).toBe(samples);
    expect(result.rejections).toEqual([]);
  });
});
