/**
 * One row of a DCGM export → readings. Pure. The long form has one metric a row (`metric_name`,
 * `value`), the wide form one metric a column (`gpu_utilization`, `memory_used_mb`, …).
 */
import type { Reading } from '../../client/reading.ts';
import { isBlankText, parseMetricValue } from './blank-values.ts';
import { parseLabelList } from './label-list.ts';
import { describeMetric, isDcgmMetric, speaksRenamedVocabulary } from './metric-units.ts';
import { canonicalKey, canonicalLabels, type LabelPair } from './source-labels.ts';
import { parseTimestamp } from './timestamp-text.ts';

/** Which cell means what. */
export interface DcgmCsvLayout {
  readonly columns: number;
  readonly timestamp: number;
  /** Long form: where the metric's name and value are; undefined in the wide form. */
  readonly long: { readonly metric: number; readonly value: number } | undefined;
  /** A cell with a Prometheus label list; -1 where there is none. */
  readonly labelList: number;
  readonly labels: readonly { readonly cell: number; readonly key: string }[];
  /** Wide form: the columns that are metrics. */
  readonly metrics: readonly { readonly cell: number; readonly name: string }[];
}

/** Takes what was not turned into a reading; `what` is '' for the whole row. */
export type SkipCell = (what: string, why: string) => void;

const MAX_COLUMNS = 1000;
const ROLES: Readonly<Record<string, 'timestamp' | 'metric' | 'value' | 'labelList'>> = {
  timestamp: 'timestamp',
  time: 'timestamp',
  metric_name: 'metric',
  metric: 'metric',
  __name__: 'metric',
  value: 'value',
  labels_raw: 'labelList',
  labels: 'labelList',
};
/** Columns of the wide form that describe a GPU rather than measure it, besides the identities. */
const DESCRIPTIVE = /^(device|hostname|host|node|instance|cluster|rack|.*(version|name|serial))$/i;

/** Reads the header, or says what keeps the file from being understood. */
export function planDcgmCsv(header: readonly string[]): DcgmCsvLayout | string {
  const names = header.map(cleanCell);
  const duplicate = findDuplicate(names);
  if (duplicate !== undefined) return duplicate;
  if (names.length > MAX_COLUMNS) return `${names.length} columns, the limit is ${MAX_COLUMNS}`;
  const roles: Record<string, number> = { timestamp: -1, metric: -1, value: -1, labelList: -1 };
  const others: { cell: number; name: string }[] = [];
  names.forEach((name, cell) => {
    const role = Object.hasOwn(ROLES, name.toLowerCase()) ? ROLES[name.toLowerCase()] : undefined;
    if (role !== undefined && roles[role] === -1) roles[role] = cell;
    else if (name !== '') others.push({ cell, name });
  });
  const { timestamp = -1, metric = -1, value = -1, labelList = -1 } = roles;
  if (timestamp < 0) return `no column "timestamp" among ${describeNames(names)}`;
  if (metric < 0 !== value < 0) {
    return `"metric_name" and "value" go together; found ${describeNames(names)}`;
  }
  const isLong = metric >= 0;
  const isLabel = ({ name }: { name: string }) => isLong || isDescriptive(name);
  return {
    columns: names.length,
    timestamp,
    long: isLong ? { metric, value } : undefined,
    labelList,
    labels: others.filter(isLabel).map(({ cell, name }) => ({ cell, key: name })),
    metrics: others.filter((column) => !isLabel(column)),
  };
}

/** Two columns of one name: there is no way to know which of them is right. */
function findDuplicate(names: readonly string[]): string | undefined {
  const seen = new Map<string, number>();
  for (const [cell, name] of names.entries()) {
    const key = name.toLowerCase();
    const first = seen.get(key);
    if (name !== '' && first !== undefined) {
      return `columns ${first + 1} and ${cell + 1} are both called "${name}"`;
    }
    seen.set(key, cell);
  }
  return undefined;
}

function isDescriptive(name: string): boolean {
  return canonicalKey(name) !== name || IDENTITY.test(name) || DESCRIPTIVE.test(name);
}

const IDENTITY =
  /^(gpu_(uuid|index|model|instance_id|instance_profile)|pci_bus_id|namespace|pod|container|job)$/;

function describeNames(names: readonly string[]): string {
  return names.slice(0, 20).join(', ').slice(0, 300);
}

/**
 * Appends the readings of one row to `out`. Whatever is not understood goes to `skip`, never to an
 * exception.
 */
export function readDcgmCsvRow(
  layout: DcgmCsvLayout,
  cells: readonly string[],
  out: Reading[],
  skip: SkipCell,
): void {
  if (cells.length !== layout.columns) return void skip('', 'wrong number of columns');
  const timestampMs = parseTimestamp(cleanCell(cells[layout.timestamp] ?? ''));
  if (timestampMs === undefined) return void skip('', 'timestamp not understood');
  const labels = rowLabels(layout, cells, skip);
  const renamed = speaksRenamedVocabulary(labels);
  const add = (name: string, text: string) => {
    const dcgm = layout.long !== undefined || isDcgmMetric(name);
    const parsed = parseMetricValue(cleanCell(text), { dcgm });
    if (!parsed.ok) return void skip(name, parsed.why);
    const meaning =
      layout.long === undefined ? describeColumn(name) : describeMetric(name, renamed);
    out.push({ name, labels, ...meaning, timestampMs, value: parsed.value });
  };
  if (layout.long === undefined) {
    for (const { cell, name } of layout.metrics) add(name, cells[cell] ?? '');
    return;
  }
  const name = cleanCell(cells[layout.long.metric] ?? '');
  if (isBlankText(name)) skip('', 'no metric name');
  else add(name, cells[layout.long.value] ?? '');
}

/** The row's own columns win over what the label list says of the same key. */
function rowLabels(
  layout: DcgmCsvLayout,
  cells: readonly string[],
  skip: SkipCell,
): Record<string, string> {
  const own = layout.labels.map(({ cell, key }): LabelPair => [key, cleanCell(cells[cell] ?? '')]);
  const list = cleanCell(cells[layout.labelList] ?? '');
  if (list === '') return canonicalLabels(own);
  const parsed = parseLabelList(list, list.startsWith('{') ? 1 : 0);
  if (typeof parsed === 'string') {
    skip('labels_raw', 'label list not understood');
    return canonicalLabels(own);
  }
  return { ...canonicalLabels(parsed.labels), ...canonicalLabels(own) };
}

/** Blanks around a cell, and quotes that a blank before them kept from being taken off. */
function cleanCell(cell: string): string {
  const trimmed = cell.trim();
  const isQuoted = trimmed.length > 1 && trimmed.startsWith('"') && trimmed.endsWith('"');
  return isQuoted ? trimmed.slice(1, -1).replaceAll('""', '"').trim() : trimmed;
}

/** Units that a wide column's name spells out. Not `_mb`: some senders mean MiB by it, some MB. */
const COLUMN_UNITS: readonly (readonly [RegExp, string])[] = [
  [/_(mib)$/i, 'MiB'],
  [/_(mhz)$/i, 'MHz'],
  [/_(percent|pct)$/i, '%'],
  [/_(c|celsius)$/i, 'C'],
  [/_(w|watts)$/i, 'W'],
];

function describeColumn(name: string) {
  const known = describeMetric(name);
  if (known.unit !== '') return known;
  const unit = COLUMN_UNITS.find(([pattern]) => pattern.test(name))?.[1] ?? '';
  return { kind: known.kind === 'unspecified' ? ('gauge' as const) : known.kind, unit };
}
