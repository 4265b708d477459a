import { describe, expect, test } from 'vitest';
import { describeMetric } from '../../../src/agent/sources/metric-units.ts';
import {
  type SimulatedColumns,
  type SimulateOptions,
  simulateColumns,
} from '../../../src/agent/sources/simulate-columns.ts';
import { openSimulateSource } from '../../../src/agent/sources/simulate-source.ts';
import { MAX_SIMULATED_METRICS } from '../../../src/agent/sources/simulated-metrics.ts';
import type { Series } from '../../../src/domain/telemetry.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';

const START = Date.UTC(2026, 0, 1);
const STEP_MS = 10_000;

function columns(options: Partial<SimulateOptions> = {}): SimulatedColumns {
  return simulateColumns({ nodeId: 'n1', ...options }, START);
}

function valuesNow(node: SimulatedColumns): Float64Array {
  const values = new Float64Array(node.series.length);
  node.fill(values);
  return values;
}

const labelOf = (series: Series, key: string) => series.labels.find(([name]) => name === key)?.[1];

/** Plays `steps` collections and hands each series with its value to `visit`. */
function play(
  node: SimulatedColumns,
  steps: number,
  visit: (series: Series, value: number, step: number) => void,
) {
  for (let step = 0; step < steps; step += 1) {
    node.advance(START + step * STEP_MS);
    const values = valuesNow(node);
    for (const [index, series] of node.series.entries()) {
      visit(series, values[index] ?? Number.NaN, step);
    }
  }
}

/** Per collection and GPU, the values of one moment by short metric name. */
function gpuHistory(node: SimulatedColumns, steps: number) {
  const moments = new Map<string, Record<string, number> & { pod?: never }>();
  const pods = new Map<string, string | undefined>();
  play(node, steps, (series, value, step) => {
    const key = `${step}/${labelOf(series, 'gpu_index')}`;
    const moment = moments.get(key) ?? {};
    moment[series.name.replace(/^DCGM_FI_(DEV|PROF)_/, '')] = value;
    moments.set(key, moment);
    pods.set(key, labelOf(series, 'pod'));
  });
  return [...moments].map(([key, values]) => ({ key, values, pod: pods.get(key) }));
}

