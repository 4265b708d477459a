/**
 * A row of the series log: changes of the membership one after the other, each a header of 12
 * bytes, the node id, and the hashes as float64 (docs/format/journal.md).
 */
import type { SeriesChange } from '../../domain/telemetry.ts';

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

export interface DecodedSeriesRow {
  readonly changes: readonly SeriesChange[];
  /** Where the row ends otherwise than it should; `changes` are those before. */
  readonly why?: string;
}

/** Never throws, whatever the bytes. Keeps no view of them. */
export function decodeSeriesRow(row: Uint8Array): DecodedSeriesRow {
  const bytes = Buffer.from(row.buffer, row.byteOffset, row.length);
  const changes: SeriesChange[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (at + HEADER_BYTES > bytes.length) return { changes, why: 'it is cut off' };
    const kind = bytes.readUInt16LE(at);
    const nodeIdEnd = at + HEADER_BYTES + bytes.readUInt16LE(at + 2);
    const seenSecs = bytes.readUInt32LE(at + 4);
    const end = nodeIdEnd + bytes.readUInt32LE(at + 8) * HASH_BYTES;
    if (end > bytes.length) return { changes, why: 'it is cut off' };
    // Copied, for float64 must be aligned, and LMDB lends its memory for a moment only.
    const hashes = new Float64Array(new Uint8Array(bytes.subarray(nodeIdEnd, end)).buffer);
    if (!hashes.every(isHash)) return { changes, why: 'a hash is not one' };
    const nodeId = bytes.toString('utf8', at + HEADER_BYTES, nodeIdEnd);
    if (kind === KIND_PUT) changes.push({ kind: 'put', nodeId, seenSecs, hashes });
    else if (kind === KIND_REMOVE) changes.push({ kind: 'remove', hashes });
    else return { changes, why: `a change is of the unknown kind ${kind}` };
    at = end;
  }
  return { changes };
}

function isHash(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0;
}
