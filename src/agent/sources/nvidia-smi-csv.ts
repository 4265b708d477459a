/**
 * What `nvidia-smi --query-gpu=… --format=csv` prints → readings. Pure. The format has no quoting
 * at all: cells are joined by a comma and a blank, so a row with a comma in a name cannot be told
 * from a row with one cell more, and is refused.
 */
import type { MetricKind } from '../../domain/telemetry.ts';
import type { Reading } from '../../client/reading.ts';
import { isBlankText, parseMetricValue } from './blank-values.ts';
import { currentFieldName } from './nvidia-smi-fields.ts';
import type { SkipTally } from './skip-tally.ts';
import { canonicalLabels } from './source-labels.ts';

const MAX_GPUS = 1024;

export interface NvidiaSmiColumn {
  /** In the current spelling. */
  readonly field: string;
  /** From the header, as in `memory.used [MiB]`; '' where it names none. */
  readonly unit: string;
}

export interface NvidiaSmiTable {
  readonly columns: readonly NvidiaSmiColumn[];
  readonly rows: readonly (readonly string[])[];
}

/** Splits the output into cells; undefined where it has no header. Bad rows go to `skipped`. */
export function parseNvidiaSmiCsv(text: string, skipped: SkipTally): NvidiaSmiTable | undefined {
  const lines = text.split('\n').map((line) => line.replace(/\r$/, ''));
  const start = lines.findIndex(isHeader);
  if (start < 0) return undefined;
  const columns = splitCells(lines[start] ?? '').map(parseHeaderCell);
  const rows: string[][] = [];
  for (const [index, line] of lines.entries()) {
    if (index <= start || line.trim() === '') continue;
    const cells = splitCells(line);
    if (cells.length !== columns.length) {
      skipped.add(`line ${index + 1}`, `${cells.length} cells for ${columns.length} columns`);
    } else if (rows.length >= MAX_GPUS) skipped.add('rows', 'too many rows');
    else rows.push(cells);
  }
  return { columns, rows };
}

const HEADER_CELL = /^[a-z][\w.]*(?: \[[^\]]*\])?$/i;

/** Warnings can come before the table; only the header is made of nothing but field names. */
function isHeader(line: string): boolean {
  const cells = splitCells(line);
  const named = cells.some((cell) => /^(index|uuid|gpu_uuid)$/.test(cell));
  return cells.length > 1 && named && cells.every((cell) => HEADER_CELL.test(cell));
}

/** The cells of a line; the format has no quoting. */
export function splitCells(line: string): string[] {
  // A terminal or an editor may have cut the blank after a last empty cell's comma.
  const whole = line.endsWith(',') ? `${line} ` : line;
  return whole.split(', ').map((cell) => cell.trim());
}

function parseHeaderCell(cell: string): NvidiaSmiColumn {
  const match = /^(.*?) \[([^\]]*)\]$/.exec(cell);
  return { field: currentFieldName(match?.[1] ?? cell), unit: match?.[2] ?? '' };
}

/** One reading per GPU and field that has a value, all stamped `timestampMs`. */
export function nvidiaSmiReadings(
  table: NvidiaSmiTable,
  timestampMs: number,
  skipped: SkipTally,
): Reading[] {
  const readings: Reading[] = [];
  for (const row of table.rows) {
    const labels = gpuLabels(table.columns, row);
    for (const [cell, { field, unit }] of table.columns.entries()) {
      if (NOT_MEASURED.test(field)) continue;
      const value = readCell(field, unit, row[cell] ?? '');
      if (typeof value === 'string') skipped.add(field, value);
      else readings.push({ ...describeField(field), ...value, labels, timestampMs });
    }
  }
  return readings;
}

/** Fields that name or describe: they are labels or nothing, never numbers, even where digits. */
const NOT_MEASURED = oneOf([
  ...['timestamp', 'driver_version', 'count', 'index', 'name', 'serial', 'uuid', 'hostname'],
  ...['gpu_name', 'gpu_bus_id', 'gpu_serial', 'gpu_uuid', 'addressing_mode', 'vbios_version'],
  ...['compute_cap', 'pci\\..*', 'inforom\\..*', 'driver_model\\..*', 'gom\\..*', 'platform\\..*'],
  'fabric\\.(cliqueId|clusterUuid)',
]);

