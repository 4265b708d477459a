/**
 * What is measured of a GPU, whatever the metric is called. DCGM's names before and after 4.6,
 * those of dcgm-exporter 1.x, of nvidia-smi and of nvidia_gpu_exporter mean the same: a question
 * about one of them is a question about all. Samples keep the name and the unit that they came
 * with.
 */
import { conversionFactor } from './units.ts';

export interface Quantity {
  /** As the API and the page call it. */
  readonly name: string;
  readonly title: string;
  /** A base unit; `code` and `bitmask` are numbers that must not be averaged. */
  readonly unit: string;
  readonly kind: 'gauge' | 'counter';
  /** Metric names, the best first: where a GPU reports several, the first one counts. */
  readonly metrics: readonly string[];
}

export const QUANTITIES: readonly Quantity[] = [
  gauge('utilization', 'Utilisation', 'ratio', [
    ...dev('GPU_UTIL', 'GPU_UTIL_RATIO'),
    'dcgm_gpu_utilization',
    ...['nvidia_smi_utilization_gpu', 'nvidia_smi_utilization_gpu_ratio'],
  ]),
  gauge(
    'engine_active',
    'Engine active',
    'ratio',
    prof('GR_ENGINE_ACTIVE', 'GR_ENGINE_UTIL_RATIO'),
  ),
  gauge('sm_active', 'SM active', 'ratio', prof('SM_ACTIVE', 'SM_UTIL_RATIO')),
  gauge('tensor_active', 'Tensor active', 'ratio', prof('PIPE_TENSOR_ACTIVE', 'TENSOR_UTIL_RATIO')),
  gauge('dram_active', 'Memory active', 'ratio', prof('DRAM_ACTIVE', 'DRAM_UTIL_RATIO')),
  gauge('memory_copy_utilization', 'Memory copy', 'ratio', [
    ...dev('MEM_COPY_UTIL', 'MEM_COPY_UTIL_RATIO'),
    'dcgm_mem_copy_utilization',
    ...['nvidia_smi_utilization_memory', 'nvidia_smi_utilization_memory_ratio'],
  ]),
  gauge('memory_used', 'Memory used', 'B', [
    ...dev('FB_USED', 'FB_USED_BYTES'),
    'dcgm_fb_used',
    ...['nvidia_smi_memory_used', 'nvidia_smi_memory_used_bytes'],
  ]),
  gauge('memory_free', 'Memory free', 'B', [
    ...dev('FB_FREE', 'FB_FREE_BYTES'),
    'dcgm_fb_free',
    ...['nvidia_smi_memory_free', 'nvidia_smi_memory_free_bytes'],
  ]),
  gauge('memory_total', 'Memory', 'B', [
    ...dev('FB_TOTAL', 'FB_TOTAL_BYTES', 'FB_CAPACITY_BYTES'),
    ...['nvidia_smi_memory_total', 'nvidia_smi_memory_total_bytes'],
  ]),
  gauge('power', 'Power', 'W', [
    ...dev('POWER_USAGE', 'BOARD_POWER_WATTS'),
    'dcgm_power_usage',
    ...['nvidia_smi_power_draw', 'nvidia_smi_power_draw_watts'],
  ]),
  gauge('power_limit', 'Power limit', 'W', [
    ...dev('ENFORCED_POWER_LIMIT', 'BOARD_POWER_LIMIT_ENFORCED_WATTS'),
    ...['nvidia_smi_enforced_power_limit', 'nvidia_smi_enforced_power_limit_watts'],
  ]),
  counter('energy', 'Energy', 'J', [
    ...dev('TOTAL_ENERGY_CONSUMPTION', 'TOTAL_ENERGY_CONSUMPTION_JOULES', 'ENERGY_JOULES_TOTAL'),
    'dcgm_total_energy_consumption',
  ]),
  gauge('temperature', 'Temperature', 'C', [
    ...dev('GPU_TEMP', 'GPU_TEMP_CELSIUS'),
    ...['dcgm_gpu_temp', 'nvidia_smi_temperature_gpu'],
  ]),
  gauge('memory_temperature', 'Memory temperature', 'C', [
    ...dev('MEMORY_TEMP', 'MEMORY_TEMP_CELSIUS'),
    ...['dcgm_memory_temp', 'nvidia_smi_temperature_memory'],
  ]),
  gauge('sm_clock', 'SM clock', 'Hz', [
    ...dev('SM_CLOCK', 'SM_CLOCK_HERTZ', 'SM_CLOCK_HZ'),
    'dcgm_sm_clock',
    ...['nvidia_smi_clocks_current_sm', 'nvidia_smi_clocks_current_sm_clock_hz'],
  ]),
  gauge('memory_clock', 'Memory clock', 'Hz', [
    ...dev('MEM_CLOCK', 'MEM_CLOCK_HERTZ', 'MEM_CLOCK_HZ'),
    'dcgm_memory_clock',
    ...['nvidia_smi_clocks_current_memory', 'nvidia_smi_clocks_current_memory_clock_hz'],
  ]),
  gauge('clock_event_reasons', 'Clock event reasons', 'bitmask', [
    ...dev('CLOCKS_EVENT_REASONS', 'CLOCK_THROTTLE_REASONS'),
    'nvidia_smi_clocks_event_reasons_active',
  ]),
  gauge('xid', 'Last XID', 'code', [...dev('XID_ERRORS', 'XID_ERROR'), 'dcgm_xid_errors']),
  gauge('recovery_action', 'Recovery action', 'code', [
    ...dev('GPU_RECOVERY_ACTION', 'GET_GPU_RECOVERY_ACTION'),
    'nvidia_smi_gpu_recovery_action',
  ]),
  counter('ecc_uncorrected', 'Uncorrected ECC errors', 'count', [
    ...dev('ECC_DBE_VOL_TOTAL'),
    'nvidia_smi_ecc_errors_uncorrected_volatile_total',
  ]),
  gauge('row_remap_failed', 'Row remapping failed', 'bool', [
    ...dev('ROW_REMAP_FAILURE', 'ROW_REMAP_FAILED'),
    'nvidia_smi_remapped_rows_failure',
  ]),
];

