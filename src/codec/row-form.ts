/**
 * The row form: samples that carry their own names and labels. It becomes columnar here, with a
 * table built from the rows.
 *
 * A sender repeats itself: its next frame has the same series in the same order, and only times and
 * values differ. So the reader remembers the identity bytes of the last frame's rows; while they
 * come again, a row costs one comparison. Otherwise the rows are parsed and a table is made.
 */
import { Reader } from 'protobufjs';
import { errorMessage } from '../lib/errors.ts';
import type { BatchRejectReason, SampleColumns, Series, SeriesTable } from '../domain/telemetry.ts';
import type { ScannedFrame } from './frame-scan.ts';
import { signedNumber } from './long.ts';
import { BATCH_TAGS, MAP_ENTRY_TAGS, METRIC_TAGS } from './messages.ts';
import { encodeSeriesTable } from './series-table.ts';
import { postponed, type TablePostponed } from './table-budget.ts';
import {
  canonicalLabels,
  InvalidSeries,
  kindOf,
  type Label,
  type TableLimits,
} from './table-parser.ts';
import { decodeText } from './text.ts';

/** The table that all samples of the batch point into, or why there is none. */
export type RowResult =
  | { readonly ok: true; readonly table: SeriesTable }
  | { readonly ok: false; readonly reason: BatchRejectReason; readonly message: string }
  | TablePostponed;

/** A frame's rows as remembered. */
interface RowLayout {
  /** The table of the columns in the same frame, which the rows' series were added to. */
  readonly base: SeriesTable;
  readonly table: SeriesTable;
  /** What comes before the time and the value of each row, one after the other. */
  readonly identities: Buffer;
  readonly identityEnds: Uint32Array;
  readonly series: Uint32Array;
}

interface Row {
  series: Series;
  timestampMs: number;
  value: number;
  /** Where time and value begin; -1 where they don't come last. */
  identityEnd: number;
}

/** Turns the rows of a frame into columns over a table of their own. */
export class RowReader {
  readonly #limits: TableLimits;
  #layout: RowLayout | undefined;

  constructor(limits: TableLimits) {
    this.#limits = limits;
  }

