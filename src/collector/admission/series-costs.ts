/**
 * What the series of a table cost behind the door, worked out once per table: the text that caches
 * and files hold of each, and the line that a sample of it can become.
 *
 * A label is sent once per table and written again with every sample, with its quotes escaped: a
 * megabyte of samples whose labels are nothing but quotes would be sixty of line protocol.
 */
import type { Labels, Series, SeriesTable } from '../../domain/telemetry.ts';

/** Measurement, node, value, time, and the marks between them. */
const LINE_FRAME_BYTES = 128;
/** `,` and `=` around each label, and the quotes around its value. */
const LABEL_MARK_BYTES = 4;
/** What line protocol writes with a backslash in front, in one place or another. */
const ESCAPED: ReadonlySet<number> = new Set(Buffer.from('"\\,= '));

export interface SeriesCosts {
  /** Of each series: UTF-8 bytes of its name, its unit and its labels. */
  readonly textBytes: Uint32Array;
  /** Of each series: bytes of a line that holds one sample of it and no other. */
  readonly lineBytes: Uint32Array;
  readonly largestLineBytes: number;
}

/** Remembers the costs of a table while the table is in use. */
export class TableCosts {
  readonly #known = new WeakMap<SeriesTable, SeriesCosts>();

  of(table: SeriesTable): SeriesCosts {
    let costs = this.#known.get(table);
    if (costs === undefined) {
      costs = costsOf(table.series);
      this.#known.set(table, costs);
    }
    return costs;
  }
}

/** Works the costs out. Series of one table share label arrays, so each array is measured once. */
export function costsOf(series: readonly Series[]): SeriesCosts {
  const textBytes = new Uint32Array(series.length);
  const lineBytes = new Uint32Array(series.length);
  const ofLabels = new Map<Labels, { text: number; line: number }>();
  let largestLineBytes = 0;
  for (const [index, { name, labels, unit }] of series.entries()) {
    let cost = ofLabels.get(labels);
    if (cost === undefined) {
      cost = costOfLabels(labels);
      ofLabels.set(labels, cost);
    }
    textBytes[index] = Buffer.byteLength(name) + Buffer.byteLength(unit) + cost.text;
    const line = LINE_FRAME_BYTES + escapedBytes(name) + cost.line;
    lineBytes[index] = line;
    largestLineBytes = Math.max(largestLineBytes, line);
  }
  return { textBytes, lineBytes, largestLineBytes };
}

function costOfLabels(labels: Labels): { text: number; line: number } {
  let text = 0;
  let line = 0;
  for (const [key, value] of labels) {
    text += Buffer.byteLength(key) + Buffer.byteLength(value);
    line += escapedBytes(key) + escapedBytes(value) + LABEL_MARK_BYTES;
  }
  return { text, line };
}

function escapedBytes(text: string): number {
  let bytes = Buffer.byteLength(text);
  for (let index = 0; index < text.length; index += 1) {
    if (ESCAPED.has(text.charCodeAt(index))) bytes += 1;
  }
  return bytes;
}
