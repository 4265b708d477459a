/**
 * The bytes of a SeriesTable, written without a protobuf library: a table can have twenty thousand
 * series, and the library takes two microseconds for each. The bytes are those that the library
 * writes, so that a table has the same id as ever.
 */
import type { Labels, MetricKind, Series } from '../domain/telemetry.ts';
import { SERIES_TAGS, TABLE_TAGS } from './messages.ts';
import { varintBytes, writeVarint } from './packed.ts';
import {
  bytesFieldBytes,
  numberFieldBytes,
  writeBytesField,
  writeNumberField,
} from './small-fields.ts';

const KIND_NUMBERS = { unspecified: 0, gauge: 1, counter: 2 } as const satisfies Record<
  MetricKind,
  number
>;
const FIRST_BYTES = 4096;
/** The longest varint of a reference, or of a length. */
const MAX_VARINT_BYTES = 5;
/** Every tag of a series is one byte, and so is every kind. */
const MAX_SERIES_BYTES = 7 + 5 * MAX_VARINT_BYTES;

/**
 * The message's bytes, in a buffer of their own. A text is a symbol once, in the order of first
 * use, after the empty one.
 */
export function encodeTable(series: readonly Series[]): Uint8Array<ArrayBuffer> {
  const symbols = new Symbols();
  const body = writeSeries(series, symbols);
  const target = Buffer.from(new ArrayBuffer(symbols.fieldBytes + body.length));
  target.set(body, symbols.writeFields(target));
  return new Uint8Array(target.buffer);
}

/** Texts and their references. */
class Symbols {
  readonly #texts: string[] = [];
  readonly #references = new Map<string, number>();
  /** Of all symbols as fields of the table. */
  fieldBytes = 0;

  constructor() {
    this.refer('');
  }

  refer(text: string): number {
    const known = this.#references.get(text);
    if (known !== undefined) return known;
    const bytes = Buffer.byteLength(text);
    this.fieldBytes += 1 + varintBytes(bytes) + bytes;
    this.#references.set(text, this.#texts.length);
    return this.#texts.push(text) - 1;
  }

  /** Writes the fields at the start of `target`; returns where they end. */
  writeFields(target: Buffer): number {
    let at = 0;
    for (const text of this.#texts) {
      target[at] = TABLE_TAGS.symbols;
      const bytes = Buffer.byteLength(text);
      at = writeVarint(target, at + 1, bytes);
      at += target.write(text, at);
    }
    return at;
  }
}

/** The fields of the series; series that share their label array are looked up once for it. */
function writeSeries(series: readonly Series[], symbols: Symbols): Uint8Array {
  const packed = new Map<Labels, Uint8Array>();
  let out = new Uint8Array(FIRST_BYTES);
  let at = 0;
  for (const { name, labels, kind, unit } of series) {
    const nameReference = symbols.refer(name);
    let references = packed.get(labels);
    if (references === undefined) {
      references = packLabels(labels, symbols);
      packed.set(labels, references);
    }
    const unitReference = symbols.refer(unit);
    if (at + MAX_SERIES_BYTES + references.length > out.length) {
      out = grown(out, at + MAX_SERIES_BYTES + references.length);
    }
    out[at] = TABLE_TAGS.series;
    const kindNumber = KIND_NUMBERS[kind];
    const bytes =
      numberFieldBytes(nameReference) +
      bytesFieldBytes(references.length) +
      numberFieldBytes(kindNumber) +
      numberFieldBytes(unitReference);
    at = writeVarint(out, at + 1, bytes);
    at = writeNumberField(out, at, SERIES_TAGS.name, nameReference);
    at = writeBytesField(out, at, SERIES_TAGS.labels, references);
    at = writeNumberField(out, at, SERIES_TAGS.kind, kindNumber);
    at = writeNumberField(out, at, SERIES_TAGS.unit, unitReference);
  }
  return out.subarray(0, at);
}

function packLabels(labels: Labels, symbols: Symbols): Uint8Array {
  const packed = new Uint8Array(2 * labels.length * MAX_VARINT_BYTES);
  let at = 0;
  for (const [key, value] of labels) {
    at = writeVarint(packed, at, symbols.refer(key));
    at = writeVarint(packed, at, symbols.refer(value));
  }
  return packed.subarray(0, at);
}

function grown(bytes: Uint8Array<ArrayBuffer>, least: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.max(2 * bytes.length, least));
  larger.set(bytes);
  return larger;
}