  /**
   * Reads the rows of a scanned frame into `samples`, from entry `offset` to the end. `base` is the
   * table of the samples before them. `charge` is asked before rows are read that are not those of
   * the frame before, as `TableBudget` is. Never throws.
   */
  read(
    scan: ScannedFrame,
    base: SeriesTable,
    samples: SampleColumns,
    offset: number,
    charge: (bytes: number) => number,
  ): RowResult {
    const layout = this.#layout;
    try {
      if (layout?.base === base && readKnownRows(scan, layout, samples, offset)) {
        return { ok: true, table: layout.table };
      }
      // The rows' series are kept apart from those of the base, and both become one table.
      const waitMs = charge(scan.frame.length - scan.table.length + base.bytes.length);
      if (waitMs > 0) return postponed(waitMs);
      return { ok: true, table: this.#readNewRows(scan, base, samples, offset) };
    } catch (error) {
      const reason = error instanceof InvalidSeries ? 'bad_series' : 'bad_frame';
      return { ok: false, reason, message: errorMessage(error) };
    }
  }

  #readNewRows(
    scan: ScannedFrame,
    base: SeriesTable,
    samples: SampleColumns,
    offset: number,
  ): SeriesTable {
    const reader = Reader.create(scan.frame);
    reader.pos = scan.firstRow;
    const series = [...base.series];
    const indexes = new Map(series.map((entry, index) => [identityKey(entry), index]));
    const identities: Buffer[] = [];
    for (let row = 0; row < scan.rowCount; row += 1) {
      const end = nextRow(reader);
      const start = reader.pos;
      const parsed = new RowParser(scan.frame, reader, end, row, this.#limits).parse();
      const key = identityKey(parsed.series);
      let index = indexes.get(key);
      if (index === undefined) {
        index = series.push(parsed.series) - 1;
        indexes.set(key, index);
      }
      samples.series[offset + row] = index;
      samples.timestampsMs[offset + row] = parsed.timestampMs;
      samples.values[offset + row] = parsed.value;
      if (parsed.identityEnd >= 0) identities.push(scan.frame.subarray(start, parsed.identityEnd));
    }
    const table = series.length === base.series.length ? base : encodeSeriesTable(series);
    if (identities.length === scan.rowCount) {
      this.#layout = rememberRows(base, table, identities, samples.series.slice(offset));
    }
    return table;
  }
}

function rememberRows(
  base: SeriesTable,
  table: SeriesTable,
  identities: readonly Buffer[],
  series: Uint32Array,
): RowLayout {
  const identityEnds = new Uint32Array(identities.length);
  let end = 0;
  for (let row = 0; row < identities.length; row += 1) {
    end += identities[row]!.length;
    identityEnds[row] = end;
  }
  return { base, table, identities: Buffer.concat(identities), identityEnds, series };
}

/** Reads rows that are as remembered; false, with `samples` spoilt, where one is not. */
function readKnownRows(
  scan: ScannedFrame,
  layout: RowLayout,
  samples: SampleColumns,
  offset: number,
): boolean {
  if (layout.series.length !== scan.rowCount) return false;
  const { frame } = scan;
  const reader = Reader.create(frame);
  reader.pos = scan.firstRow;
  let identityStart = 0;
  for (let row = 0; row < scan.rowCount; row += 1) {
    const end = nextRow(reader);
    const identityEnd = layout.identityEnds[row]!;
    const start = reader.pos;
    const tailStart = start + identityEnd - identityStart;
    if (tailStart > end) return false;
    if (frame.compare(layout.identities, identityStart, identityEnd, start, tailStart) !== 0) {
      return false;
    }
    reader.pos = tailStart;
    if (!readRowTail(reader, frame, end, samples, offset + row)) return false;
    identityStart = identityEnd;
  }
  samples.series.set(layout.series, offset);
  return true;
}

function readRowTail(
  reader: Reader,
  frame: Buffer,
  end: number,
  samples: SampleColumns,
  at: number,
): boolean {
  let timestampMs = 0;
  let value = 0;
  while (reader.pos < end) {
    const tag = reader.tag();
    if (tag === METRIC_TAGS.timestampMs) {
      timestampMs = readInt64(reader);
    } else if (tag === METRIC_TAGS.value && reader.pos + 8 <= end) {
      value = frame.readDoubleLE(reader.pos);
      reader.pos += 8;
    } else {
      return false;
    }
  }
  samples.timestampsMs[at] = timestampMs;
  samples.values[at] = value;
  return reader.pos === end;
}

/**
 * Moves to the next row's content and returns where that ends. The scan has seen that there is one.
 */
function nextRow(reader: Reader): number {
  for (;;) {
    const tag = reader.tag();
    if (tag === BATCH_TAGS.metrics) {
      const length = reader.size();
      return reader.pos + length;
    }
    reader.skipType(tag & 7, 0, tag >>> 3);
  }
}

/**
 * A varint as a signed number, without the object that `Reader.int64` makes where it is not long.
 */
function readInt64(reader: Reader): number {
  const { buf, pos, len } = reader;
  const end = Math.min(len, pos + 7);
  let value = 0;
  let scale = 1;
  for (let position = pos; position < end; position += 1) {
    const byte = buf[position]!;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) {
      reader.pos = position + 1;
      return value;
    }
    scale *= 0x80;
  }
  return signedNumber(reader.int64());
}

/** Says the same for two series only where they are the same: lengths precede the texts. */
function identityKey(series: Series): string {
  const { name, labels, kind, unit } = series;
  let key = `${kind} ${unit.length}:${unit}${name.length}:${name}`;
  for (const [labelKey, value] of labels) {
    key += `${labelKey.length}:${labelKey}${value.length}:${value}`;
  }
  return key;
}

/**
 * Parses one row. Throws InvalidSeries where its series is not sound, otherwise what the reader
 * throws.
 */
class RowParser {
  readonly #frame: Buffer;
  readonly #reader: Reader;
  readonly #end: number;
  readonly #row: number;
  readonly #limits: TableLimits;
  readonly #labels: Label[] = [];

