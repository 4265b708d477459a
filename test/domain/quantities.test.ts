import fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  factorTo,
  metricsMeant,
  QUANTITIES,
  quantityNamed,
  quantityOf,
} from '../../src/domain/quantities.ts';
import { baseUnit, conversionFactor } from '../../src/domain/units.ts';
import { sharedData } from '../helpers/shared-data.ts';

describe('quantities', () => {
  it('give no metric two meanings, and have base units', () => {
    const metrics = QUANTITIES.flatMap((quantity) => quantity.metrics);
    expect(new Set(metrics.map((metric) => metric.toLowerCase())).size).toBe(metrics.length);
    for (const { unit } of QUANTITIES) expect(baseUnit(unit)).toBe(unit);
  });

  it('know a metric by its names before and after the rename', () => {
    expect(quantityOf('DCGM_FI_DEV_GPU_TEMP')?.quantity.name).toBe('temperature');
    expect(quantityOf('DCGM_FI_DEV_GPU_TEMP_CELSIUS')?.quantity.name).toBe('temperature');
    expect(quantityOf('nvidia_smi_temperature_gpu')?.quantity.name).toBe('temperature');
    expect(quantityOf('node_load1')).toBeUndefined();
    const meant = metricsMeant('DCGM_FI_DEV_POWER_USAGE');
    expect(meant).toContain('DCGM_FI_DEV_BOARD_POWER_WATTS');
    expect(metricsMeant('power')).toEqual(meant);
    expect(metricsMeant('node_load1')).toEqual(['node_load1']);
  });

  it('agree with the list of renames that DCGM publishes', () => {
    const file = sharedData('dcgm/dcgm_field_aliases_4.6.0.tsv');
    if (file === undefined) return;
    const pairs = fs
      .readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => line.split('\t') as [string, string]);
    const disagreeing = pairs
      .map(([before, after]) => [quantityOf(before)?.quantity, quantityOf(after)?.quantity])
      .filter(([before, after]) => before !== after);
    expect(disagreeing).toEqual([]);
  });

  it('convert only units that are known', () => {
    const memory = quantityNamed('memory_used')!;
    expect(factorTo(memory, 'MiB')).toBe(1_048_576);
    expect(factorTo(memory, 'B')).toBe(1);
    expect(factorTo(memory, '')).toBeUndefined();
    expect(factorTo(memory, 'W')).toBeUndefined();
    expect(factorTo(quantityNamed('utilization')!, '%')).toBe(0.01);
    expect(factorTo(quantityNamed('xid')!, '')).toBe(1);
    expect(conversionFactor('MHz', 'Hz')).toBe(1e6);
    expect(conversionFactor('mJ', 'J')).toBe(1e-3);
    expect(conversionFactor('code', 'count')).toBeUndefined();
  });
});
