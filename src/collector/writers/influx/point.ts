/**
 * The InfluxDB point of a sample: measurement, tags and field key. It follows from the sample's own
 * series and from the configuration, and from nothing else. So the same sample makes the same point
 * in every batch, and again when it is backfilled from the warehouse.
 *
 * - Every label is a tag. Two series never share a point, whatever else is sent with them.
 * - Names that metrics use and names that labels use never meet: a label keeps its name only where
 *   it is an identity or in `tag_labels`; any other gets `label_` in front, and a metric with such
 *   a name gets `metric_`. InfluxDB keeps one type per name for all nodes, so a node that could
 *   choose the name of another node's metric could have its values refused.
 *
 * docs/influxdb.md explains the rules for operators.
 */
import { createHash } from 'node:crypto';
import { canonicalLabelKey, IDENTITY_KEYS, identifyLabels } from '../../../domain/gpu-identity.ts';
import type { Labels } from '../../../domain/telemetry.ts';

/** The tag that names the node; stamped from the certificate, so no label may take its place. */
const NODE_TAG = 'node_id';
/** Tells apart series whose labels differ only in what line protocol cannot spell. */
const HASH_TAG = 'series_hash';
const LABEL_PREFIX = 'label_';
const METRIC_PREFIX = 'metric_';
/** Names that InfluxDB keeps for itself. */
const RESERVED = ['time', '_time', '_measurement', '_field', '_value'];

export interface PointRules {
  readonly measurementGpu: string;
  readonly measurementNode: string;
  /** Label keys that keep their name, in canonical form. */
  readonly plainKeys: ReadonlySet<string>;
}

/** The rules as configured; `tag_labels` may be given in any known spelling. */
export function pointRules(settings: {
  readonly measurement_gpu: string;
  readonly measurement_node: string;
  readonly tag_labels: readonly string[];
}): PointRules {
  const plainKeys = new Set<string>([
    ...IDENTITY_KEYS,
    ...settings.tag_labels.map(canonicalLabelKey),
  ]);
  for (const key of [NODE_TAG, HASH_TAG, ...RESERVED]) plainKeys.delete(key);
  for (const key of plainKeys) if (key.startsWith(LABEL_PREFIX)) plainKeys.delete(key);
  return {
    measurementGpu: settings.measurement_gpu,
    measurementNode: settings.measurement_node,
    plainKeys,
  };
}

/** The text of a line before the node's name and after it, up to the first field. */
export interface LinePrefix {
  readonly head: string;
  readonly tail: string;
}

/** The beginning of the lines of all series with these labels. */
export function linePrefix(labels: Labels, rules: PointRules): LinePrefix {
  const { identities, rest, isGpu } = identifyLabels(labels);
  const tags = new Map<string, string>(Object.entries(identities));
  for (const [key, value] of rest) {
    // Of two spellings of one identity, the second is an ordinary label.
    const isPlain = rules.plainKeys.has(key) && !tags.has(key);
    tags.set(isPlain ? key : LABEL_PREFIX + key, value);
  }
  const sorted = [...tags].sort(([a], [b]) => (a < b ? -1 : 1));
  if (sorted.some(([key, value]) => isChanged(key) || isChanged(value))) {
    sorted.push([HASH_TAG, hashOf(JSON.stringify(sorted))]);
    sorted.sort(([a], [b]) => (a < b ? -1 : 1));
  }
  const text = (part: typeof sorted) =>
    part.map(([key, value]) => `,${escapeKey(key)}=${escapeKey(value)}`).join('');
  const measurement = isGpu ? rules.measurementGpu : rules.measurementNode;
  const before = text(sorted.filter(([key]) => key < NODE_TAG));
  const after = text(sorted.filter(([key]) => key > NODE_TAG));
  return { head: `${escapeMeasurement(measurement)}${before},${NODE_TAG}=`, tail: `${after} ` };
}

/** The field of a metric, as it is written in a line. No two metrics share one. */
export function fieldKey(metric: string, rules: PointRules): string {
  const base = metric.replace(/^(metric_)+/, '');
  const isTaken =
    base.startsWith(LABEL_PREFIX) ||
    base === NODE_TAG ||
    base === HASH_TAG ||
    RESERVED.includes(base) ||
    rules.plainKeys.has(base);
  const name = isTaken ? METRIC_PREFIX + metric : metric;
  return escapeKey(isChanged(name) ? `${name}_${hashOf(name)}` : name);
}

/**
 * A tag key, a tag value or a field key in line protocol: `,`, `=` and space escaped. InfluxDB and
 * VictoriaMetrics read a backslash differently: one knows `\\` as an escaped backslash, the other
 * as two. So a backslash is only written where both read it alike, in front of an ordinary
 * character; elsewhere a slash takes its place.
 */
export function escapeKey(text: string): string {
  return spellable(text).replace(/[,= ]/g, '\\$&');
}

/** A measurement: `,` and space escaped; a leading `#` would make the line a comment. */
export function escapeMeasurement(text: string): string {
  return spellable(text).replace(/^#/, '_').replace(/[, ]/g, '\\$&');
}

function spellable(text: string): string {
  if (!/[\\\n\r\t]/.test(text)) return text;
  return text
    .replace(/\\(?=[\\,= \n\r\t]|$)/g, '/')
    .replace(/\n/g, '\\n')
    .replace(/\r/g, '\\r')
    .replace(/\t/g, '\\t');
}

/** Whether a reader of the line sees another text than this one. */
function isChanged(text: string): boolean {
  return spellable(text) !== text;
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
