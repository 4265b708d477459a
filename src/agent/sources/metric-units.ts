/**
 * What is known of a metric by its name: counter or gauge, and the unit.
 *
 * DCGM is in the middle of a rename. DCGM 4.6 made the old names aliases of new ones without
 * touching the values; dcgm-exporter 4.9 also changed units. So one new name can carry two units,
 * and the unit of such a name is left '' here: the sender has to say it. A wrong unit is worse than
 * none.
 */
import type { MetricKind } from '../../domain/telemetry.ts';

export interface MetricMeaning {
  readonly kind: MetricKind;
  /**
   * MHz, C, W, mJ, J, %, MiB, B, B/s, ns, s, ratio, count, rows, code, bool, bitmask, …; ''
   * unknown.
   */
  readonly unit: string;
}

const UNKNOWN: MetricMeaning = { kind: 'unspecified', unit: '' };

const EXACT: ReadonlyMap<string, MetricMeaning> = new Map([
  ...dcgm('gauge', 'MHz', [
    ...['SM_CLOCK', 'MEM_CLOCK', 'VIDEO_CLOCK', 'APP_SM_CLOCK', 'APP_MEM_CLOCK'],
    ...['MAX_SM_CLOCK', 'MAX_MEM_CLOCK', 'MAX_VIDEO_CLOCK'],
  ]),
  ...dcgm('gauge', 'C', [
    ...['GPU_TEMP', 'MEMORY_TEMP', 'GPU_MAX_OP_TEMP', 'MEM_MAX_OP_TEMP'],
    // GPU_TEMP_LIMIT is the margin that is left: it counts down.
    ...['SLOWDOWN_TEMP', 'SHUTDOWN_TEMP', 'GPU_TEMP_LIMIT'],
  ]),
  ...dcgm('gauge', 'W', [
    ...['POWER_USAGE', 'POWER_USAGE_INSTANT', 'ENFORCED_POWER_LIMIT', 'POWER_MGMT_LIMIT'],
    ...['POWER_MGMT_LIMIT_MIN', 'POWER_MGMT_LIMIT_MAX', 'POWER_MGMT_LIMIT_DEF'],
  ]),
  ...dcgm('counter', 'mJ', ['TOTAL_ENERGY_CONSUMPTION']),
  ...dcgm('gauge', '%', ['GPU_UTIL', 'MEM_COPY_UTIL', 'ENC_UTIL', 'DEC_UTIL']),
  ...dcgm('gauge', 'MiB', ['FB_TOTAL', 'FB_FREE', 'FB_USED', 'FB_RESERVED']),
  ...dcgm('gauge', 'MiB', ['BAR1_TOTAL', 'BAR1_USED', 'BAR1_FREE']),
  // Called a percentage, holds 0 to 1 in DCGM and 0 to 100 in some senders.
  ...dcgm('gauge', '', ['FB_USED_PERCENT', 'FB_USED_RATIO']),
  ...dcgm('gauge', '', ['GPU_UTIL_RATIO']),
  // The last code seen, not a number of errors: increase(), sum() and avg() of it mean nothing.
  ...dcgm('gauge', 'code', ['XID_ERRORS', 'XID_ERROR', 'VGPU_LICENSE_STATUS', 'PSTATE']),
  ...dcgm('gauge', 'code', ['GPU_PSTATE', 'GPU_RECOVERY_ACTION', 'GET_GPU_RECOVERY_ACTION']),
  ...dcgm('gauge', 'bitmask', ['CLOCK_THROTTLE_REASONS', 'CLOCKS_EVENT_REASONS']),
  ...dcgm('gauge', 'bool', ['ROW_REMAP_FAILURE', 'ROW_REMAP_FAILED', 'ROW_REMAP_PENDING']),
  ...dcgm('gauge', 'bool', ['ECC_CURRENT', 'ECC_PENDING', 'ECC_MODE']),
  ...dcgm('gauge', 'pages', ['RETIRED_PENDING', 'PAGE_RETIRED_PENDING']),
  ...dcgm('counter', 'pages', ['RETIRED_SBE', 'RETIRED_DBE']),
  ...dcgm('counter', 'pages', ['PAGE_RETIRED_SBE_TOTAL', 'PAGE_RETIRED_DBE_TOTAL']),
  ...dcgm('counter', 'rows', ['CORRECTABLE_REMAPPED_ROWS', 'UNCORRECTABLE_REMAPPED_ROWS']),
  ...dcgm('counter', 'rows', ['ROW_REMAP_CORRECTABLE_TOTAL', 'ROW_REMAP_UNCORRECTABLE_TOTAL']),
  ...dcgm('counter', 'count', ['PCIE_REPLAY_COUNTER', 'PCIE_REPLAY_TOTAL']),
  // Documented as a plain counter, as MB/s and, since exporter 4.9, as B/s: the unit is not known.
  ...dcgm('counter', '', ['NVLINK_BANDWIDTH_TOTAL', 'NVLINK_THROUGHPUT_TOTAL']),
  ...[
    ...['GR_ENGINE_ACTIVE', 'SM_ACTIVE', 'SM_OCCUPANCY', 'PIPE_TENSOR_ACTIVE', 'DRAM_ACTIVE'],
    ...['PIPE_FP64_ACTIVE', 'PIPE_FP32_ACTIVE', 'PIPE_FP16_ACTIVE', 'PIPE_INT_ACTIVE'],
    // These were 0 to 1 under the old names already, so the new name leaves no doubt.
    ...['GR_ENGINE_UTIL_RATIO', 'SM_UTIL_RATIO', 'SM_OCCUPANCY_RATIO', 'TENSOR_UTIL_RATIO'],
    ...['DRAM_UTIL_RATIO', 'FP64_UTIL_RATIO', 'FP32_UTIL_RATIO', 'FP16_UTIL_RATIO'],
    'INT_UTIL_RATIO',
  ].map((field) => entry(`DCGM_FI_PROF_${field}`, 'gauge', 'ratio')),
  entry('DCGM_EXP_XID_ERRORS_COUNT', 'gauge', 'count'),
  entry('DCGM_EXP_CLOCK_EVENTS_COUNT', 'gauge', 'count'),
  entry('DCGM_EXP_GPU_HEALTH_STATUS', 'gauge', 'code'),
  entry('DCGM_EXP_P2P_STATUS', 'gauge', 'code'),
  // The vocabulary of dcgm-exporter 1.x.
  entry('dcgm_gpu_utilization', 'gauge', '%'),
  entry('dcgm_mem_copy_utilization', 'gauge', '%'),
  entry('dcgm_enc_utilization', 'gauge', '%'),
  entry('dcgm_dec_utilization', 'gauge', '%'),
  entry('dcgm_sm_clock', 'gauge', 'MHz'),
  entry('dcgm_memory_clock', 'gauge', 'MHz'),
  entry('dcgm_gpu_temp', 'gauge', 'C'),
  entry('dcgm_memory_temp', 'gauge', 'C'),
  entry('dcgm_power_usage', 'gauge', 'W'),
  entry('dcgm_total_energy_consumption', 'counter', 'mJ'),
  entry('dcgm_fb_free', 'gauge', 'MiB'),
  entry('dcgm_fb_used', 'gauge', 'MiB'),
  entry('dcgm_xid_errors', 'gauge', 'code'),
  entry('dcgm_pcie_replay_counter', 'counter', 'count'),
]);

