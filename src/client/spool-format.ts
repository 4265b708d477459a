/**
 * The bytes of a spool file (docs/format/spool.md). Pure. A file is a header and records, one after
 * another, never changed once written. Numbers are little-endian.
 *
 *     header:  magic (8)  format (4)  length of the node id (4)  node id  CRC-32 of all that (4)
 *     record:  marker (4)  CRC-32 of the 32 bytes that follow (4)
 *              kind (4)  samples (4)  epoch (8)  sequence (8)  frame bytes (4)  CRC-32 of frame (4)
 *              frame
 *
 * The head of a record has a checksum of its own, so its length can be believed where the frame is
 * damaged; where the head is, the marker finds the next one.
 */
import { crc32 } from 'node:zlib';

const MAGIC = Buffer.from('TLMSPOOL', 'latin1');
const FORMAT = 1;
const HEADER_FIXED_BYTES = 16;
const NODE_ID_BYTES_MAX = 4096;
const MARKER = Buffer.from([0xa5, 0x53, 0x50, 0xc3]);
const CHECKED_FROM = 8;

/** What a record takes beside its frame. */
export const RECORD_HEAD_BYTES = 40;

/** A batch as it is sent, or the mark that a batch needs no sending any more. */
export type RecordKind = 'batch' | 'done';

const KINDS: readonly (RecordKind | undefined)[] = [undefined, 'batch', 'done'];

export interface SpoolRecord {
  readonly kind: RecordKind;
  readonly epoch: number;
  readonly sequence: number;
  /** 0 for `done`. */
  readonly sampleCount: number;
  /** Where its frame begins in the file. */
  readonly frameOffset: number;
  /** Length of the frame; 0 for `done`. */
  readonly bytes: number;
}

export interface SegmentScan {
  /** Undefined where the header is damaged. */
  readonly nodeId: string | undefined;
  /** Whole records, in the order of the file. */
  readonly records: readonly SpoolRecord[];
  /** Bytes of a record that was being written when the writer ended. */
  readonly tornBytes: number;
  /** Bytes that no writer leaves behind. */
  readonly damagedBytes: number;
}

/** The beginning of a file of this node. */
export function encodeHeader(nodeId: string): Buffer {
  const id = Buffer.from(nodeId, 'utf8').subarray(0, NODE_ID_BYTES_MAX);
  const header = Buffer.alloc(HEADER_FIXED_BYTES + id.length + 4);
  MAGIC.copy(header);
  header.writeUInt32LE(FORMAT, 8);
  header.writeUInt32LE(id.length, 12);
  id.copy(header, HEADER_FIXED_BYTES);
  header.writeUInt32LE(crc32(header.subarray(0, -4)), header.length - 4);
  return header;
}

/** A record with its frame, in a buffer of its own. */
export function encodeRecord(
  record: Pick<SpoolRecord, 'kind' | 'epoch' | 'sequence' | 'sampleCount'>,
  frame: Uint8Array,
): Buffer {
  const bytes = Buffer.allocUnsafe(RECORD_HEAD_BYTES + frame.length);
  MARKER.copy(bytes);
  bytes.writeUInt32LE(KINDS.indexOf(record.kind), 8);
  bytes.writeUInt32LE(record.sampleCount, 12);
  bytes.writeBigUInt64LE(BigInt(record.epoch), 16);
  bytes.writeBigUInt64LE(BigInt(record.sequence), 24);
  bytes.writeUInt32LE(frame.length, 32);
  bytes.writeUInt32LE(crc32(frame), 36);
  bytes.writeUInt32LE(crc32(bytes.subarray(CHECKED_FROM, RECORD_HEAD_BYTES)), 4);
  bytes.set(frame, RECORD_HEAD_BYTES);
  return bytes;
}

/**
 * The frame of a record whose bytes, head and frame, are these; undefined where they are not what
 * was written.
 */
export function readFrame(
  bytes: Buffer,
  wanted: { readonly epoch: number; readonly sequence: number },
): Buffer | undefined {
  const head = readHead(bytes, 0);
  if (head === undefined || head.end !== bytes.length) return undefined;
  const { epoch, sequence } = head.record;
  if (epoch !== wanted.epoch || sequence !== wanted.sequence) return undefined;
  const frame = bytes.subarray(RECORD_HEAD_BYTES);
  return crc32(frame) === head.frameCrc ? frame : undefined;
}

