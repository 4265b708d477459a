/**
 * One journalled batch as bytes. Little-endian, as are all platforms this runs on; the columns lie
 * on 8-byte boundaries so that a decoded record is views, not copies.
 *
 *     offset  size  what
 *          0     4  magic "TCJ1" (its last digit is the version of this layout)
 *          4     4  CRC-32 of everything from offset 8
 *          8     4  number of samples, n
 *         12     2  length of the node id in bytes
 *         14     2  zero
 *         16     8  seq, float64: the key it is stored under
 *         24     8  receivedAtMs, float64, Unix ms
 *         32     8  epoch, float64
 *         40     8  sequence, float64
 *         48     8  cumulativeSamples, float64: of this journal so far, this record included
 *         56     8  cumulativeBytes, float64: the same in bytes of disk
 *         64    16  series table id
 *         80     …  node id, UTF-8, zeros up to a multiple of 8
 *          …   8n  values, float64
 *          …   8n  timestampsMs, float64
 *          …   4n  series, uint32
 *
 * The cumulative figures make "how much is between two records" a subtraction, at any
 * distance. The same table is in docs/format/journal.md.
 */
import { crc32 } from 'node:zlib';
import { assert } from '../../lib/errors.ts';
import type { JournalEntry } from '../append-log.ts';
import type { DamagedRecord, JournalRecord } from '../log-reader.ts';

const MAGIC = 0x314a4354;
const CHECKED_FROM = 8;
const HEADER_BYTES = 80;
const MAX_NODE_ID_BYTES = 0xffff;

/** A place in the journal, and the sums up to and including the record `seq`. */
export interface Position {
  readonly seq: number;
  readonly cumulativeSamples: number;
  /** Bytes of disk. */
  readonly cumulativeBytes: number;
}

/** Where a journal begins. */
export const ORIGIN: Position = { seq: 0, cumulativeSamples: 0, cumulativeBytes: 0 };

/** Copies `entry` into a record that still lacks its position; `sealRecord` adds it. */
export function encodeRecord(entry: Omit<JournalEntry, 'outcome'>): Uint8Array {
  const { series, timestampsMs, values } = entry.samples;
  const count = values.length;
  assert(series.length === count && timestampsMs.length === count, 'columns of unequal length');
  const nodeId = Buffer.from(entry.nodeId, 'utf8');
  assert(nodeId.length <= MAX_NODE_ID_BYTES, 'node id too long for a record');
  const columnsAt = columnsOffset(nodeId.length);
  const buffer = new ArrayBuffer(columnsAt + 20 * count);
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(8, count, true);
  view.setUint16(12, nodeId.length, true);
  view.setFloat64(24, entry.receivedAtMs, true);
  view.setFloat64(32, entry.epoch, true);
  view.setFloat64(40, entry.sequence, true);
  bytes.set(Buffer.from(entry.table.id, 'hex'), 64);
  bytes.set(nodeId, HEADER_BYTES);
  new Float64Array(buffer, columnsAt, count).set(values);
  new Float64Array(buffer, columnsAt + 8 * count, count).set(timestampsMs);
  new Uint32Array(buffer, columnsAt + 16 * count, count).set(series);
  return bytes;
}

/** Writes the position into an encoded record and closes it with its checksum. In place. */
export function sealRecord(bytes: Uint8Array, position: Position): void {
  const view = viewOf(bytes);
  view.setFloat64(16, position.seq, true);
  view.setFloat64(48, position.cumulativeSamples, true);
  view.setFloat64(56, position.cumulativeBytes, true);
  view.setUint32(4, crc32(bytes.subarray(CHECKED_FROM)), true);
}

/** Reads a record; `bytes` may be reused afterwards. Never throws, whatever the bytes. */
export function decodeRecord(seq: number, bytes: Uint8Array): JournalRecord | DamagedRecord {
  const why = damageOf(seq, bytes);
  if (why !== undefined) return { seq, why };
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  const buffer = copy.buffer;
  const view = new DataView(buffer);
  const count = view.getUint32(8, true);
  const nodeIdBytes = view.getUint16(12, true);
  const columnsAt = columnsOffset(nodeIdBytes);
  return {
    seq,
    nodeId: Buffer.from(buffer, HEADER_BYTES, nodeIdBytes).toString('utf8'),
    epoch: view.getFloat64(32, true),
    sequence: view.getFloat64(40, true),
    receivedAtMs: view.getFloat64(24, true),
    tableId: Buffer.from(buffer, 64, 16).toString('hex'),
    samples: {
      values: new Float64Array(buffer, columnsAt, count),
      timestampsMs: new Float64Array(buffer, columnsAt + 8 * count, count),
      series: new Uint32Array(buffer, columnsAt + 16 * count, count),
    },
    cumulativeSamples: view.getFloat64(48, true),
    bytes: bytes.length,
  };
}

/** The position of a record and its own samples; undefined where it is damaged. */
export function readPosition(
  seq: number,
  bytes: Uint8Array,
): (Position & { readonly samples: number }) | undefined {
  if (damageOf(seq, bytes) !== undefined) return undefined;
  const view = viewOf(bytes);
  return {
    seq,
    samples: view.getUint32(8, true),
    cumulativeSamples: view.getFloat64(48, true),
    cumulativeBytes: view.getFloat64(56, true),
  };
}

function damageOf(seq: number, bytes: Uint8Array): string | undefined {
  if (bytes.length < HEADER_BYTES) return `only ${bytes.length} bytes long`;
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== MAGIC) return 'no record magic';
  if (view.getUint32(4, true) !== crc32(bytes.subarray(CHECKED_FROM))) return 'checksum mismatch';
  const expected = columnsOffset(view.getUint16(12, true)) + 20 * view.getUint32(8, true);
  if (bytes.length !== expected) return `${bytes.length} bytes long, should be ${expected}`;
  const written = view.getFloat64(16, true);
  return written === seq ? undefined : `is record ${written}`;
}

function columnsOffset(nodeIdBytes: number): number {
  return (HEADER_BYTES + nodeIdBytes + 7) & ~7;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
