/**
 * Small batches for tests that care about delivery and not about content.
 */
import { encodeSeriesTable } from '../../src/codec/series-table.ts';
import type { SampleColumns, SeriesTable } from '../../src/domain/telemetry.ts';

/** A table of gauges `metric_0`, `metric_1` … */
export function gaugeTable(seriesCount: number): SeriesTable {
  return encodeSeriesTable(
    Array.from({ length: seriesCount }, (_, index) => ({
      name: `metric_${index}`,
      labels: [['gpu', String(index % 8)] as const],
      kind: 'gauge' as const,
      unit: 'W',
    })),
  );
}

/** One sample of each series, all with the same value. */
export function samplesOf(table: SeriesTable, value: number, timestampMs: number): SampleColumns {
  const count = table.series.length;
  return {
    series: Uint32Array.from({ length: count }, (_, index) => index),
    timestampsMs: new Float64Array(count).fill(timestampMs),
    values: new Float64Array(count).fill(value),
  };
}
