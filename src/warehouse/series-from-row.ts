/**
 * The way back from a row of the warehouse to the series it came from: one that the InfluxDB writer
 * turns into the same point.
 */
import type { MetricKind, Series } from '../domain/telemetry.ts';
import { LABEL_IDENTITIES, SERIES_COLUMNS } from './columns.ts';

const METRIC = columnIndex('metric');
const UNIT = columnIndex('unit');
const KIND = columnIndex('kind');
const LABELS = columnIndex('labels');
const IDENTITIES = SERIES_COLUMNS.flatMap(({ name, nullable }, index) =>
  nullable ? [{ name, index }] : [],
);

/**
 * Rebuilds a series from its cells, in the order of `SERIES_COLUMNS`; '' in a nullable column is
 * absent, as parquetjs writes it. Identities come first among the labels: of two labels that spell
 * the same one, the first names it. Throws where `labels` is no JSON object.
 */
export function seriesFromRow(cells: readonly (string | null)[]): Series {
  const labels: [string, string][] = [];
  for (const { name, index } of IDENTITIES) {
    const value = cells[index];
    if (value !== null && value !== undefined && value !== '') labels.push([name, value]);
  }
  const rest = new Map<string, string>(Object.entries(JSON.parse(cells[LABELS] ?? '{}')));
  for (const name of LABEL_IDENTITIES) {
    const key = longestKey(rest, name);
    const value = rest.get(key);
    if (value === undefined) continue;
    labels.push([name, value]);
    rest.delete(key);
  }
  return {
    name: cells[METRIC] ?? '',
    labels: [...labels, ...[...rest].sort(([a], [b]) => (a < b ? -1 : 1))],
    kind: cells[KIND] as MetricKind,
    unit: cells[UNIT] ?? '',
  };
}

/** Where a label of that very name was there as well, the identity got underscores behind it. */
function longestKey(labels: ReadonlyMap<string, string>, name: string): string {
  return labels.has(`${name}_`) && labels.has(name) ? longestKey(labels, `${name}_`) : name;
}

function columnIndex(name: (typeof SERIES_COLUMNS)[number]['name']): number {
  return SERIES_COLUMNS.findIndex((column) => column.name === name);
}
