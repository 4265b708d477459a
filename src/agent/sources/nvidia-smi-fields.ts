/**
 * Which fields are asked of nvidia-smi. Each driver knows its own set, and one unknown name makes
 * the whole query fail, so the driver's own list (`--help-query-gpu`) decides.
 */

/** Fields that name the GPU; always asked for. */
export const IDENTITY_FIELDS = ['index', 'uuid', 'name', 'pci.bus_id', 'driver_version'] as const;

/** What is measured by default: about 70 of the 210 fields that a driver knows. */
export const DEFAULT_FIELDS: readonly string[] = [
  ...['utilization.gpu', 'utilization.memory', 'utilization.encoder', 'utilization.decoder'],
  ...['utilization.jpeg', 'utilization.ofa'],
  ...['memory.total', 'memory.reserved', 'memory.used', 'memory.free'],
  ...['temperature.gpu', 'temperature.gpu.tlimit', 'temperature.memory', 'fan.speed'],
  ...['power.draw', 'power.draw.average', 'power.draw.instant', 'power.limit'],
  ...['enforced.power.limit', 'power.default_limit', 'power.min_limit', 'power.max_limit'],
  ...['clocks.current.graphics', 'clocks.current.sm', 'clocks.current.memory'],
  ...['clocks.current.video', 'clocks.max.sm', 'clocks.max.memory'],
  ...prefixed('clocks_event_reasons.', [
    ...['active', 'gpu_idle', 'applications_clocks_setting', 'sw_power_cap', 'hw_slowdown'],
    ...['hw_thermal_slowdown', 'hw_power_brake_slowdown', 'sw_thermal_slowdown', 'sync_boost'],
  ]),
  ...prefixed('clocks_event_reasons_counters.', [
    ...['sw_power_cap', 'sync_boost', 'sw_thermal_slowdown', 'hw_thermal_slowdown'],
    'hw_power_brake_slowdown',
  ]),
  ...['pstate', 'compute_mode', 'persistence_mode', 'mig.mode.current', 'gpu_recovery_action'],
  ...['pcie.link.gen.gpucurrent', 'pcie.link.gen.max', 'pcie.link.width.current'],
  'pcie.link.width.max',
  ...['ecc.mode.current', 'ecc.errors.corrected.volatile.total'],
  ...['ecc.errors.corrected.aggregate.total', 'ecc.errors.uncorrected.volatile.total'],
  ...['ecc.errors.uncorrected.aggregate.total', 'ecc.errors.uncorrected.volatile.dram'],
  ...['ecc.errors.uncorrected.aggregate.dram', 'ecc.errors.uncorrected.volatile.sram'],
  ...['ecc.errors.uncorrected.aggregate.sram'],
  'ecc.errors.uncorrected.aggregate.sram.thresholdExceeded',
  ...['retired_pages.single_bit_ecc.count', 'retired_pages.double_bit.count'],
  ...['retired_pages.pending', 'remapped_rows.correctable', 'remapped_rows.uncorrectable'],
  ...['remapped_rows.pending', 'remapped_rows.failure'],
  ...['encoder.stats.sessionCount'],
];

const FIELD_LINE = /^"[\w.]+"(?: or "[\w.]+")*$/;
const MAX_FIELDS = 2000;

/** What the driver lists: every name and alias → the name that it puts first. */
export type KnownFields = ReadonlyMap<string, string>;

/** The field names in the text that `--help-query-gpu` prints, aliases included. */
export function parseFieldHelp(help: string): KnownFields {
  const known = new Map<string, string>();
  for (const line of help.split('\n')) {
    // The descriptions contain quoted words too; a line of nothing but names is a heading.
    if (!FIELD_LINE.test(line.trim()) || known.size >= MAX_FIELDS) continue;
    const names = [...line.matchAll(/"([\w.]+)"/g)].map(([, name = '']) => name);
    for (const name of names) known.set(name, names[0] ?? name);
  }
  return known;
}

/** Spellings of older drivers, by the beginning of the name. */
const RENAMED_PREFIXES: readonly (readonly [old: string, current: string])[] = [
  ['clocks_throttle_reasons.', 'clocks_event_reasons.'],
  ['clocks_throttle_reasons_counters.', 'clocks_event_reasons_counters.'],
];

/**
 * One name for a field whatever driver names it, so that a fleet of mixed drivers has one metric.
 */
export function currentFieldName(field: string): string {
  const renamed = RENAMED_PREFIXES.find(([old]) => field.startsWith(old));
  return renamed === undefined ? field : renamed[1] + field.slice(renamed[0].length);
}

export interface FieldChoice {
  /** In the driver's spelling, identities first. */
  readonly fields: readonly string[];
  /** Wanted, but not known to this driver. */
  readonly unknown: readonly string[];
}

/** The wanted fields as this driver spells them, each once; 'all' = everything it lists. */
export function chooseFields(known: KnownFields, wanted: readonly string[] | 'all'): FieldChoice {
  const fields = new Set<string>();
  const unknown: string[] = [];
  for (const field of [...IDENTITY_FIELDS, ...(wanted === 'all' ? known.values() : wanted)]) {
    const spelling = [field, ...olderNames(field)].find((name) => known.has(name));
    if (spelling === undefined) unknown.push(field);
    else fields.add(known.get(spelling) ?? spelling);
  }
  return { fields: [...fields], unknown };
}

function olderNames(field: string): string[] {
  return RENAMED_PREFIXES.filter(([, current]) => field.startsWith(current)).map(
    ([old, current]) => old + field.slice(current.length),
  );
}

function prefixed(prefix: string, names: readonly string[]): string[] {
  return names.map((name) => prefix + name);
}
