/**
 * The bytes of the feed's messages. protobufjs does the work, once for each message: the columns of
 * a record travel as little-endian arrays, so that a sample costs a copy of its 20 bytes and no
 * more. As for the journal's records, every platform this runs on is little-endian.
 */
import fs from 'node:fs';
import protobuf from 'protobufjs';
import type { SampleColumns } from '../domain/telemetry.ts';
import { errorMessage, OperatingError } from '../lib/errors.ts';
import { packageFile } from '../lib/package-root.ts';
import type {
  ClosingMessage,
  CollectorMessage,
  FeedRecordMessage,
  FeedStart,
  PublishedMessage,
  RecordsMessage,
  StartMessage,
  StatusMessage,
  WelcomeMessage,
} from './feed-contract.ts';

const contract = protobuf.parse(fs.readFileSync(packageFile('proto/feed.proto'), 'utf8'), {
  keepCase: false,
}).root;
const readerType = contract.lookupType('horizon.feed.v1.ReaderMessage');
const collectorType = contract.lookupType('horizon.feed.v1.CollectorFeedMessage');
/** Numbers past 2^53 lose precision here and are refused by whoever uses them. */
const AS_OBJECT = { longs: Number, defaults: true, arrays: true } as const;
const START_AT_POSITION = 1;
const START_AT_CURSOR = 2;
const SAMPLE_BYTES = 4 + 8 + 8;

/** What is wrong with a message that cannot be read. */
export function badFeedMessage(why: string, cause?: unknown): OperatingError {
  const options = cause === undefined ? undefined : { cause };
  return new OperatingError('BAD_FEED_MESSAGE', `cannot read message of the feed: ${why}`, options);
}

/** An encoded ReaderMessage, not yet framed. */
export function encodeStart({ version, reader, start }: StartMessage): Uint8Array {
  const position =
    start.at === 'position' ? [...start.position].map(([source, seq]) => ({ source, seq })) : [];
  const at = start.at === 'position' ? START_AT_POSITION : START_AT_CURSOR;
  return readerType.encode({ start: { version, reader, at, position } }).finish();
}

/** Throws OperatingError BAD_FEED_MESSAGE. */
export function decodeStart(bytes: Uint8Array): StartMessage {
  const { start } = decode<{ start?: WireStart }>(readerType, bytes);
  if (start === undefined) throw badFeedMessage('it holds no start');
  const { version, reader, at, position } = start;
  return { version, reader, start: readStart(at, position) };
}

interface WireStart {
  readonly version: number;
  readonly reader: string;
  readonly at: number;
  readonly position: readonly { readonly source: string; readonly seq: number }[];
}

function readStart(at: number, entries: WireStart['position']): FeedStart {
  if (at === START_AT_CURSOR) return { at: 'cursor' };
  if (at !== START_AT_POSITION) throw badFeedMessage(`it starts at ${at}, which means nothing`);
  const position = new Map<string, number>();
  for (const { source, seq } of entries) {
    if (position.has(source)) throw badFeedMessage(`its position names ${source} twice`);
    if (!Number.isSafeInteger(seq)) throw badFeedMessage(`its seq of ${source} is 2^53 or more`);
    position.set(source, seq);
  }
  return { at: 'position', position };
}

/** An encoded CollectorFeedMessage, not yet framed. */
export function encodeCollectorMessage(
  message: Exclude<CollectorMessage, { kind: 'unknown' }>,
): Uint8Array {
  return collectorType.encode(toWire(message)).finish();
}

function toWire(message: Exclude<CollectorMessage, { kind: 'unknown' }>): object {
  switch (message.kind) {
    case 'table':
      return { table: { id: fromHex(message.id), table: message.bytes } };
    case 'records':
      return {
        records: {
          ...message,
          records: message.records.map(wireRecord),
          droppedTables: message.droppedTables.map(fromHex),
        },
      };
    default:
      return { [message.kind]: message };
  }
}

