/**
 * The simulated node as a source: what `simulateColumns` computes, as readings stamped now.
 */
import type { Clock } from '../../lib/clock.ts';
import type { Labels } from '../../domain/telemetry.ts';
import type { Reading, Source, SourceReport } from '../../client/reading.ts';
import { type SimulateOptions, simulateColumns } from './simulate-columns.ts';

/** Starts a simulated node. Throws SOURCE_OPTIONS. */
export function openSimulateSource(options: SimulateOptions, clock: Clock): Source {
  const columns = simulateColumns(options, clock.nowMs());
  let values = new Float64Array(0);
  let labelsOf = new Map<Labels, Readonly<Record<string, string>>>();
  return {
    name: 'simulate',
    async collect(): Promise<SourceReport> {
      const timestampMs = clock.nowMs();
      columns.advance(timestampMs);
      const { series } = columns;
      if (values.length !== series.length) values = new Float64Array(series.length);
      // All metrics of a GPU share one label list; a job's end makes new ones.
      if (!labelsOf.has(series[0]?.labels ?? [])) labelsOf = new Map();
      columns.fill(values);
      const readings = series.map(({ name, labels, kind, unit }, index): Reading => {
        const record = labelsOf.get(labels) ?? Object.fromEntries(labels);
        labelsOf.set(labels, record);
        return { name, labels: record, kind, unit, timestampMs, value: values[index] ?? 0 };
      });
      return { readings, skipped: [], done: false };
    },
    async close() {},
  };
}
