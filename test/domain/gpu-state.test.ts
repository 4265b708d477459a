import { expect, it } from 'vitest';
import { gpuState, type StateInputs } from '../../src/domain/gpu-state.ts';

const GIB = 2 ** 30;

it.each<[string, StateInputs]>([
  ['busy', { ageMs: 0, utilization: 0.9 }],
  ['low_use', { ageMs: 0, utilization: 0.05 }],
  ['idle_held', { ageMs: 0, utilization: 0, memoryUsed: 20 * GIB }],
  ['idle_free', { ageMs: 0, utilization: 0, memoryUsed: 0.5 * GIB }],
  ['unknown', { ageMs: 0, utilization: 0 }],
  ['unknown', { ageMs: 0, memoryUsed: 20 * GIB }],
  ['busy', { ageMs: 0, engineActive: 0.5 }],
  ['idle_free', { ageMs: 0, utilization: 0, engineActive: 0.5, memoryUsed: 0 }],
  ['throttled', { ageMs: 0, utilization: 0.9, clockEventReasons: 1 << 6 }],
  ['busy', { ageMs: 0, utilization: 0.9, clockEventReasons: 1 << 2 }],
  ['faulty', { ageMs: 0, utilization: 0.9, recoveryAction: 1 }],
  ['faulty', { ageMs: 0, utilization: 0.9, rowRemapFailed: 1, clockEventReasons: 1 << 6 }],
  ['silent', { ageMs: 121_000, utilization: 0.9, recoveryAction: 1 }],
])('%s: %j', (state, inputs) => {
  expect(gpuState(inputs).state).toBe(state);
});
