/**
 * An attack with a certificate on the writer of line protocol, within all limits.
 */
import { encodeBatch } from '../../../src/codec/encode-batch.ts';
import { encodeFrame } from '../../../src/codec/framing.ts';
import { encodeSeriesTable } from '../../../src/codec/series-table.ts';
import type { Attack } from '../attack.ts';
import { flood } from './batches.ts';
import { gauge } from './hostile-batches.ts';

const LABELS = 15;
/** Just under what a line may have by default. */
const LABEL_BYTES = 1000;
const SAMPLES = 1000;

/** Fifteen megabytes of lines for each batch of ten kilobytes. */
export const heavyLines: Attack = {
  name: 'heavy-lines',
  what: 'a thousand samples in every batch of a series whose line is as long as it may be',
  settings: {},
  nodes: 1,
  run: (task) => {
    const labels = Array.from(
      { length: LABELS },
      (_, index) => [`label_${index + 10}`, 'v'.repeat(LABEL_BYTES)] as const,
    );
    const table = encodeSeriesTable([gauge('heavy', labels)]);
    const nowMs = Date.now();
    const samples = {
      series: new Uint32Array(SAMPLES),
      timestampsMs: Float64Array.from({ length: SAMPLES }, (_, index) => nowMs - index),
      values: new Float64Array(SAMPLES).fill(1),
    };
    const head = { nodeId: '', epoch: 1, sequence: 0 };
    const frame = encodeFrame(encodeBatch({ ...head, table, samples }));
    return flood(task, () => frame, 1);
  },
};