  constructor(frame: Buffer, reader: Reader, end: number, row: number, limits: TableLimits) {
    this.#frame = frame;
    this.#reader = reader;
    this.#end = end;
    this.#row = row;
    this.#limits = limits;
  }

  parse(): Row {
    const reader = this.#reader;
    const { maxNameBytes } = this.#limits;
    let name = '';
    let kind = 0;
    let unit = '';
    const row = { timestampMs: 0, value: 0 };
    let tailStart = -1;
    let isPlain = true;
    reader.len = this.#end;
    while (reader.pos < this.#end) {
      const fieldStart = reader.pos;
      const tag = reader.tag();
      if (tag === METRIC_TAGS.timestampMs || tag === METRIC_TAGS.value) {
        if (tailStart < 0) tailStart = fieldStart;
        if (tag === METRIC_TAGS.value) row.value = reader.double();
        else row.timestampMs = readInt64(reader);
        continue;
      }
      if (tailStart >= 0) isPlain = false;
      if (tag === METRIC_TAGS.name) name = this.#text('metric name', maxNameBytes);
      else if (tag === METRIC_TAGS.labels) this.#readLabel();
      else if (tag === METRIC_TAGS.kind) kind = reader.uint32();
      else if (tag === METRIC_TAGS.unit) unit = this.#text('unit', maxNameBytes);
      else reader.skipType(tag & 7, 0, tag >>> 3);
    }
    if (reader.pos !== this.#end) throw new RangeError(`${this.#where()} goes past its end`);
    reader.len = this.#frame.length;
    if (name === '') throw new InvalidSeries(`${this.#where()} has no metric name`);
    const series = { name, labels: this.#canonicalLabels(), kind: kindOf(kind), unit };
    const identityEnd = !isPlain ? -1 : tailStart < 0 ? this.#end : tailStart;
    return { ...row, series, identityEnd };
  }

  #readLabel(): void {
    const reader = this.#reader;
    const length = reader.size();
    const end = reader.pos + length;
    if (end > this.#end) throw new RangeError(`a label of ${this.#where()} goes past its end`);
    let key = '';
    let value = '';
    reader.len = end;
    while (reader.pos < end) {
      const tag = reader.tag();
      if (tag === MAP_ENTRY_TAGS.key) key = this.#text('label key', this.#limits.maxNameBytes);
      else if (tag === MAP_ENTRY_TAGS.value) {
        value = this.#text('label value', this.#limits.maxLabelValueBytes);
      } else reader.skipType(tag & 7, 0, tag >>> 3);
    }
    if (reader.pos !== end) throw new RangeError(`a label of ${this.#where()} goes past its end`);
    reader.len = this.#end;
    if (key === '') throw new InvalidSeries(`${this.#where()} has a label with an empty key`);
    this.#labels.push([key, value]);
  }

  /**
   * The labels as the contract wants them; of a key that came twice the last one counts, as in any
   * map.
   */
  #canonicalLabels(): readonly Label[] {
    const labels = this.#labels;
    const byKey = new Map(labels.map((label) => [label[0], label]));
    const unique = byKey.size === labels.length ? labels : [...byKey.values()];
    return canonicalLabels(unique, this.#limits.maxLabelsPerSeries, () => this.#where());
  }

  #text(what: string, maxBytes: number): string {
    const reader = this.#reader;
    const length = reader.size();
    const start = reader.pos;
    const end = start + length;
    if (end > reader.len) throw new RangeError(`${what} of ${this.#where()} goes past its end`);
    if (length > maxBytes) {
      const found = `has ${length} bytes, over the limit of ${maxBytes}`;
      throw new InvalidSeries(`${what} of ${this.#where()} ${found}`);
    }
    const text = decodeText(this.#frame, start, end);
    if (text === undefined) throw new InvalidSeries(`${what} of ${this.#where()} is not UTF-8`);
    reader.pos = end;
    return text;
  }

  #where(): string {
    return `row ${this.#row}`;
  }
}
