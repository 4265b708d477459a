import fs from 'node:fs';
import { describe, expect, test } from 'vitest';
import { describeMetric } from '../../../src/agent/sources/metric-units.ts';
import { sharedData } from '../../helpers/shared-data.ts';

test.each([
  ['DCGM_FI_DEV_SM_CLOCK', 'gauge', 'MHz'],
  ['DCGM_FI_DEV_GPU_TEMP', 'gauge', 'C'],
  ['DCGM_FI_DEV_POWER_USAGE', 'gauge', 'W'],
  ['DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION', 'counter', 'mJ'],
  ['DCGM_FI_DEV_GPU_UTIL', 'gauge', '%'],
  ['DCGM_FI_DEV_FB_USED', 'gauge', 'MiB'],
  ['DCGM_FI_DEV_FB_TOTAL', 'gauge', 'MiB'],
  ['DCGM_FI_DEV_XID_ERRORS', 'gauge', 'code'],
  ['DCGM_FI_DEV_XID_ERROR', 'gauge', 'code'],
  ['DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS', 'counter', 'rows'],
  ['DCGM_FI_DEV_CLOCK_THROTTLE_REASONS', 'gauge', 'bitmask'],
  ['DCGM_FI_DEV_THERMAL_VIOLATION', 'counter', 'ns'],
  ['DCGM_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP_NS', 'counter', 'ns'],
  ['DCGM_FI_DEV_ECC_DBE_VOL_TOTAL', 'counter', 'count'],
  ['DCGM_FI_PROF_GR_ENGINE_ACTIVE', 'gauge', 'ratio'],
  ['DCGM_FI_PROF_PCIE_TX_BYTES', 'gauge', 'B/s'],
  ['DCGM_FI_PROF_NVLINK_L3_RX_BYTES', 'gauge', 'B/s'],
  ['DCGM_FI_DEV_BOARD_POWER_WATTS', 'gauge', 'W'],
  ['DCGM_FI_DEV_GPU_TEMP_CELSIUS', 'gauge', 'C'],
  ['DCGM_FI_DEV_FB_CAPACITY_BYTES', 'gauge', 'B'],
  ['DCGM_FI_PROF_TENSOR_UTIL_RATIO', 'gauge', 'ratio'],
  ['dcgm_gpu_utilization', 'gauge', '%'],
  ['node_memory_MemFree_bytes', 'unspecified', 'B'],
  ['node_cpu_seconds_total', 'counter', 's'],
  ['something_else', 'unspecified', ''],
  ['constructor', 'unspecified', ''],
])('%s is a %s in %j', (name, kind, unit) => {
  expect(describeMetric(name)).toEqual({ kind, unit });
});

describe('names whose unit cannot be told', () => {
  test.each([
    'DCGM_FI_DEV_GPU_UTIL_RATIO',
    'DCGM_FI_DEV_FB_USED_RATIO',
    'DCGM_FI_DEV_FB_USED_PERCENT',
    'DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL',
    'DCGM_FI_DEV_NVLINK_THROUGHPUT_TOTAL',
  ])('%s has none', (name) => {
    expect(describeMetric(name).unit).toBe('');
  });

  test('old names have none where the sender already speaks the new vocabulary', () => {
    expect(describeMetric('DCGM_FI_DEV_FB_USED', true)).toEqual({ kind: 'gauge', unit: '' });
    expect(describeMetric('DCGM_FI_DEV_SM_CLOCK', true).unit).toBe('');
    expect(describeMetric('DCGM_FI_DEV_POWER_USAGE', true).unit).toBe('W');
  });
});

test('an old name and its alias are of one kind, and of one unit or of none', () => {
  const file = sharedData('dcgm/dcgm_field_aliases_4.6.0.tsv');
  if (file === undefined) return;
  const pairs = fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('DCGM_FI_'))
    .map((line) => line.split('\t'));
  expect(pairs.length).toBe(328);
  const known = pairs.filter(([old = '', renamed = '']) => {
    const [before, after] = [describeMetric(old), describeMetric(renamed)];
    if (before.kind === 'unspecified' || after.kind === 'unspecified') return false;
    expect(after.kind, `${old} and ${renamed}`).toBe(before.kind);
    if (after.unit !== '' && before.unit !== '') {
      expect(after.unit, `${old} and ${renamed}`).toBe(before.unit);
    }
    return true;
  });
  expect(known.length).toBeGreaterThan(60);
});
