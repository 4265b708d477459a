/**
 * The agent's half of the codec: a batch to the bytes of a MetricBatch, in columnar form.
 */
import { assert } from '../lib/errors.ts';
import { type SampleColumns, SCHEMA_VERSION, type SeriesTable } from '../domain/telemetry.ts';
import { BATCH_TAGS } from './messages.ts';
import {
  packedTimesBytes,
  packedUint32Bytes,
  varintBytes,
  writePackedTimes,
  writePackedUint32,
  writeVarint,
} from './packed.ts';

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

// Every tag of MetricBatch is one byte. A field that holds its default is not written, as proto3
// has it.

function numberFieldBytes(value: number): number {
  return value === 0 ? 0 : 1 + varintBytes(value);
}

function bytesFieldBytes(length: number): number {
  return length === 0 ? 0 : 1 + varintBytes(length) + length;
}

function writeNumberField(target: Uint8Array, at: number, tag: number, value: number): number {
  if (value === 0) return at;
  target[at] = tag;
  return writeVarint(target, at + 1, value);
}

function writeFieldStart(target: Uint8Array, at: number, tag: number, length: number): number {
  target[at] = tag;
  return writeVarint(target, at + 1, length);
}

function writeBytesField(target: Uint8Array, at: number, tag: number, bytes: Uint8Array): number {
  if (bytes.length === 0) return at;
  const start = writeFieldStart(target, at, tag, bytes.length);
  target.set(bytes, start);
  return start + bytes.length;
}