const BY_METRIC = new Map(
  QUANTITIES.flatMap((quantity) =>
    quantity.metrics.map((metric, rank) => [metric.toLowerCase(), { quantity, rank }] as const),
  ),
);
const BY_NAME = new Map(QUANTITIES.map((quantity) => [quantity.name, quantity]));

/**
 * What a metric measures; the lower `rank`, the better. Undefined: nothing that has a name here.
 */
export function quantityOf(
  metric: string,
): { readonly quantity: Quantity; readonly rank: number } | undefined {
  return BY_METRIC.get(metric.toLowerCase());
}

/** The quantity of this name. */
export function quantityNamed(name: string): Quantity | undefined {
  return BY_NAME.get(name);
}

/**
 * All metric names that a question for `metric` is about: those of its quantity, whether `metric`
 * is the quantity's name or one of its metrics, else the name alone.
 */
export function metricsMeant(metric: string): readonly string[] {
  const quantity = BY_NAME.get(metric) ?? quantityOf(metric)?.quantity;
  if (quantity === undefined) return [metric];
  return quantity.metrics.includes(metric) || quantity.name === metric
    ? quantity.metrics
    : [...quantity.metrics, metric];
}

/**
 * What a sample in `unit` is multiplied by to be one of `quantity`; undefined where its unit does
 * not say. Codes, masks and flags are what they are, also without a unit.
 */
export function factorTo(quantity: Quantity, unit: string): number | undefined {
  if (['code', 'bitmask', 'bool', 'count'].includes(quantity.unit) && unit === '') return 1;
  return conversionFactor(unit, quantity.unit);
}

function gauge(name: string, title: string, unit: string, metrics: string[]): Quantity {
  return { name, title, unit, kind: 'gauge', metrics };
}

function counter(name: string, title: string, unit: string, metrics: string[]): Quantity {
  return { name, title, unit, kind: 'counter', metrics };
}

function dev(...fields: string[]): string[] {
  return fields.map((field) => `DCGM_FI_DEV_${field}`);
}

function prof(...fields: string[]): string[] {
  return fields.map((field) => `DCGM_FI_PROF_${field}`);
}
