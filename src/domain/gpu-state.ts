/**
 * What a GPU is doing, out of its last values: exactly one state at any time. What was not measured
 * never counts as zero: a GPU whose utilisation is not known is `unknown`, not idle, and one that
 * is idle without a measure of its memory is not called free.
 */

/** The most urgent first. */
export const GPU_STATES = [
  'silent',
  'faulty',
  'throttled',
  'idle_held',
  'idle_free',
  'low_use',
  'busy',
  'unknown',
] as const;
export type GpuState = (typeof GPU_STATES)[number];

/** Values in base units; absent: not measured. */
export interface StateInputs {
  /** Time since the last sample of any kind. */
  readonly ageMs: number;
  readonly utilization?: number | undefined;
  readonly engineActive?: number | undefined;
  /** Bytes that programs hold. */
  readonly memoryUsed?: number | undefined;
  readonly clockEventReasons?: number | undefined;
  readonly recoveryAction?: number | undefined;
  readonly rowRemapFailed?: number | undefined;
}

export interface StateLimits {
  readonly silentAfterMs: number;
  /** Ratio: below it, a GPU is idle. */
  readonly idleBelow: number;
  /** Ratio: from it on, a GPU is busy. */
  readonly busyFrom: number;
  /** Bytes: a driver and a monitor hold some without any program. */
  readonly heldFromBytes: number;
}

export const DEFAULT_STATE_LIMITS: StateLimits = {
  silentAfterMs: 120_000,
  idleBelow: 0.01,
  busyFrom: 0.3,
  heldFromBytes: 2 ** 30,
};

/**
 * NVML's clock event reasons that cost performance: hardware slowdown (3), its thermal (6) and
 * power brake (7) kinds, and the driver's thermal slowdown (5). A power cap (2) is normal work at
 * the limit.
 */
const SLOWDOWN_BITS = (1 << 3) | (1 << 5) | (1 << 6) | (1 << 7);

/** The state, and what it was decided by, for a person. */
export function gpuState(
  inputs: StateInputs,
  limits = DEFAULT_STATE_LIMITS,
): { readonly state: GpuState; readonly why: string } {
  const { ageMs, utilization, engineActive, memoryUsed, clockEventReasons } = inputs;
  if (ageMs > limits.silentAfterMs) {
    return { state: 'silent', why: `no sample for ${Math.round(ageMs / 1000)} s` };
  }
  if ((inputs.recoveryAction ?? 0) > 0) {
    return { state: 'faulty', why: `the driver asks for recovery action ${inputs.recoveryAction}` };
  }
  if ((inputs.rowRemapFailed ?? 0) > 0) return { state: 'faulty', why: 'row remapping failed' };
  if (((clockEventReasons ?? 0) & SLOWDOWN_BITS) !== 0) {
    return { state: 'throttled', why: `clock event reasons ${clockEventReasons}` };
  }
  // In MIG mode utilisation is not reported, and the engine's activity is.
  const load = utilization ?? engineActive;
  if (load === undefined) return { state: 'unknown', why: 'utilisation is not measured' };
  const percent = `${Math.round(load * 100)} % used`;
  if (load >= limits.busyFrom) return { state: 'busy', why: percent };
  if (load >= limits.idleBelow) return { state: 'low_use', why: percent };
  if (memoryUsed === undefined) return { state: 'unknown', why: `${percent}, memory not measured` };
  const gibibytes = `${(memoryUsed / 2 ** 30).toFixed(1)} GiB held`;
  const state = memoryUsed >= limits.heldFromBytes ? 'idle_held' : 'idle_free';
  return { state, why: `${percent}, ${gibibytes}` };
}
