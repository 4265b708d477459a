/**
 * A row of the series log: changes of the membership one after the other, each a header of 12
 * bytes, the node id, and the hashes as float64 (docs/format/journal.md).
 */
import { OperatingError } from '../lib/errors.ts';
import type { SeriesChange } from '../telemetry.ts';

const KIND_PUT = 1;
const KIND_REMOVE = 2;
const HEADER_BYTES = 12;
const HASH_BYTES = 8;

/** The row with these changes. */
export function encodeSeriesRow(changes: readonly SeriesChange[]): Uint8Array {
  const nodeIds = changes.map((change) =>
    Buffer.from(change.kind === 'put' ? change.nodeId : '', 'utf8'),
  );
  const bytes = changes.reduce(
    (sum, { hashes }, at) => sum + HEADER_BYTES + nodeIds[at]!.length + hashes.length * HASH_BYTES,
    0,
  );
  const row = Buffer.alloc(bytes);
  let at = 0;
  for (const [index, change] of changes.entries()) {
    const nodeId = nodeIds[index]!;
    const { buffer, byteOffset, byteLength } = change.hashes;
    row.writeUInt16LE(change.kind === 'put' ? KIND_PUT : KIND_REMOVE, at);
    row.writeUInt16LE(nodeId.length, at + 2);
    row.writeUInt32LE(change.kind === 'put' ? change.seenSecs >>> 0 : 0, at + 4);
    row.writeUInt32LE(change.hashes.length, at + 8);
    row.set(nodeId, at + HEADER_BYTES);
    row.set(new Uint8Array(buffer, byteOffset, byteLength), at + HEADER_BYTES + nodeId.length);
    at += HEADER_BYTES + nodeId.length + byteLength;
  }
  return row;
}

/** Copies the hashes. Throws OperatingError JOURNAL_DAMAGED where the bytes are no row. */
export function* decodeSeriesRow(
  key: number,
  row: Uint8Array,
): Generator<SeriesChange, void, undefined> {
  const bytes = Buffer.from(row.buffer, row.byteOffset, row.length);
  for (let at = 0; at < bytes.length; ) {
    if (at + HEADER_BYTES > bytes.length) throw damaged(key);
    const kind = bytes.readUInt16LE(at);
    const nodeIdEnd = at + HEADER_BYTES + bytes.readUInt16LE(at + 2);
    const seenSecs = bytes.readUInt32LE(at + 4);
    const end = nodeIdEnd + bytes.readUInt32LE(at + 8) * HASH_BYTES;
    if (end > bytes.length || (kind !== KIND_PUT && kind !== KIND_REMOVE)) throw damaged(key);
    // Copied, for float64 must be aligned, and LMDB lends its memory for a moment only.
    const hashes = new Float64Array(new Uint8Array(bytes.subarray(nodeIdEnd, end)).buffer);
    const nodeId = bytes.toString('utf8', at + HEADER_BYTES, nodeIdEnd);
    yield kind === KIND_PUT
      ? { kind: 'put', nodeId, seenSecs, hashes }
      : { kind: 'remove', hashes };
    at = end;
  }
}

function damaged(key: number): OperatingError {
  return new OperatingError('JOURNAL_DAMAGED', `row ${key} of the journal's series log is damaged`);
}
