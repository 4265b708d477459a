/**
 * Reads the untrusted bytes of a series table. Whatever they are, the outcome is a
 * list of sound series or one sentence about the first thing wrong, and the memory used is bounded
 * by the bytes. Series with the same labels share one label array: a GPU's forty metrics differ by
 * name only.
 */
import { Reader } from 'protobufjs';
import { errorMessage } from '../lib/errors.ts';
import type { MetricKind, Series } from '../domain/telemetry.ts';
import { SERIES_TAGS, TABLE_TAGS } from './messages.ts';
import { asBuffer, decodeText } from './text.ts';

export interface TableLimits {
  /** Labels that are not empty. */
  readonly maxLabelsPerSeries: number;
  /** Of a metric name, a label key, a unit. */
  readonly maxNameBytes: number;
  readonly maxLabelValueBytes: number;
  /** Series of one table. */
  readonly maxSeries: number;
  /**
   * Characters of the names and labels of all series of a table, each written out. Series share
   * their texts in a table, so that a megabyte of it could otherwise expand to gigabytes.
   */
  readonly maxTextCharacters: number;
  /**
   * The same for each byte of the table, beyond the first 64 Ki: what is dear must also be long.
   */
  readonly maxTextPerByte: number;
}

export type TableResult =
  | { readonly ok: true; readonly series: readonly Series[] }
  | { readonly ok: false; readonly message: string };

export type Label = readonly [key: string, value: string];

const FREE_TEXT_CHARACTERS = 65_536;

const KINDS: readonly MetricKind[] = ['unspecified', 'gauge', 'counter'];

/**
 * Thrown inside this file only, and by the row form for its labels; the message is for the sender.
 */
export class InvalidSeries extends Error {}

/** Parses an encoded `SeriesTable`. Never throws; keeps no view of `bytes`. */
export function parseSeriesTable(bytes: Uint8Array, limits: TableLimits): TableResult {
  try {
    return { ok: true, series: new TableParser(asBuffer(bytes), limits).parse() };
  } catch (error) {
    const message = errorMessage(error);
    const isOurs = error instanceof InvalidSeries;
    return { ok: false, message: isOurs ? message : `series table is not protobuf: ${message}` };
  }
}

/** A kind the contract does not know yet is no reason to refuse a series. */
export function kindOf(value: number): MetricKind {
  return KINDS[value] ?? 'unspecified';
}

/**
 * Makes labels canonical: sorted by key, without those that have an empty value. Sorts and shortens
 * the array it is given. Throws InvalidSeries, beginning with `where`.
 */
export function canonicalLabels(
  labels: Label[],
  maxLabels: number,
  where: () => string,
): readonly Label[] {
  labels.sort(byKey);
  for (let index = 1; index < labels.length; index += 1) {
    const key = labels[index]![0];
    if (key === labels[index - 1]![0]) {
      throw new InvalidSeries(`${where()} has label ${JSON.stringify(key)} twice`);
    }
  }
  const kept = labels.every(hasValue) ? labels : labels.filter(hasValue);
  if (kept.length > maxLabels) {
    throw new InvalidSeries(`${where()} has ${kept.length} labels, over the limit of ${maxLabels}`);
  }
  return kept;
}

function byKey(a: Label, b: Label): number {
  return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
}

function hasValue(label: Label): boolean {
  return label[1] !== '';
}

interface LabelSet {
  readonly labels: readonly Label[];
  /** Of its keys and values together. */
  readonly characters: number;
}

function labelSetOf(labels: readonly Label[]): LabelSet {
  let characters = 0;
  for (const [key, value] of labels) characters += key.length + value.length;
  return { labels, characters };
}

interface RawSeries {
  name: number;
  kind: number;
  unit: number;
  /** The packed label references, where the series has them in one piece. */
  labelsStart: number;
  labelsEnd: number;
  /** Where it has not: all the references. */
  scattered: number[] | undefined;
}

