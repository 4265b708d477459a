/**
 * The agent's half of the codec: a batch to the bytes of a MetricBatch, in columnar form.
 */

import { type SampleColumns, SCHEMA_VERSION, type SeriesTable } from '../domain/telemetry.ts';
import { assert } from '../lib/errors.ts';
import { BATCH_TAGS } from './messages.ts';
import {
  packedTimesBytes,
  packedUint32Bytes,
  writePackedTimes,
  writePackedUint32,
} from './packed.ts';
import {
  bytesFieldBytes,
  numberFieldBytes,
  writeBytesField,
  writeFieldStart,
  writeNumberField,
} from './small-fields.ts';

export interface OutgoingBatch {
  /** '' = the first identity of the certificate. */
  readonly nodeId: string;
  readonly epoch: number;
  /** 0 = no deduplication. */
  readonly sequence: number;
  readonly table: SeriesTable;
  readonly samples: SampleColumns;
}

/**
 * Encodes a batch, not yet framed, into a buffer of its own. The table's bytes go in as they are,
 * so that the collector recognises them. Times must be whole ms.
 */
export function encodeBatch(batch: OutgoingBatch): Uint8Array {
  const { series, timestampsMs, values } = batch.samples;
  assert(series.length === values.length, 'a value for every series index');
  assert(timestampsMs.length === values.length, 'a time for every value');
  assert(timestampsMs.every(Number.isSafeInteger), 'times are whole milliseconds');
  const nodeId = Buffer.from(batch.nodeId);
  const seriesBytes = packedUint32Bytes(series);
  const timesBytes = packedTimesBytes(timestampsMs);
  const total =
    numberFieldBytes(SCHEMA_VERSION) +
    bytesFieldBytes(nodeId.length) +
    numberFieldBytes(batch.epoch) +
    numberFieldBytes(batch.sequence) +
    bytesFieldBytes(batch.table.bytes.length) +
    bytesFieldBytes(seriesBytes) +
    bytesFieldBytes(timesBytes) +
    bytesFieldBytes(values.byteLength);
  const target = new Uint8Array(total);
  let at = writeNumberField(target, 0, BATCH_TAGS.schemaVersion, SCHEMA_VERSION);
  at = writeBytesField(target, at, BATCH_TAGS.nodeId, nodeId);
  at = writeNumberField(target, at, BATCH_TAGS.epoch, batch.epoch);
  at = writeNumberField(target, at, BATCH_TAGS.sequence, batch.sequence);
  at = writeBytesField(target, at, BATCH_TAGS.seriesTable, batch.table.bytes);
  if (values.length > 0) {
    at = writeFieldStart(target, at, BATCH_TAGS.series, seriesBytes);
    at = writePackedUint32(target, at, series);
    at = writeFieldStart(target, at, BATCH_TAGS.timestampDeltaMs, timesBytes);
    at = writePackedTimes(target, at, timestampsMs);
    // Both sides of this machine's doubles are little-endian, as protobuf's are.
    const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    at = writeBytesField(target, at, BATCH_TAGS.value, raw);
  }
  assert(at === total, 'a batch is as long as computed');
  return target;
}