/** Families of DCGM names, tried in order where no exact name matches. */
const DCGM_FAMILIES: readonly (readonly [RegExp, MetricKind, string])[] = [
  [/_VIOLATION$/, 'counter', 'ns'],
  [/_CLOCKS_EVENT_REASON_\w+_NS$/, 'counter', 'ns'],
  [/^DCGM_FI_PROF_(PCIE|NVLINK|C2C)_(\w+_)?(TX|RX)_\w*BYTES$/, 'gauge', 'B/s'],
  [/_BYTES_TOTAL$/, 'counter', 'B'],
  [/_JOULES(_TOTAL)?$/, 'counter', 'J'],
  [/_CELSIUS$/, 'gauge', 'C'],
  [/_WATTS$/, 'gauge', 'W'],
  [/_(HERTZ|HZ)$/, 'gauge', 'Hz'],
  [/^DCGM_FI_DEV_FB_\w*BYTES$/, 'gauge', 'B'],
  [/^DCGM_FI_DEV_ECC_\w+_TOTAL$/, 'counter', 'count'],
  [/_NVLINK_(\w+_)?(BANDWIDTH|THROUGHPUT)(_\w+)?$/, 'counter', ''],
  [/_ERROR(_COUNT)?(_L\d+)?_TOTAL$/, 'counter', 'count'],
  [/_TOTAL$/, 'counter', ''],
];

/** Suffixes by which Prometheus' naming rules put the base unit into the name. */
const PROMETHEUS_SUFFIXES: readonly (readonly [RegExp, string])[] = [
  [/_bytes(_total)?$/, 'B'],
  [/_seconds(_total)?$/, 's'],
  [/_celsius$/, 'C'],
  [/_watts$/, 'W'],
  [/_joules(_total)?$/, 'J'],
  [/_(hertz|hz)$/, 'Hz'],
  [/_volts$/, 'V'],
  [/_ratio$/, 'ratio'],
];

/**
 * What `name` means. `renamed` says that the sender speaks the vocabulary of dcgm-exporter 4.9 or
 * later (see `speaksRenamedVocabulary`): what it calls by an old name may then carry the new unit.
 */
export function describeMetric(name: string, renamed = false): MetricMeaning {
  const meaning = EXACT.get(name) ?? describeFamily(name);
  return renamed && CHANGED_UNITS.has(meaning.unit) && name.startsWith('DCGM_FI_DEV_')
    ? { kind: meaning.kind, unit: '' }
    : meaning;
}

/** Whether these labels come from a sender whose units may be the new ones. */
export function speaksRenamedVocabulary(labels: Readonly<Record<string, string>>): boolean {
  return Object.hasOwn(labels, 'DCGM_FI_SYSTEM_DRIVER_VERSION');
}

/** Whether DCGM's blanks are to be looked for in values of this metric. */
export function isDcgmMetric(name: string): boolean {
  return /^dcgm_/i.test(name);
}

/** Units that dcgm-exporter 4.9 gave up: MHz for Hz, mJ for J, % for 0 to 1, MiB for bytes. */
const CHANGED_UNITS: ReadonlySet<string> = new Set(['MHz', 'mJ', '%', 'MiB']);

function describeFamily(name: string): MetricMeaning {
  if (isDcgmMetric(name)) {
    const family = DCGM_FAMILIES.find(([pattern]) => pattern.test(name));
    return family === undefined ? UNKNOWN : { kind: family[1], unit: family[2] };
  }
  const unit = PROMETHEUS_SUFFIXES.find(([pattern]) => pattern.test(name))?.[1] ?? '';
  return { kind: name.endsWith('_total') ? 'counter' : 'unspecified', unit };
}

function dcgm(kind: MetricKind, unit: string, fields: string[]): [string, MetricMeaning][] {
  return fields.map((field) => entry(`DCGM_FI_DEV_${field}`, kind, unit));
}

function entry(name: string, kind: MetricKind, unit: string): [string, MetricMeaning] {
  return [name, { kind, unit }];
}
