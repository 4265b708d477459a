/**
 * Everything about a series table that its samples need to become lines, worked out once: which
 * line a series belongs to, and the bytes in front of each value. Kept in one arena of bytes with
 * offsets, so that encoding a sample is two table look-ups and a copy.
 */
import type { SeriesTable } from '../../../domain/telemetry.ts';
import { type Label, type LineRules, NODE_TAG, pointSeries } from './label-rules.ts';
import { escapeKey, escapeMeasurement, quoteString } from './line-escape.ts';
import { groupSeries, type LineGroup } from './promotion.ts';

export interface TablePlan {
  readonly groups: number;
  /** By series: its group. */
  readonly groupOf: Uint32Array;
  /** By series: its field within the table; series that would write the same field share one. */
  readonly slotOf: Uint32Array;
  /** By slot: the serial number of the line that last wrote this field. The encoder's scratch. */
  readonly slotLine: Float64Array;
  /** `metric=` of series i lies at `fieldAt[i]` up to `fieldAt[i + 1]`. */
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
export function buildTablePlan(table: SeriesTable, rules: LineRules): TablePlan {
  const series = pointSeries(table, rules);
  const groups = groupSeries(series);
  const groupOf = new Uint32Array(series.length);
  const slotOf = new Uint32Array(series.length);
  let slots = 0;
  const pieces: string[] = [];
  const fieldAt = new Uint32Array(series.length + 1);
  const headAt = new Uint32Array(groups.length + 1);
  const tailAt = new Uint32Array(groups.length);
  let at = 0;
  const add = (piece: string) => {
    pieces.push(piece);
    at += Buffer.byteLength(piece);
  };
  groups.forEach((group, g) => {
    const [head, tail] = linePrefix(group);
    headAt[g] = at;
    add(head);
    tailAt[g] = at;
    add(tail);
    const slotOfMetric = new Map<string, number>();
    for (const member of group.members) {
      groupOf[member] = g;
      const { metric } = series[member]!;
      const slot = slotOfMetric.get(metric) ?? slots++;
      slotOfMetric.set(metric, slot);
      slotOf[member] = slot;
    }
  });
  headAt[groups.length] = at;
  const fieldOfMetric = new Map<string, string>();
  series.forEach(({ metric }, i) => {
    fieldAt[i] = at;
    const field = fieldOfMetric.get(metric) ?? `${escapeKey(metric)}=`;
    fieldOfMetric.set(metric, field);
    add(field);
  });
  fieldAt[series.length] = at;
  const slotLine = new Float64Array(slots);
  const weight = at + 20 * series.length + 8 * groups.length + 500;
  return {
    groups: groups.length,
    ...{ groupOf, slotOf, slotLine, fieldAt, headAt, tailAt, weight },
    arena: Buffer.from(pieces.join('')),
  };
}

/** What stands before the node's name and after it, up to the first value's field key. */
function linePrefix(group: LineGroup): [head: string, tail: string] {
  const tag = ([key, value]: Label) => `,${escapeKey(key)}=${escapeKey(value)}`;
  const before = group.tags.filter(([key]) => key < NODE_TAG).map(tag);
  const after = group.tags.filter(([key]) => key > NODE_TAG).map(tag);
  const fields = group.fields.map(([key, value]) => `${escapeKey(key)}=${quoteString(value)},`);
  return [
    `${escapeMeasurement(group.measurement)}${before.join('')},${NODE_TAG}=`,
    `${after.join('')} ${fields.join('')}`,
  ];
}