describe('a simulated node', () => {
  test('is the same for the same seed and name, and another for another', () => {
    const record = (options: Partial<SimulateOptions>) => {
      const lines: string[] = [];
      play(columns(options), 30, (series, value) => lines.push(`${series.name} ${value}`));
      return lines.join('\n');
    };
    expect(record({ seed: 1 })).toBe(record({ seed: 1 }));
    expect(record({ seed: 1 })).not.toBe(record({ seed: 2 }));
    expect(record({ seed: 1 })).not.toBe(record({ nodeId: 'n2' }));
  });

  test('keeps its GPU UUIDs, and shares none with another node', () => {
    const uuids = (nodeId: string) =>
      new Set(columns({ nodeId }).series.map((series) => labelOf(series, 'gpu_uuid')));
    expect(uuids('n1')).toEqual(uuids('n1'));
    expect(uuids('n1').size).toBe(8);
    expect([...uuids('n1')].some((uuid) => uuids('n2').has(uuid))).toBe(false);
    for (const uuid of uuids('n1')) {
      expect(uuid).toMatch(/^GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    }
  });

  test.each([
    [8, 0, 200],
    [4, 35, 240],
    [1, 10_000, MAX_SIMULATED_METRICS],
  ])('of %d GPUs and %d extra metrics has %d series', (gpus, extraMetrics, count) => {
    const { series } = columns({ gpus, extraMetrics });
    expect(series.length).toBe(count);
    expect(new Set(series.map(({ name, labels }) => name + JSON.stringify(labels))).size).toBe(
      count,
    );
    for (const { name, kind, unit, labels } of series) {
      expect({ kind, unit }, name).toEqual(describeMetric(name));
      expect(kind, name).not.toBe('unspecified');
      expect(labels.map(([key]) => key)).toEqual(labels.map(([key]) => key).sort());
      expect(labels.every(([, value]) => value !== '')).toBe(true);
    }
  });

  test.each([
    { gpus: 0 },
    { gpus: 1.5 },
    { gpus: 5000 },
    { extraMetrics: -1 },
    { jobMedianSeconds: 0 },
  ])('refuses %j', (options) => {
    expect(() => columns(options)).toThrow('cannot simulate a node');
  });
});

describe('a day of it', () => {
  const history = gpuHistory(columns({ extraMetrics: 200, faultsPerGpuHour: 0 }), 8640);

  test('stays within what an H100 can do', () => {
    for (const { values } of history) {
      const { GPU_UTIL = -1, POWER_USAGE = -1, GPU_TEMP = -1, SM_CLOCK = -1 } = values;
      const ok =
        GPU_UTIL >= 0 &&
        GPU_UTIL <= 100 &&
        Number.isInteger(GPU_UTIL) &&
        POWER_USAGE >= 60 &&
        POWER_USAGE <= 700 &&
        GPU_TEMP >= 20 &&
        GPU_TEMP <= 95 &&
        SM_CLOCK >= 345 &&
        SM_CLOCK <= 1980;
      if (!ok) expect(values).toBe('within bounds');
    }
    const fractions = history.flatMap(({ values }) => [
      values.GR_ENGINE_ACTIVE ?? -1,
      values.PIPE_TENSOR_ACTIVE ?? -1,
    ]);
    expect(Math.min(...fractions.slice(0, 50_000))).toBeGreaterThanOrEqual(0);
    expect(Math.max(...fractions.slice(0, 50_000))).toBeLessThanOrEqual(1);
    expect(history.every(({ values }) => values.FB_USED! + values.FB_FREE! === 81_007)).toBe(true);
  });

  test('has GPUs that are free, at work, and held by a pod that does nothing', () => {
    const free = history.filter(({ pod }) => pod === undefined);
    const busy = history.filter(({ values }) => values.GPU_UTIL! > 80);
    const zombies = history.filter(
      ({ pod, values }) => pod !== undefined && values.GPU_UTIL === 0 && values.FB_USED! > 10_000,
    );
    for (const part of [free, busy, zombies])
      expect(part.length).toBeGreaterThan(history.length / 100);
    expect(free.every(({ values }) => values.GPU_UTIL === 0 && values.FB_USED! < 10)).toBe(true);
    const mean = (part: typeof history) =>
      part.reduce((total, { values }) => total + values.POWER_USAGE!, 0) / part.length;
    expect(mean(busy)).toBeGreaterThan(400);
    expect(mean(zombies)).toBeLessThan(150);
    expect(mean(free)).toBeLessThan(mean(zombies));
  });

  test('has many jobs of many lengths', () => {
    const pods = new Set(history.map(({ pod }) => pod));
    expect(pods.size).toBeGreaterThan(20);
  });

  test('has energy that is the sum of power', () => {
    const own = history.filter(({ key }) => key.endsWith('/3'));
    const joules = own.slice(1).reduce((sum, { values }, index) => {
      return sum + ((values.POWER_USAGE! + own[index]!.values.POWER_USAGE!) / 2) * (STEP_MS / 1000);
    }, 0);
    const counted =
      own.at(-1)!.values.TOTAL_ENERGY_CONSUMPTION! - own[0]!.values.TOTAL_ENERGY_CONSUMPTION!;
    expect(counted / 1000).toBeCloseTo(joules, -2);
  });

  test('has heat that follows power slowly', () => {
    const own = history.filter(({ key }) => key.endsWith('/0'));
    const jumps = own
      .slice(1)
      .map(({ values }, index) => Math.abs(values.GPU_TEMP! - own[index]!.values.GPU_TEMP!));
    expect(Math.max(...jumps)).toBeGreaterThan(1);
    expect(Math.max(...jumps)).toBeLessThan(15);
    const powerJumps = own
      .slice(1)
      .map(({ values }, index) => Math.abs(values.POWER_USAGE! - own[index]!.values.POWER_USAGE!));
    expect(Math.max(...powerJumps)).toBeGreaterThan(200);
  });
});

describe('faults', () => {
  test('leave a code that stays, and take a GPU away and bring it back with new counters', () => {
    const node = columns({ gpus: 8, faultsPerGpuHour: 2, jobChurn: false });
    const codes = new Set<number>();
    const sizes = new Set<number>();
    let fellBack = 0;
    const energy = new Map<string, number>();
    play(node, 8640, (series, value) => {
      sizes.add(node.series.length);
      if (series.name.endsWith('XID_ERRORS')) codes.add(value);
      if (!series.name.endsWith('ENERGY_CONSUMPTION')) return;
      const gpu = labelOf(series, 'gpu_uuid') ?? '';
      if (value < (energy.get(gpu) ?? 0)) fellBack += 1;
      energy.set(gpu, value);
    });
    expect([...codes]).toEqual(expect.arrayContaining([0, 31, 13, 63, 94]));
    expect([...sizes]).toEqual(expect.arrayContaining([200, 175]));
    expect(fellBack).toBeGreaterThan(0);
    expect(node.epoch).toBeGreaterThan(2);
  });

  test('of heat throttle a badly cooled GPU', () => {
    let throttled = 0;
    for (let seed = 0; seed < 12; seed += 1) {
      const node = columns({ seed, extraMetrics: 20, jobChurn: false, faultsPerGpuHour: 0 });
      play(node, 100, ({ name }, value) => {
        if (name.endsWith('CLOCK_THROTTLE_REASONS') && (value & 0x20) !== 0) throttled += 1;
      });
    }
    expect(throttled).toBeGreaterThan(0);
  });
});

describe('as columns', () => {
  test('the list of series is one object until a job starts or ends', () => {
    const node = columns({ jobMedianSeconds: 60 });
    let { series, epoch } = node;
    let changes = 0;
    for (let step = 1; step < 2000; step += 1) {
      const changed = node.advance(START + step * 1000);
      expect(changed).toBe(series !== node.series);
      expect(changed).toBe(epoch !== node.epoch);
      if (changed) changes += 1;
      ({ series, epoch } = node);
    }
    expect(changes).toBeGreaterThan(5);
    expect(changes).toBeLessThan(500);
  });

  test('the series never change without job churn and faults', () => {
    const node = columns({ jobChurn: false, faultsPerGpuHour: 0 });
    const { series } = node;
    for (let hour = 1; hour < 500; hour += 1) {
      expect(node.advance(START + hour * 3_600_000)).toBe(false);
    }
    expect(node.series).toBe(series);
  });

  test('jobs come and go at the same times however often one looks', () => {
    const podsAt = (stepMs: number) => {
      const node = columns({ faultsPerGpuHour: 0 });
      for (let at = 0; at <= 7_200_000; at += stepMs) node.advance(START + at);
      return node.series.map((series) => labelOf(series, 'pod'));
    };
    expect(podsAt(1000)).toEqual(podsAt(600_000));
  });

  test('survives a leap of years and a clock that goes back', () => {
    const node = columns();
    node.advance(START + 5 * 365 * 86_400_000);
    node.advance(START);
    expect(valuesNow(node).every((value) => Number.isFinite(value) && value >= 0)).toBe(true);
  });

  test('writes at the given offset', () => {
    const node = columns({ gpus: 1 });
    const values = new Float64Array(30).fill(-1);
    node.fill(values, 3);
    expect([...values].map((value) => value === -1)).toEqual([
      ...[true, true, true],
      ...Array.from({ length: 25 }, () => false),
      ...[true, true],
    ]);
  });
});

test('as a source it stamps now, with labels that change with the jobs', async () => {
  const clock = new FakeClock(START);
  const source = openSimulateSource({ nodeId: 'n1', jobMedianSeconds: 60 }, clock);
  const pods = new Set<string | undefined>();
  for (let round = 0; round < 200; round += 1) {
    const { readings, skipped, done } = await source.collect();
    expect(readings.length % 25).toBe(0);
    expect(readings.every(({ timestampMs }) => timestampMs === clock.nowMs())).toBe(true);
    expect([skipped, done]).toEqual([[], false]);
    for (const { labels } of readings) pods.add(labels.pod);
    clock.advance(STEP_MS);
  }
  expect(pods.size).toBeGreaterThan(5);
  expect(pods.has(undefined)).toBe(true);
  expect(pods.has('')).toBe(false);
  await source.close();
});
