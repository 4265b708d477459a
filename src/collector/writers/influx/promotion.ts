/**
 * Keeping different series apart. To InfluxDB a point is (measurement, tags, timestamp): two series
 * of one table that differ only in labels written as string fields (two pods on one shared GPU, two
 * error codes) would overwrite each other. Where that could happen, the labels they disagree on are
 * made tags.
 */
import { createHash } from 'node:crypto';
import type { Label, PointSeries } from './label-rules.ts';
import { escapeKey, escapeMeasurement } from './line-escape.ts';

/** Series with all labels equal: they share a line. */
export interface LineGroup {
  readonly measurement: string;
  /** Sorted by key; promoted labels are among them. */
  readonly tags: readonly Label[];
  readonly fields: readonly Label[];
  /** Positions in the table. */
  readonly members: readonly number[];
}

/**
 * Groups the series of one table by their labels and promotes labels where series would collide.
 */
export function groupSeries(series: readonly PointSeries[]): LineGroup[] {
  const byLabels = groupBy([...series.keys()], (i) => series[i]!.labels);
  const groups = groupBy(byLabels, ([first]) => JSON.stringify(series[first!]!.labels)).map(
    (same) => ({ ...series[same[0]![0]!]!.labels, members: same.flat() }),
  );
  const points = groupBy(groups, (group) => JSON.stringify([group.measurement, group.tags]));
  const promoted = points.flatMap((point) => {
    const keys = disputedKeys(point, series);
    return point.map((group) => promote(group, keys));
  });
  return separate(promoted, series);
}

/**
 * The label keys on which groups of one point disagree: with two different values anywhere (a point
 * holds one value per key), or with and without where both groups have the same metric.
 */
function disputedKeys(point: readonly LineGroup[], series: readonly PointSeries[]): Set<string> {
  const disputed = new Set<string>();
  if (point.length === 1) return disputed;
  const values = new Map<string, string>();
  const firstOfMetric = new Map<string, LineGroup>();
  for (const group of point) {
    for (const [key, value] of group.fields) {
      const known = values.get(key);
      if (known === undefined) values.set(key, value);
      else if (known !== value) disputed.add(key);
    }
    for (const member of group.members) {
      const { metric } = series[member]!;
      const first = firstOfMetric.get(metric);
      if (first === undefined) firstOfMetric.set(metric, group);
      else if (first !== group) addOneSided(first, group, disputed);
    }
  }
  return disputed;
}

function addOneSided(a: LineGroup, b: LineGroup, disputed: Set<string>): void {
  const keysOfA = new Set(a.fields.map(([key]) => key));
  const keysOfB = new Set(b.fields.map(([key]) => key));
  for (const key of keysOfA) if (!keysOfB.has(key)) disputed.add(key);
  for (const key of keysOfB) if (!keysOfA.has(key)) disputed.add(key);
}

function promote(group: LineGroup, keys: ReadonlySet<string>): LineGroup {
  if (!group.fields.some(([key]) => keys.has(key))) return group;
  const moved = group.fields.filter(([key]) => keys.has(key));
  return {
    ...group,
    tags: [...group.tags, ...moved].sort(([a], [b]) => (a < b ? -1 : 1)),
    fields: group.fields.filter(([key]) => !keys.has(key)),
  };
}

/**
 * The last resort: values that differ only in what line protocol cannot spell (see line-escape.ts)
 * get a tag with a hash of their labels.
 */
function separate(groups: readonly LineGroup[], series: readonly PointSeries[]): LineGroup[] {
  const samePoint = groupBy(groups, escapedPoint).filter((same) => same.length > 1);
  const colliding = new Set(samePoint.flatMap((same) => sharingMetrics(same, series)));
  return groups.map((group) => {
    if (!colliding.has(group)) return group;
    const text = JSON.stringify([group.tags, group.fields]);
    const hash = createHash('sha256').update(text).digest('hex').slice(0, 16);
    const tags: Label[] = [...group.tags, ['series_hash', hash]];
    return { ...group, tags: tags.sort(([a], [b]) => (a < b ? -1 : 1)) };
  });
}

/** Those of some groups of one point that have a metric in common with another. */
function sharingMetrics(
  groups: readonly LineGroup[],
  series: readonly PointSeries[],
): readonly LineGroup[] {
  const owners = new Map<string, LineGroup>();
  const sharing: LineGroup[] = [];
  for (const group of groups) {
    for (const member of group.members) {
      const { metric } = series[member]!;
      const owner = owners.get(metric);
      if (owner === undefined) owners.set(metric, group);
      else if (owner !== group) sharing.push(owner, group);
    }
  }
  return sharing;
}

function escapedPoint(group: LineGroup): string {
  const tags = group.tags.map(([key, value]) => `,${escapeKey(key)}=${escapeKey(value)}`);
  return escapeMeasurement(group.measurement) + tags.join('');
}

function groupBy<T, Key>(items: readonly T[], keyOf: (item: T) => Key): T[][] {
  const groups = new Map<Key, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return [...groups.values()];
}