/** Field by field, for a spread costs more than all the rest. */
function wireRecord(record: FeedRecordMessage): WireRecord {
  const { series, timestampsMs, values } = record.samples;
  return {
    seq: record.seq,
    nodeId: record.nodeId,
    epoch: record.epoch,
    sequence: record.sequence,
    receivedAtMs: record.receivedAtMs,
    tableId: fromHex(record.tableId),
    series: bytesOf(series),
    timestampsMs: bytesOf(timestampsMs),
    values: bytesOf(values),
  };
}

interface WireRecord {
  readonly seq: number;
  readonly nodeId: string;
  readonly epoch: number;
  readonly sequence: number;
  readonly receivedAtMs: number;
  readonly tableId: Uint8Array;
  readonly series: Uint8Array;
  readonly timestampsMs: Uint8Array;
  readonly values: Uint8Array;
}

type WireRecords = Omit<RecordsMessage<WireRecord>, 'droppedTables'> & {
  readonly droppedTables: readonly Uint8Array[];
};

interface WireCollectorMessage {
  readonly welcome?: WelcomeMessage;
  readonly table?: { readonly id: Uint8Array; readonly table: Uint8Array };
  readonly records?: WireRecords;
  readonly published?: PublishedMessage;
  readonly status?: StatusMessage;
  readonly closing?: ClosingMessage;
}

/**
 * Decodes one message of the collector; nothing of it refers to `bytes` afterwards. Throws
 * OperatingError BAD_FEED_MESSAGE.
 */
export function decodeCollectorMessage(bytes: Uint8Array): CollectorMessage {
  const wire = decode<WireCollectorMessage>(collectorType, bytes);
  if (wire.records !== undefined) return readRecords(wire.records);
  if (wire.table !== undefined) {
    const { id, table } = wire.table;
    return { kind: 'table', id: toHex(id), bytes: new Uint8Array(table) };
  }
  if (wire.welcome !== undefined) return { ...wire.welcome, kind: 'welcome' };
  if (wire.published !== undefined) return { ...wire.published, kind: 'published' };
  if (wire.status !== undefined) return { ...wire.status, kind: 'status' };
  if (wire.closing !== undefined) return { ...wire.closing, kind: 'closing' };
  return { kind: 'unknown' };
}

function readRecords({ records, droppedTables, ...rest }: WireRecords): RecordsMessage {
  return {
    ...rest,
    kind: 'records',
    records: records.map(readRecord),
    droppedTables: droppedTables.map(toHex),
  };
}

function readRecord(record: WireRecord): FeedRecordMessage {
  return {
    seq: record.seq,
    nodeId: record.nodeId,
    epoch: record.epoch,
    sequence: record.sequence,
    receivedAtMs: record.receivedAtMs,
    tableId: toHex(record.tableId),
    samples: readColumns(record.series, record.timestampsMs, record.values),
  };
}

/** The columns in a buffer of their own: those of a frame need not lie on a multiple of 8. */
function readColumns(
  series: Uint8Array,
  timestampsMs: Uint8Array,
  values: Uint8Array,
): SampleColumns {
  const count = series.length / 4;
  if (timestampsMs.length !== 8 * count || values.length !== 8 * count) {
    throw badFeedMessage('the columns of a record differ in length');
  }
  const bytes = new Uint8Array(SAMPLE_BYTES * count);
  bytes.set(values, 0);
  bytes.set(timestampsMs, 8 * count);
  bytes.set(series, 16 * count);
  return {
    values: new Float64Array(bytes.buffer, 0, count),
    timestampsMs: new Float64Array(bytes.buffer, 8 * count, count),
    series: new Uint32Array(bytes.buffer, 16 * count, count),
  };
}

function decode<T>(type: protobuf.Type, bytes: Uint8Array): T {
  try {
    return type.toObject(type.decode(bytes), AS_OBJECT) as T;
  } catch (error) {
    throw badFeedMessage(errorMessage(error), error);
  }
}

function bytesOf(column: Uint32Array | Float64Array): Uint8Array {
  return new Uint8Array(column.buffer, column.byteOffset, column.byteLength);
}

function fromHex(id: string): Uint8Array {
  return Buffer.from(id, 'hex');
}

function toHex(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('hex');
}
