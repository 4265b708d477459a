/**
 * The test vectors of docs/protocol/vectors: bytes from plain protobufjs over the contract, not
 * from the codec, and beside them, written by hand, what a collector answers.
 */
import { createHash } from 'node:crypto';
import {
  bytesField,
  protoType,
  unpackedWireBatch,
  type WireBatch,
  wireBatch,
} from './wire-batch.ts';

/** The collector's clock in all vectors. */
export const VECTOR_NOW_MS = 1_700_000_000_000;

export interface VectorAck {
  readonly epoch: number;
  readonly sequence: number;
  readonly status: string;
  readonly accepted: number;
  readonly rejected: number;
  readonly reasons: readonly string[];
}

/** One connection with one bidirectional stream. */
export interface VectorConnection {
  readonly name: string;
  /** Frames with their length in front; the next is sent when the one before is answered. */
  readonly frames: readonly { readonly hex: string; readonly ack: VectorAck | null }[];
  /** How the client ends the stream; null: not at all. */
  readonly end: 'fin' | 'reset' | null;
  /** The collector's close code; null: it does not close. */
  readonly closes: number | null;
}

const GAUGE = 1;
const TABLE = {
  symbols: ['', 'temperature', 'Cel', 'gpu', '0', 'DCGM_FI_DEV_MEMORY_TEMP'],
  series: [
    { name: 1, labels: [3, 4], kind: GAUGE, unit: 2 },
    { name: 5, labels: [3, 4], kind: GAUGE, unit: 2 },
  ],
};
const TABLES = { 'two series': TABLE, 'no series': {}, 'one without labels': oneSeries(1) };
const INT32_BLANK = 2_147_483_632;
const ROW = { name: 'temperature', labels: { gpu: '0' }, timestamp_ms: VECTOR_NOW_MS, value: 61 };

function oneSeries(name: number) {
  return { symbols: ['', 'temperature'], series: [{ name, kind: GAUGE }] };
}

/** `tables.json`: the bytes whose SHA-256 begins with the id. */
export function tableVectors() {
  return Object.entries(TABLES).map(([name, content]) => {
    const bytes = encodeTable(content);
    return { name, content, bytes: bytes.toString('hex'), id: idOf(bytes).toString('hex') };
  });
}

function encodeTable(content: object): Buffer {
  const type = protoType('SeriesTable');
  return Buffer.from(type.encode(type.fromObject(content)).finish());
}

function idOf(table: Buffer): Buffer {
  return createHash('sha256').update(table).digest().subarray(0, 16);
}

/** A good batch of two samples, with changes. */
function good(sequence: number, change: WireBatch = {}): WireBatch {
  const samples = { series: [0, 1], timestamp_delta_ms: [VECTOR_NOW_MS, 0], value: [60, 61.5] };
  return { epoch: 1, sequence, series_table: TABLE, ...samples, ...change };
}

function named(sequence: number, id: Uint8Array): Buffer {
  const { series_table: _, ...rest } = good(sequence);
  return Buffer.concat([wireBatch(rest), bytesField(10, id)]);
}

function frame(payload: Buffer): string {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(payload.length);
  return Buffer.concat([length, payload]).toString('hex');
}

function answer(sequence: number, status: string, counts: [number, number], ...reasons: string[]) {
  return { epoch: 1, sequence, status, accepted: counts[0], rejected: counts[1], reasons };
}

const accepted = (sequence: number, samples = 2) => answer(sequence, 'ACCEPTED', [samples, 0]);
const rejected = (sequence: number, reason: string, samples = 2) =>
  answer(sequence, 'REJECTED', [0, samples], reason);
const partial = (sequence: number, kept: number, refused: number, reason: string) =>
  answer(sequence, 'PARTIAL', [kept, refused], reason);

function one(name: string, payload: Buffer | WireBatch, ack: VectorAck): VectorConnection {
  return several(name, [[payload, ack]]);
}

function several(
  name: string,
  pairs: [Buffer | WireBatch, VectorAck][],
  ending: Pick<VectorConnection, 'end' | 'closes'> = { end: null, closes: null },
): VectorConnection {
  const frames = pairs.map(([payload, ack]) => ({
    hex: frame(Buffer.isBuffer(payload) ? payload : wireBatch(payload)),
    ack,
  }));
  return { name, frames, ...ending };
}