class TableParser {
  readonly #bytes: Buffer;
  readonly #reader: Reader;
  readonly #limits: TableLimits;
  readonly #symbols: string[] = [];
  readonly #symbolBytes: number[] = [];
  readonly #series: Series[] = [];
  readonly #maxTextCharacters: number;
  #textCharacters = 0;
  /** Label sets by their packed references, as latin1 text. */
  readonly #labelSets = new Map<string, LabelSet>();
  /** Labels by key reference × number of symbols + value reference. */
  readonly #labels = new Map<number, Label>();

  constructor(bytes: Buffer, limits: TableLimits) {
    this.#bytes = bytes;
    this.#reader = Reader.create(bytes);
    this.#limits = limits;
    const { maxTextCharacters, maxTextPerByte } = limits;
    const earned = FREE_TEXT_CHARACTERS + maxTextPerByte * bytes.length;
    this.#maxTextCharacters = Math.min(maxTextCharacters, earned);
  }

  parse(): readonly Series[] {
    // Two walks, since nothing forbids a symbol behind the series that uses it.
    this.#walk(TABLE_TAGS.symbols, (start, end) => this.#addSymbol(start, end));
    if (this.#symbols.length > 0 && this.#symbols[0] !== '') {
      throw new InvalidSeries('symbol 0 is not the empty string');
    }
    this.#walk(TABLE_TAGS.series, (_start, end) => this.#addSeries(end));
    return this.#series;
  }

