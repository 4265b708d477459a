/**
 * Batches that are well formed and meant badly.
 */
import { encodeBatch } from '../../../src/codec/encode-batch.ts';
import { encodeFrame } from '../../../src/codec/framing.ts';
import { encodeSeriesTable } from '../../../src/codec/series-table.ts';
import type { Series, SeriesTable } from '../../../src/domain/telemetry.ts';

/** A frame with one sample; its sequence asks for no deduplication. */
export function smallBatchFrame(): Uint8Array {
  return batchFrame(encodeSeriesTable([gauge('small')]), 1);
}

/** A frame with the first `samples` series of a table, each once, as of now. */
export function batchFrame(table: SeriesTable, samples: number): Uint8Array {
  const columns = {
    series: Uint32Array.from({ length: samples }, (_, index) => index),
    timestampsMs: new Float64Array(samples).fill(Date.now()),
    values: new Float64Array(samples).fill(1),
  };
  const head = { nodeId: '', epoch: 1, sequence: 0 };
  return encodeFrame(encodeBatch({ ...head, table, samples: columns }));
}

/** A series without labels, or with those given. */
export function gauge(name: string, labels: Series['labels'] = []): Series {
  return { name, labels, kind: 'gauge', unit: '' };
}

/** A table of a thousand series that nobody has seen before. */
export function freshTable(round: number): SeriesTable {
  return encodeSeriesTable(
    Array.from({ length: 1000 }, (_, index) => gauge(`fresh_${round}_${index}`, [['gpu', '0']])),
  );
}

const LABELS = 16;
const LABEL_BYTES = 70;
const COSTLY_SERIES = 1500;

/**
 * As dear as a table may be: all its series have the same long labels, and so it stands for 2 MB of
 * text in some 70 kB, close to the bound of 32 characters a byte.
 */
export function costlyTable(round: number): SeriesTable {
  const labels = Array.from({ length: LABELS }, (_, index) => {
    const value = `${round} ${index} `.padEnd(LABEL_BYTES, 'v');
    return [`label_${String(index).padStart(2, '0')}`, value] as const;
  });
  return encodeSeriesTable(
    Array.from({ length: COSTLY_SERIES }, (_, index) => gauge(`costly_${index}`, labels)),
  );
}
