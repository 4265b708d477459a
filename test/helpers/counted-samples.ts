/**
 * Batches whose every sample is told apart from every other, so that a loss, a double or a changed
 * value shows: node, series and time identify a sample, and the value is unique within its node.
 */
import { encodeSeriesTable } from '../../src/codec/series-table.ts';
import type { SampleColumns, SeriesTable } from '../../src/domain/telemetry.ts';

export interface CountedSamples {
  readonly table: SeriesTable;
  /** The next batch: one sample of each series, 1 ms after the batch before. */
  next(): SampleColumns;
}

export function countedSamples(seriesCount: number, startMs: number): CountedSamples {
  const table = encodeSeriesTable(
    Array.from({ length: seriesCount }, (_, index) => ({
      name: `test_metric_${String(index).padStart(3, '0')}`,
      labels: [['gpu_uuid', `GPU-${index % 8}`]] as const,
      kind: 'gauge' as const,
      unit: '1',
    })),
  );
  let round = 0;
  return {
    table,
    next() {
      const timestampMs = startMs + round;
      const firstValue = round * seriesCount;
      round += 1;
      return {
        series: Uint32Array.from({ length: seriesCount }, (_, index) => index),
        timestampsMs: new Float64Array(seriesCount).fill(timestampMs),
        values: Float64Array.from({ length: seriesCount }, (_, index) => firstValue + index),
      };
    },
  };
}