/** The last frame of `pairs` is followed by raw bytes. */
function raw(
  name: string,
  hex: string,
  end: VectorConnection['end'],
  closes: number | null,
): VectorConnection {
  const first = several(name, [[good(1), accepted(1)]], { end, closes });
  return { ...first, frames: [...first.frames, { hex, ack: null }] };
}

/** `connections.json`. */
export function connectionVectors(): VectorConnection[] {
  const id = idOf(encodeTable(TABLE));
  const unknownField = Buffer.from([0xa0, 0x06, 0x01]);
  return [
    one('columns', good(1), accepted(1)),
    one('columns that are not packed', unpackedWireBatch(good(1)), accepted(1)),
    one('rows', { epoch: 1, sequence: 1, metrics: [ROW, { ...ROW, value: 62 }] }, accepted(1)),
    one('no samples', { epoch: 1, sequence: 1 }, accepted(1, 0)),
    one(
      'a field of a later version',
      Buffer.concat([wireBatch(good(1)), unknownField]),
      accepted(1),
    ),
    several('the same batch twice', [
      [good(1), accepted(1)],
      [good(1), answer(1, 'DUPLICATE', [0, 0])],
    ]),
    several('sequence 0 twice', [
      [good(0), accepted(0)],
      [good(0), accepted(0)],
    ]),
    several('behind the window', [
      [good(5000), accepted(5000)],
      [good(3976), rejected(3976, 'out_of_window')],
      [good(3977), accepted(3977)],
    ]),
    several('a named table', [
      [good(1), accepted(1)],
      [named(2, id), accepted(2)],
    ]),
    one('a named table that was not sent', named(1, id), rejected(1, 'bad_series')),
    several('a table and its id at once', [
      [good(1), accepted(1)],
      [Buffer.concat([wireBatch(good(2)), bytesField(10, id)]), rejected(2, 'bad_frame')],
    ]),
    one('an id of 8 bytes', named(1, id.subarray(0, 8)), rejected(1, 'bad_frame')),
    one(
      'every sample refused',
      good(1, { value: [Number.NaN, Number.NaN] }),
      partial(1, 0, 2, 'not_a_number'),
    ),
    one(
      'timestamp 0',
      good(1, { timestamp_delta_ms: [0, VECTOR_NOW_MS] }),
      partial(1, 1, 1, 'too_old'),
    ),
    one(
      'a blank of DCGM',
      good(1, { value: [INT32_BLANK, INT32_BLANK] }),
      partial(1, 1, 1, 'sentinel'),
    ),
    one('negative and very large', good(1, { value: [-(2 ** 63), 1e300] }), accepted(1)),
    one('2^63', good(1, { value: [2 ** 63, 1] }), partial(1, 1, 1, 'sentinel')),
    one(
      'an empty name in a table',
      good(1, { series_table: oneSeries(0), series: [0, 0] }),
      rejected(1, 'bad_series'),
    ),
    one(
      'an empty name in a row',
      { epoch: 1, sequence: 1, metrics: [{ ...ROW, name: '' }] },
      rejected(1, 'bad_series', 1),
    ),
    one('columns of different length', good(1, { series: [0] }), rejected(1, 'bad_frame')),
    one('a series outside the table', good(1, { series: [0, 2] }), rejected(1, 'bad_frame')),
    one('another schema version', good(1, { schema_version: 2 }), rejected(1, 'schema_version')),
    one('another node', good(1, { node_id: 'gpu-002' }), rejected(1, 'identity')),
    several('no protobuf, and then a good batch', [
      [Buffer.from('ffff', 'hex'), { ...rejected(0, 'bad_frame', 0), epoch: 0 }],
      [good(1), accepted(1)],
    ]),
    one('an epoch of 2^53', good(1, { epoch: '9007199254740992' }), {
      ...rejected(1, 'bad_frame'),
      epoch: 0,
    }),
    one('a sequence of 2^53', good(1, { sequence: '9007199254740992' }), rejected(0, 'bad_frame')),
    raw('a frame of length 0', '00000000', null, 0x1001),
    raw('a frame over max_batch_bytes', '00100001', null, 0x1001),
    raw('the end inside a frame', '0000000901', 'fin', 0x1006),
    raw('a reset inside a frame', '0000000901', 'reset', null),
  ];
}