/** Reads a whole file, and tells what of it is no record. Never throws, whatever the bytes. */
export function scanSegment(bytes: Buffer): SegmentScan {
  const header = readHeader(bytes);
  const records: SpoolRecord[] = [];
  let tornBytes = 0;
  let damagedBytes = 0;
  // Without a header to be read, records may still follow.
  for (let offset = header?.end ?? 0; offset < bytes.length; ) {
    const head = readHead(bytes, offset);
    if (head !== undefined && isWhole(bytes, head)) {
      records.push(head.record);
      offset = head.end;
      continue;
    }
    const next = nextHead(bytes, offset, head);
    if (next === bytes.length && isTorn(bytes, offset, head)) tornBytes += next - offset;
    else damagedBytes += next - offset;
    offset = next;
  }
  return { nodeId: header?.nodeId, records, tornBytes, damagedBytes };
}

function readHeader(bytes: Buffer): { nodeId: string; end: number } | undefined {
  if (bytes.length < HEADER_FIXED_BYTES + 4) return undefined;
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  if (bytes.readUInt32LE(8) !== FORMAT) return undefined;
  const idBytes = bytes.readUInt32LE(12);
  const end = HEADER_FIXED_BYTES + idBytes + 4;
  if (idBytes > NODE_ID_BYTES_MAX || end > bytes.length) return undefined;
  if (crc32(bytes.subarray(0, end - 4)) !== bytes.readUInt32LE(end - 4)) return undefined;
  return { nodeId: bytes.toString('utf8', HEADER_FIXED_BYTES, end - 4), end };
}

interface RecordHead {
  readonly record: SpoolRecord;
  readonly frameCrc: number;
  /** Where the next record begins; past the end of a file that was cut off. */
  readonly end: number;
}

function readHead(bytes: Buffer, at: number): RecordHead | undefined {
  if (at + RECORD_HEAD_BYTES > bytes.length) return undefined;
  if (!bytes.subarray(at, at + MARKER.length).equals(MARKER)) return undefined;
  const checked = bytes.subarray(at + CHECKED_FROM, at + RECORD_HEAD_BYTES);
  if (crc32(checked) !== bytes.readUInt32LE(at + 4)) return undefined;
  const kind = KINDS[bytes.readUInt32LE(at + 8)];
  const epoch = Number(bytes.readBigUInt64LE(at + 16));
  const sequence = Number(bytes.readBigUInt64LE(at + 24));
  if (kind === undefined || !isNumber(epoch) || !isNumber(sequence)) return undefined;
  const frameBytes = bytes.readUInt32LE(at + 32);
  const frameOffset = at + RECORD_HEAD_BYTES;
  const sampleCount = bytes.readUInt32LE(at + 12);
  return {
    record: { kind, epoch, sequence, sampleCount, frameOffset, bytes: frameBytes },
    frameCrc: bytes.readUInt32LE(at + 36),
    end: frameOffset + frameBytes,
  };
}

function isNumber(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0;
}

function isWhole(bytes: Buffer, { record, frameCrc, end }: RecordHead): boolean {
  if (end > bytes.length) return false;
  return crc32(bytes.subarray(record.frameOffset, end)) === frameCrc;
}

/** Where reading goes on after damage at `offset`: at a head, or at the end of the file. */
function nextHead(bytes: Buffer, offset: number, damaged: RecordHead | undefined): number {
  const expected = damaged?.end;
  if (expected === bytes.length) return expected;
  if (expected !== undefined && readHead(bytes, expected) !== undefined) return expected;
  for (let at = offset + 1; ; at += 1) {
    at = bytes.indexOf(MARKER, at);
    if (at < 0) return bytes.length;
    if (readHead(bytes, at) !== undefined) return at;
  }
}

/**
 * Whether what is left is what a writer leaves that was ended: part of a record or of the header,
 * or the zeros of a file that became longer before its bytes were on disk.
 */
function isTorn(bytes: Buffer, offset: number, head: RecordHead | undefined): boolean {
  if (head !== undefined) return head.end > bytes.length;
  const rest = bytes.subarray(offset);
  if (offset === 0 && rest.length < HEADER_FIXED_BYTES + NODE_ID_BYTES_MAX) {
    const begin = rest.subarray(0, MAGIC.length);
    if (begin.equals(MAGIC.subarray(0, begin.length))) return true;
  }
  if (rest.length < RECORD_HEAD_BYTES) {
    const begin = rest.subarray(0, MARKER.length);
    return begin.equals(MARKER.subarray(0, begin.length)) || rest.every((byte) => byte === 0);
  }
  return rest.every((byte) => byte === 0);
}
