/**
 * A Hello as a collector with its default settings sends it, for tests that change parts of it.
 */
import type { Hello } from '../../src/domain/telemetry.ts';

export const TEST_HELLO: Hello = {
  schemaVersion: 1,
  collectorId: 'collector-1',
  nodeId: 'node-1',
  maxBatchBytes: 1_048_576,
  maxBatchSamples: 1000,
  acceptsSeriesTableId: true,
  maxNameBytes: 256,
  maxLabelsPerSeries: 32,
  maxLabelValueBytes: 1024,
  maxTableSeries: 21_000,
  maxTimestampAgeSecs: 604_800,
  maxTimestampAheadSecs: 300,
  sequenceWindow: 1024,
  epochsPerNode: 8,
  maxHoursPerBatch: 24,
  rememberedTables: 64,
  rememberedTableBytes: 2 * 1024 * 1024,
  timeMs: 1_700_000_000_000,
};
