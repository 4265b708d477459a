/**
 * Everything about a series table that its samples need to become lines, worked out once: which
 * line a series belongs to, and the bytes in front of each value. Kept in one arena of bytes with
 * offsets, so that encoding a sample is two table look-ups and a copy.
 */
import type { Labels, SeriesTable } from '../../../domain/telemetry.ts';
import { fieldKey, linePrefix, type PointRules } from './point.ts';

export interface TablePlan {
  /** Series of one group share measurement and tags, and so may share a line. */
  readonly groups: number;
  /** By series: its group. */
  readonly groupOf: Uint32Array;
  /** By series: its field within the table; series that would write the same field share one. */
  readonly slotOf: Uint32Array;
  /** By slot: the serial number of the line that last wrote this field. The encoders' scratch. */
  readonly slotLine: Float64Array;
  /** Serial number of the last line begun, by whichever encoder. */
  lineSerial: number;
  /** `metric=` of series i is at `fieldAt[i]` up to `fieldAt[i + 1]`. */
  readonly fieldAt: Uint32Array;
  /**
   * Of group g: from `headAt[g]` the bytes before the node's name, from `tailAt[g]` those after it.
   */
  readonly headAt: Uint32Array;
  readonly tailAt: Uint32Array;
  /** Holds all of the above; group g's tail ends at `headAt[g + 1]`. */
  readonly arena: Uint8Array;
  /** What the plan weighs in memory, about. */
  readonly weight: number;
}

/** Works out the plan of `table`. */
export function buildTablePlan(table: Pick<SeriesTable, 'series'>, rules: PointRules): TablePlan {
  const { series } = table;
  const { groupOf, prefixes } = groupSeries(table, rules);
  const pieces: string[] = [];
  let at = 0;
  const add = (piece: string) => {
    pieces.push(piece);
    at += Buffer.byteLength(piece);
  };
  const headAt = new Uint32Array(prefixes.length + 1);
  const tailAt = new Uint32Array(prefixes.length);
  prefixes.forEach(({ head, tail }, g) => {
    headAt[g] = at;
    add(head);
    tailAt[g] = at;
    add(tail);
  });
  headAt[prefixes.length] = at;
  const slotOf = new Uint32Array(series.length);
  const slots = new Map<string, number>();
  const fieldAt = new Uint32Array(series.length + 1);
  const fields = new Map<string, string>();
  series.forEach(({ name }, i) => {
    const field = fields.get(name) ?? `${fieldKey(name, rules)}=`;
    fields.set(name, field);
    const slotKey = `${groupOf[i]} ${field}`;
    slotOf[i] = slots.get(slotKey) ?? slots.size;
    slots.set(slotKey, slotOf[i]!);
    fieldAt[i] = at;
    add(field);
  });
  fieldAt[series.length] = at;
  const slotLine = new Float64Array(slots.size);
  const weight = at + 20 * series.length + 8 * prefixes.length + 500;
  return {
    groups: prefixes.length,
    ...{ groupOf, slotOf, slotLine, lineSerial: 0, fieldAt, headAt, tailAt, weight },
    arena: Buffer.from(pieces.join('')),
  };
}

/** Groups in the order of their first series. */
function groupSeries(table: Pick<SeriesTable, 'series'>, rules: PointRules) {
  const groupOf = new Uint32Array(table.series.length);
  const prefixes: { readonly head: string; readonly tail: string }[] = [];
  const groupOfPrefix = new Map<string, number>();
  const groupOfLabels = new Map<Labels, number>();
  table.series.forEach(({ labels }, i) => {
    let group = groupOfLabels.get(labels);
    if (group === undefined) {
      const prefix = linePrefix(labels, rules);
      // The head ends in `=`, so that head and tail put together are as clear as apart.
      const text = prefix.head + prefix.tail;
      group = groupOfPrefix.get(text) ?? prefixes.push(prefix) - 1;
      groupOfPrefix.set(text, group);
      groupOfLabels.set(labels, group);
    }
    groupOf[i] = group;
  });
  return { groupOf, prefixes };
}
