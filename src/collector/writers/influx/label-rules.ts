/**
 * Which label of a series becomes a tag, which a string field, and under which key. The rules are
 * explained for operators in docs/influxdb.md.
 */
import { canonicalLabelKey, identifyLabels } from '../../../domain/gpu-identity.ts';
import type { Labels, SeriesTable } from '../../../domain/telemetry.ts';

/** The tag that names the node; stamped from the certificate, so no label may take its place. */
export const NODE_TAG = 'node_id';

export interface LineRules {
  readonly measurementGpu: string;
  readonly measurementNode: string;
  /** Canonical keys. */
  readonly tagKeys: ReadonlySet<string>;
}

/** The rules as configured; keys may be given in any known spelling. */
export function lineRules(settings: {
  readonly measurement_gpu: string;
  readonly measurement_node: string;
  readonly tag_labels: readonly string[];
}): LineRules {
  const tagKeys = new Set(settings.tag_labels.map(canonicalLabelKey));
  tagKeys.delete(NODE_TAG);
  return {
    measurementGpu: settings.measurement_gpu,
    measurementNode: settings.measurement_node,
    tagKeys,
  };
}

export type Label = readonly [key: string, value: string];

/** Labels seen as part of an InfluxDB point. Keys are final but not escaped; sorted. */
export interface PointLabels {
  readonly measurement: string;
  readonly tags: readonly Label[];
  /** To be string fields, unless they have to be tags to tell two series apart. */
  readonly fields: readonly Label[];
}

/** A series seen as part of an InfluxDB point. */
export interface PointSeries {
  /** Shared, as in the table. */
  readonly labels: PointLabels;
  /** Field key of the value. */
  readonly metric: string;
}

/** Every series of `table` by the rules, in its order. */
export function pointSeries(table: SeriesTable, rules: LineRules): PointSeries[] {
  const metrics = new Set(table.series.map((series) => series.name));
  const known = new Map<Labels, PointLabels>();
  return table.series.map(({ name, labels }) => {
    const point = known.get(labels) ?? pointLabels(labels, metrics, rules);
    known.set(labels, point);
    const isReserved = RESERVED.has(name);
    return { labels: point, metric: isReserved ? freeKey(name, 'metric_', metrics, EMPTY) : name };
  });
}

function pointLabels(labels: Labels, metrics: ReadonlySet<string>, rules: LineRules): PointLabels {
  const { identities, rest, isGpu } = identifyLabels(labels);
  const tags: Label[] = [];
  const fields: Label[] = [];
  const taken = new Set<string>([NODE_TAG, ...rules.tagKeys, ...Object.keys(identities)]);
  for (const [key, value] of Object.entries(identities)) {
    if (rules.tagKeys.has(key)) tags.push([key, value]);
    else fields.push([freeKey(key, 'label_', metrics, new Set([NODE_TAG])), value]);
  }
  const tagged = new Set(tags.map(([key]) => key));
  for (const [key, value] of rest) {
    if (rules.tagKeys.has(key) && !tagged.has(key)) {
      tags.push([key, value]);
      tagged.add(key);
      continue;
    }
    const free = freeKey(key, 'label_', metrics, taken);
    taken.add(free);
    fields.push([free, value]);
  }
  return {
    measurement: isGpu ? rules.measurementGpu : rules.measurementNode,
    tags: tags.sort(byKey),
    fields: fields.sort(byKey),
  };
}

/**
 * `key`, or with `prefix` before it as often as needed to be no metric, no reserved and no taken
 * key.
 */
function freeKey(
  key: string,
  prefix: string,
  metrics: ReadonlySet<string>,
  taken: ReadonlySet<string>,
): string {
  let free = key;
  while (RESERVED.has(free) || metrics.has(free) || taken.has(free)) free = prefix + free;
  return free;
}

/** Keys that InfluxDB keeps for itself. */
const RESERVED: ReadonlySet<string> = new Set([
  'time',
  '_time',
  '_measurement',
  '_field',
  '_value',
]);
const EMPTY: ReadonlySet<string> = new Set();

function byKey(a: Label, b: Label): number {
  return a[0] < b[0] ? -1 : 1;
}