function oneOf(patterns: readonly string[]): RegExp {
  return new RegExp(`^(?:${patterns.join('|')})$`);
}

/** The labels that a row's identity cells make. */
export function gpuLabels(
  columns: readonly NvidiaSmiColumn[],
  row: readonly string[],
): Record<string, string> {
  const cell = (field: string) => row[columns.findIndex((column) => column.field === field)] ?? '';
  return canonicalLabels([
    ['gpu_index', cell('index')],
    ['gpu_uuid', cell('uuid')],
    ['gpu_model', cell('name')],
    ['pci_bus_id', cell('pci.bus_id')],
    ['driver_version', cell('driver_version')],
  ]);
}

interface CellValue {
  readonly value: number;
  readonly unit: string;
}

const NUMBER_AND_UNIT = /^([+-]?[\d.]+(?:[eE][+-]?\d+)?)(?: ([^\d\s]\S*))?$/;

/** The number in a cell, or why there is none. */
function readCell(field: string, unit: string, text: string): CellValue | string {
  if (isBlankText(text)) return 'no value';
  if (BITMASKS.has(field)) return readBitmask(text);
  const word = WORDS.get(field)?.get(text) ?? BOOLEANS.get(text);
  if (word !== undefined) return { value: word, unit: WORDS.has(field) ? 'code' : 'bool' };
  const match = NUMBER_AND_UNIT.exec(text);
  if (match === null) return 'not a number';
  const [, digits = '', ownUnit] = match;
  if (unit !== '' && ownUnit !== undefined && ownUnit !== unit)
    return 'unit differs from the header';
  const parsed = parseMetricValue(digits, { dcgm: false });
  if (!parsed.ok) return parsed.why;
  return { value: parsed.value, unit: unit || ownUnit || unitOfField(field) };
}

const BITMASKS: ReadonlySet<string> = new Set([
  'clocks_event_reasons.active',
  'clocks_event_reasons.supported',
]);

function readBitmask(text: string): CellValue | string {
  if (!/^0x[0-9a-f]{1,16}$/i.test(text)) return 'not a number';
  const value = Number(text);
  return Number.isSafeInteger(value) ? { value, unit: 'bitmask' } : 'too large for a double';
}

const BOOLEANS: ReadonlyMap<string, number> = new Map([
  ['Enabled', 1],
  ['Disabled', 0],
  ['Yes', 1],
  ['No', 0],
  ['Active', 1],
  ['Not Active', 0],
]);

/** Numbers for words, in NVML's order. */
const WORDS: ReadonlyMap<string, ReadonlyMap<string, number>> = new Map([
  ['pstate', numbered(Array.from({ length: 16 }, (_, state) => `P${state}`))],
  ['compute_mode', numbered(['Default', 'Exclusive_Thread', 'Prohibited', 'Exclusive_Process'])],
  ['gpu_recovery_action', numbered(['None', 'Reset', 'Reboot', 'Drain P2P', 'Drain and Reset'])],
]);

function numbered(words: readonly string[]): ReadonlyMap<string, number> {
  return new Map(words.map((word, number) => [word, number]));
}

/** The units that nvidia-smi documents but does not print. */
function unitOfField(field: string): string {
  if (field.startsWith('temperature.')) return 'C';
  if (field.startsWith('ecc.errors.')) return 'count';
  if (field.startsWith('remapped_rows.')) return 'rows';
  return field.startsWith('retired_pages.') ? 'pages' : '';
}

const COUNTERS = oneOf([
  ...['clocks_event_reasons_counters\\..*', 'ecc\\.errors\\..*', 'retired_pages\\..*\\.count'],
  'remapped_rows\\.(correctable|uncorrectable)',
]);

function describeField(field: string): { name: string; kind: MetricKind } {
  const isCounter = COUNTERS.test(field) && !field.endsWith('.thresholdExceeded');
  return { name: nvidiaSmiMetricName(field), kind: isCounter ? 'counter' : 'gauge' };
}

/** `memory.used` → `nvidia_smi_memory_used`; the unit is not part of the name. */
export function nvidiaSmiMetricName(field: string): string {
  return `nvidia_smi_${field.replaceAll('.', '_')}`;
}
