/**
 * The first look at a frame: one walk over the top-level fields of a MetricBatch that notes where
 * they are and decodes nothing but numbers. Uses memory for a field only where it came in several
 * pieces, and then no more than twice the bytes of the pieces.
 */
import { Reader } from 'protobufjs';
import { errorMessage } from '../lib/errors.ts';
import { unsignedNumber } from './long.ts';
import { BATCH_TAGS } from './messages.ts';

const FIRST_JOIN_BYTES = 256;
/** Below this, copying in a loop is quicker than making a view to copy from. */
const SHORT_PIECE_BYTES = 16;

/**
 * The bytes of one field. Protobuf lets an encoder cut a packed column, or an embedded message,
 * into several occurrences, which mean the same as their bytes in a row; that is also what unpacked
 * elements without their tags are.
 */
export class FieldBytes {
  bytes: Buffer;
  start = 0;
  end = 0;
  #isJoined = false;

  constructor(frame: Buffer) {
    this.bytes = frame;
  }

  get length(): number {
    return this.end - this.start;
  }

  view(): Buffer {
    return this.bytes.subarray(this.start, this.end);
  }

  /** Appends `frame[start, end)`. */
  add(frame: Buffer, start: number, end: number): void {
    if (this.length === 0) {
      this.bytes = frame;
      this.start = start;
      this.end = end;
      this.#isJoined = false;
      return;
    }
    const length = end - start;
    this.#reserve(length);
    if (length > SHORT_PIECE_BYTES) frame.copy(this.bytes, this.end, start, end);
    else for (let at = 0; at < length; at += 1) this.bytes[this.end + at] = frame[start + at]!;
    this.end += length;
  }

  #reserve(more: number): void {
    if (this.#isJoined && this.end + more <= this.bytes.length) return;
    const capacity = Math.max(2 * this.length, this.length + more, FIRST_JOIN_BYTES);
    const joined = Buffer.allocUnsafeSlow(capacity);
    this.bytes.copy(joined, 0, this.start, this.end);
    this.end -= this.start;
    this.start = 0;
    this.bytes = joined;
    this.#isJoined = true;
  }
}

/** What a frame holds, as far as the walk got. */
export class ScannedFrame {
  readonly frame: Buffer;
  /** Why the frame is no MetricBatch; undefined where the walk reached its end. */
  fault: string | undefined;
  schemaVersion = 0;
  nodeIdStart = 0;
  nodeIdEnd = 0;
  tableIdStart = 0;
  tableIdEnd = 0;
  /** As doubles: exact below 2^53, 2^53 or more otherwise. */
  epoch = 0;
  sequence = 0;
  readonly table: FieldBytes;
  readonly series: FieldBytes;
  readonly times: FieldBytes;
  readonly values: FieldBytes;
  rowCount = 0;
  /** Where the tag of the first row is. */
  firstRow = 0;

  constructor(frame: Buffer) {
    this.frame = frame;
    this.table = new FieldBytes(frame);
    this.series = new FieldBytes(frame);
    this.times = new FieldBytes(frame);
    this.values = new FieldBytes(frame);
  }

  get sampleCount(): number {
    return Math.floor(this.values.length / 8) + this.rowCount;
  }
}

/** Walks over `frame`. Never throws; what it returns points into `frame`. */
export function scanFrame(frame: Buffer): ScannedFrame {
  const scan = new ScannedFrame(frame);
  const reader = Reader.create(frame);
  try {
    while (scan.fault === undefined && reader.pos < frame.length) readField(reader, scan);
  } catch (error) {
    scan.fault = errorMessage(error);
  }
  return scan;
}

function readField(reader: Reader, scan: ScannedFrame): void {
  const fieldStart = reader.pos;
  const tag = reader.tag();
  switch (tag) {
    case BATCH_TAGS.schemaVersion:
      scan.schemaVersion = reader.uint32();
      return;
    case BATCH_TAGS.nodeId:
      scan.nodeIdEnd = readExtent(reader);
      scan.nodeIdStart = reader.pos;
      reader.pos = scan.nodeIdEnd;
      return;
    case BATCH_TAGS.epoch:
      scan.epoch = unsignedNumber(reader.uint64());
      return;
    case BATCH_TAGS.sequence:
      scan.sequence = unsignedNumber(reader.uint64());
      return;
    case BATCH_TAGS.seriesTable:
      addPiece(reader, scan, scan.table);
      return;
    case BATCH_TAGS.seriesTableId:
      scan.tableIdEnd = readExtent(reader);
      scan.tableIdStart = reader.pos;
      reader.pos = scan.tableIdEnd;
      return;
    case BATCH_TAGS.metrics:
      reader.pos = readExtent(reader);
      if (scan.rowCount === 0) scan.firstRow = fieldStart;
      scan.rowCount += 1;
      return;
    default:
      readColumnField(reader, scan, tag);
  }
}

function readColumnField(reader: Reader, scan: ScannedFrame, tag: number): void {
  switch (tag) {
    case BATCH_TAGS.series:
      addNumbers(reader, scan, scan.series, 'series');
      return;
    case BATCH_TAGS.timestampDeltaMs:
      addNumbers(reader, scan, scan.times, 'timestamp_delta_ms');
      return;
    case BATCH_TAGS.value:
      addDoubles(reader, scan);
      return;
    case BATCH_TAGS.seriesUnpacked:
      addElement(reader, scan, scan.series, tag);
      return;
    case BATCH_TAGS.timestampDeltaMsUnpacked:
      addElement(reader, scan, scan.times, tag);
      return;
    case BATCH_TAGS.valueUnpacked:
      addElement(reader, scan, scan.values, tag);
      return;
    default:
      // A field of a later version, or a known one written in a way that no version allows.
      reader.skipType(tag & 7, 0, tag >>> 3);
  }
}

/** Reads a length and returns where the bytes end; the reader is at their start. */
function readExtent(reader: Reader): number {
  const length = reader.size();
  const end = reader.pos + length;
  if (end > reader.len) {
    throw new RangeError(`field of ${length} bytes at offset ${reader.pos} goes past the end`);
  }
  return end;
}

function addPiece(reader: Reader, scan: ScannedFrame, field: FieldBytes): void {
  const end = readExtent(reader);
  field.add(scan.frame, reader.pos, end);
  reader.pos = end;
}

function addNumbers(reader: Reader, scan: ScannedFrame, field: FieldBytes, name: string): void {
  addPiece(reader, scan, field);
  // Else the number would run on into the next piece.
  if (field.length > 0 && scan.frame[reader.pos - 1]! >= 0x80) {
    scan.fault = `${name} ends in the middle of a number at offset ${reader.pos}`;
  }
}

function addDoubles(reader: Reader, scan: ScannedFrame): void {
  const end = readExtent(reader);
  if ((end - reader.pos) % 8 !== 0) {
    scan.fault = `value has ${end - reader.pos} bytes, which is not a multiple of 8`;
    return;
  }
  scan.values.add(scan.frame, reader.pos, end);
  reader.pos = end;
}

function addElement(reader: Reader, scan: ScannedFrame, field: FieldBytes, tag: number): void {
  const start = reader.pos;
  reader.skipType(tag & 7);
  field.add(scan.frame, start, reader.pos);
}