  /** Calls `visit` with the extent of each field with this tag; the reader is at its start. */
  #walk(wantedTag: number, visit: (start: number, end: number) => void): void {
    const reader = this.#reader;
    const tableEnd = this.#bytes.length;
    reader.pos = 0;
    while (reader.pos < tableEnd) {
      const tag = reader.tag();
      if (tag !== wantedTag) {
        reader.skipType(tag & 7, 0, tag >>> 3);
        continue;
      }
      const bytes = reader.size();
      const end = reader.pos + bytes;
      if (end > tableEnd) throw new InvalidSeries('series table ends in the middle of a field');
      visit(reader.pos, end);
      reader.pos = end;
    }
  }

  #addSymbol(start: number, end: number): void {
    const text = decodeText(this.#bytes, start, end);
    if (text === undefined) {
      throw new InvalidSeries(`symbol ${this.#symbols.length} is not UTF-8`);
    }
    this.#symbols.push(text);
    this.#symbolBytes.push(end - start);
  }

  #addSeries(end: number): void {
    const raw = this.#readSeries(end);
    const name = this.#name('name', raw.name);
    if (name === '') throw new InvalidSeries(`${this.#where()} has no name`);
    const { labels, characters } = this.#labelSet(raw);
    this.#checkSize(name.length + characters);
    const unit = this.#name('unit', raw.unit);
    this.#series.push({ name, labels, kind: kindOf(raw.kind), unit });
  }

  #checkSize(characters: number): void {
    const { maxSeries } = this.#limits;
    const limit = this.#maxTextCharacters;
    if (this.#series.length >= maxSeries) {
      throw new InvalidSeries(`table has more than ${maxSeries} series`);
    }
    this.#textCharacters += characters;
    if (this.#textCharacters > limit) {
      const found = `up to ${this.#where()} come to ${this.#textCharacters} characters`;
      throw new InvalidSeries(`names and labels ${found}, over the limit of ${limit}`);
    }
  }

  #readSeries(end: number): RawSeries {
    const reader = this.#reader;
    const raw: RawSeries = {
      name: 0,
      kind: 0,
      unit: 0,
      labelsStart: 0,
      labelsEnd: 0,
      scattered: undefined,
    };
    reader.len = end;
    while (reader.pos < end) {
      const tag = reader.tag();
      if (tag === SERIES_TAGS.name) raw.name = reader.uint32();
      else if (tag === SERIES_TAGS.kind) raw.kind = reader.uint32();
      else if (tag === SERIES_TAGS.unit) raw.unit = reader.uint32();
      else if (tag === SERIES_TAGS.labels) this.#readLabels(raw);
      else if (tag === SERIES_TAGS.labelsUnpacked) {
        raw.scattered = this.#references(raw);
        raw.scattered.push(reader.uint32());
      } else reader.skipType(tag & 7, 0, tag >>> 3);
    }
    if (reader.pos !== end)
      throw new InvalidSeries(`${this.#where()} ends in the middle of a field`);
    reader.len = this.#bytes.length;
    return raw;
  }

  #readLabels(raw: RawSeries): void {
    const reader = this.#reader;
    const bytes = reader.size();
    const end = reader.pos + bytes;
    if (end > reader.len) throw new InvalidSeries(`${this.#where()} has labels past its end`);
    if (raw.labelsEnd === 0 && raw.scattered === undefined) {
      raw.labelsStart = reader.pos;
      raw.labelsEnd = end;
      reader.pos = end;
      return;
    }
    raw.scattered = this.#references(raw);
    this.#readReferences(raw.scattered, end);
  }

  /** All label references read so far, as an array to add to. */
  #references(raw: RawSeries): number[] {
    if (raw.scattered !== undefined) return raw.scattered;
    const references: number[] = [];
    const { pos, len } = this.#reader;
    this.#reader.pos = raw.labelsStart;
    this.#readReferences(references, raw.labelsEnd);
    this.#reader.pos = pos;
    this.#reader.len = len;
    return references;
  }

  #readReferences(into: number[], end: number): void {
    const reader = this.#reader;
    const len = reader.len;
    reader.len = end;
    while (reader.pos < end) into.push(reader.uint32());
    if (reader.pos !== end) throw new InvalidSeries(`${this.#where()} has labels past their end`);
    reader.len = len;
  }

  #labelSet(raw: RawSeries): LabelSet {
    if (raw.scattered !== undefined) return labelSetOf(this.#resolveLabels(raw.scattered));
    const key = this.#bytes.toString('latin1', raw.labelsStart, raw.labelsEnd);
    const known = this.#labelSets.get(key);
    if (known !== undefined) return known;
    const set = labelSetOf(this.#resolveLabels(this.#references(raw)));
    this.#labelSets.set(key, set);
    return set;
  }

  #resolveLabels(references: readonly number[]): readonly Label[] {
    if (references.length % 2 !== 0) {
      throw new InvalidSeries(`${this.#where()} has a label key without a value`);
    }
    const labels: Label[] = [];
    for (let index = 0; index < references.length; index += 2) {
      labels.push(this.#label(references[index]!, references[index + 1]!));
    }
    return canonicalLabels(labels, this.#limits.maxLabelsPerSeries, () => this.#where());
  }

  #label(keyReference: number, valueReference: number): Label {
    const id = keyReference * this.#symbols.length + valueReference;
    const isSound = valueReference < this.#symbols.length;
    const known = isSound ? this.#labels.get(id) : undefined;
    if (known !== undefined) return known;
    const key = this.#name('label key', keyReference);
    if (key === '') throw new InvalidSeries(`${this.#where()} has a label with an empty key`);
    const value = this.#symbol('label value', valueReference, this.#limits.maxLabelValueBytes);
    const label: Label = [key, value];
    this.#labels.set(id, label);
    return label;
  }

  #name(what: string, reference: number): string {
    // Reference 0 is right even in a table without symbols: a field that is not there reads as 0.
    if (reference === 0) return '';
    return this.#symbol(what, reference, this.#limits.maxNameBytes);
  }

  #symbol(what: string, reference: number, maxBytes: number): string {
    const text = this.#symbols[reference];
    if (text === undefined) {
      const found = `points at symbol ${reference} of ${this.#symbols.length}`;
      throw new InvalidSeries(`${what} of ${this.#where()} ${found}`);
    }
    const bytes = this.#symbolBytes[reference]!;
    if (bytes > maxBytes) {
      const found = `has ${bytes} bytes, over the limit of ${maxBytes}`;
      throw new InvalidSeries(`${what} of ${this.#where()} ${found}`);
    }
    return text;
  }

  #where(): string {
    return `series ${this.#series.length}`;
  }
}
