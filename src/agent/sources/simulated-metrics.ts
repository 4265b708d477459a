/**
 * Which metrics a simulated GPU shows, under DCGM's names: the default set of dcgm-exporter first,
 * then what its users switch on.
 */
import { POWER_LIMIT_WATTS, type SimulatedGpu } from './simulated-gpu.ts';

export interface SimulatedMetric {
  readonly name: string;
  /** No allocation: this runs for every sample of a load test. */
  readonly read: (gpu: SimulatedGpu) => number;
}

/** The 25 metrics of dcgm-exporter's default list. */
const DEFAULT_METRICS: readonly SimulatedMetric[] = [
  dev('SM_CLOCK', (gpu) => gpu.smMhz),
  dev('MEM_CLOCK', (gpu) => gpu.memoryMhz),
  dev('MEMORY_TEMP', (gpu) => Math.round(gpu.celsius + 4)),
  dev('GPU_TEMP', (gpu) => Math.round(gpu.celsius)),
  dev('POWER_USAGE', (gpu) => gpu.powerWatts),
  dev('TOTAL_ENERGY_CONSUMPTION', (gpu) => gpu.energyMillijoules),
  dev('PCIE_REPLAY_COUNTER', (gpu) => gpu.pcieReplays),
  dev('GPU_UTIL', (gpu) => gpu.utilPercent),
  dev('MEM_COPY_UTIL', (gpu) => gpu.memoryUtilPercent),
  dev('ENC_UTIL', () => 0),
  dev('DEC_UTIL', (gpu) => gpu.decoderPercent),
  dev('XID_ERRORS', (gpu) => gpu.xid),
  dev('FB_FREE', (gpu) => gpu.memoryFreeMib),
  dev('FB_USED', (gpu) => gpu.memoryUsedMib),
  dev('FB_RESERVED', (gpu) => gpu.memoryReservedMib),
  dev('NVLINK_BANDWIDTH_TOTAL', (gpu) => gpu.nvlinkMegabytes),
  dev('VGPU_LICENSE_STATUS', () => 0),
  dev('UNCORRECTABLE_REMAPPED_ROWS', (gpu) => gpu.uncorrectableRows),
  dev('CORRECTABLE_REMAPPED_ROWS', (gpu) => gpu.correctableRows),
  dev('ROW_REMAP_FAILURE', (gpu) => gpu.rowRemapFailed),
  prof('GR_ENGINE_ACTIVE', (gpu) => sixDecimals(gpu.engineActive)),
  prof('PIPE_TENSOR_ACTIVE', (gpu) => sixDecimals(gpu.tensorActive)),
  prof('DRAM_ACTIVE', (gpu) => sixDecimals(gpu.dramActive)),
  prof('PCIE_TX_BYTES', (gpu) => gpu.pcieTxBytesPerSecond),
  prof('PCIE_RX_BYTES', (gpu) => gpu.pcieRxBytesPerSecond),
];

const LINKS = Array.from({ length: 18 }, (_, link) => link);

/** In the order in which `extraMetrics` adds them. */
const EXTRA_METRICS: readonly SimulatedMetric[] = [
  prof('SM_ACTIVE', (gpu) => sixDecimals(gpu.engineActive * 0.93)),
  prof('SM_OCCUPANCY', (gpu) => sixDecimals(gpu.engineActive * 0.41)),
  prof('PIPE_FP64_ACTIVE', () => 0),
  prof('PIPE_FP32_ACTIVE', (gpu) => sixDecimals(gpu.engineActive * 0.07)),
  prof('PIPE_FP16_ACTIVE', (gpu) => sixDecimals(gpu.tensorActive * 0.11)),
  prof('NVLINK_TX_BYTES', (gpu) => gpu.nvlinkBytesPerSecond),
  prof('NVLINK_RX_BYTES', (gpu) => gpu.nvlinkBytesPerSecond),
  dev('CLOCK_THROTTLE_REASONS', (gpu) => gpu.clockReasons),
  dev('POWER_VIOLATION', (gpu) => gpu.powerViolationNs),
  dev('THERMAL_VIOLATION', (gpu) => gpu.thermalViolationNs),
  dev('SYNC_BOOST_VIOLATION', () => 0),
  dev('BOARD_LIMIT_VIOLATION', () => 0),
  dev('RELIABILITY_VIOLATION', () => 0),
  dev('ENFORCED_POWER_LIMIT', () => POWER_LIMIT_WATTS),
  dev('POWER_USAGE_INSTANT', (gpu) => Math.round(gpu.powerWatts * 1.01 * 1000) / 1000),
  dev('SLOWDOWN_TEMP', () => 87),
  dev('SHUTDOWN_TEMP', () => 92),
  dev('GPU_TEMP_LIMIT', (gpu) => Math.round(87 - gpu.celsius)),
  dev('MAX_SM_CLOCK', () => 1980),
  dev('MAX_MEM_CLOCK', (gpu) => gpu.memoryMhz),
  dev('FB_TOTAL', (gpu) => gpu.memoryFreeMib + gpu.memoryUsedMib + gpu.memoryReservedMib),
  dev('ECC_SBE_VOL_TOTAL', (gpu) => gpu.correctedErrors),
  dev('ECC_DBE_VOL_TOTAL', (gpu) => gpu.uncorrectedErrors),
  dev('ECC_SBE_AGG_TOTAL', (gpu) => gpu.correctedErrors + 17),
  dev('ECC_DBE_AGG_TOTAL', (gpu) => gpu.uncorrectedErrors),
  dev('ROW_REMAP_PENDING', () => 0),
  dev('NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL', () => 0),
  dev('NVLINK_CRC_DATA_ERROR_COUNT_TOTAL', () => 0),
  dev('NVLINK_REPLAY_ERROR_COUNT_TOTAL', (gpu) => gpu.pcieReplays),
  dev('NVLINK_RECOVERY_ERROR_COUNT_TOTAL', () => 0),
  dev('PSTATE', (gpu) => (gpu.smMhz > 345 ? 0 : 8)),
  dev('ECC_CURRENT', () => 1),
  ...LINKS.flatMap((link) => [
    prof(`NVLINK_L${link}_TX_BYTES`, (gpu) => Math.floor(gpu.nvlinkBytesPerSecond / 18) + link),
    prof(`NVLINK_L${link}_RX_BYTES`, (gpu) => Math.floor(gpu.nvlinkBytesPerSecond / 18) + link),
  ]),
];

/** Most metrics that a simulated GPU can show. */
export const MAX_SIMULATED_METRICS = DEFAULT_METRICS.length + EXTRA_METRICS.length;

/** The default metrics and `extra` more, as far as there are any. */
export function simulatedMetrics(extra: number): readonly SimulatedMetric[] {
  return [...DEFAULT_METRICS, ...EXTRA_METRICS.slice(0, extra)];
}

function dev(field: string, read: (gpu: SimulatedGpu) => number): SimulatedMetric {
  return { name: `DCGM_FI_DEV_${field}`, read };
}

function prof(field: string, read: (gpu: SimulatedGpu) => number): SimulatedMetric {
  return { name: `DCGM_FI_PROF_${field}`, read };
}

/** As dcgm-exporter prints doubles. */
function sixDecimals(value: number): number {
  return Math.round(value * 1e6) / 1e6;
}
