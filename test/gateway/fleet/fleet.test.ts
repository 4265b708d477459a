import { describe, expect, it } from 'vitest';
import { encodeSeriesTable } from '../../../src/codec/series-table.ts';
import type { Series } from '../../../src/domain/telemetry.ts';
import { Fleet } from '../../../src/gateway/fleet/fleet.ts';
import type { FleetBatch } from '../../../src/gateway/fleet/series-slots.ts';

const NOW_MS = Date.parse('2026-11-24T12:00:00Z');
const MIB = 2 ** 20;

function series(name: string, unit: string, labels: Record<string, string> = {}): Series {
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return { name, unit, kind: 'gauge', labels: sorted };
}

/** Takes one sample of each series. */
function take(fleet: Fleet, node: string, atMs: number, list: readonly [Series, number][]): void {
  fleet.take(batch(node, atMs, list));
}

function batch(nodeId: string, atMs: number, list: readonly [Series, number][]): FleetBatch {
  return {
    nodeId,
    receivedAtMs: atMs,
    table: encodeSeriesTable(list.map(([one]) => one)),
    samples: {
      series: Uint32Array.from(list, (_, index) => index),
      timestampsMs: new Float64Array(list.length).fill(atMs),
      values: Float64Array.from(list, ([, value]) => value),
    },
  };
}

const gpu = (uuid: string, index: number, more: Record<string, string> = {}) => ({
  UUID: uuid,
  gpu: String(index),
  modelName: 'NVIDIA H100',
  ...more,
});

describe('the fleet', () => {
  it('shows a GPU with its identity and its values in base units', () => {
    const fleet = new Fleet({ maxSeries: 100 });
    const labels = gpu('GPU-a', 3, { namespace: 'team-a', pod: 'train-0' });
    take(fleet, 'gpu-001', NOW_MS - 4000, [
      [series('DCGM_FI_DEV_GPU_UTIL', '%', labels), 97],
      [series('DCGM_FI_DEV_FB_USED', 'MiB', labels), 1000],
      [series('DCGM_FI_DEV_NOVELTY', '', labels), 1],
    ]);
    const [view] = fleet.gpus(NOW_MS);
    expect(view).toMatchObject({
      id: 'GPU-a',
      node: 'gpu-001',
      state: 'busy',
      lastSeenMs: NOW_MS - 4000,
      identity: {
        gpu_uuid: 'GPU-a',
        gpu_index: '3',
        gpu_model: 'NVIDIA H100',
        namespace: 'team-a',
        pod: 'train-0',
      },
    });
    expect(Object.fromEntries(view?.values ?? [])).toEqual({
      utilization: { value: 0.97, unit: 'ratio', ageMs: 4000, metric: 'DCGM_FI_DEV_GPU_UTIL' },
      memory_used: { value: 1000 * MIB, unit: 'B', ageMs: 4000, metric: 'DCGM_FI_DEV_FB_USED' },
    });
  });

  it('takes a value only where its unit is known: absence is not zero', () => {
    const fleet = new Fleet({ maxSeries: 100 });
    take(fleet, 'gpu-001', NOW_MS, [
      [series('DCGM_FI_DEV_GPU_UTIL_RATIO', '', gpu('GPU-a', 0)), 1],
    ]);
    const [view] = fleet.gpus(NOW_MS);
    expect(view?.values.size).toBe(0);
    expect(view?.state).toBe('unknown');
  });

  it('an older sample that comes late changes nothing', () => {
    const fleet = new Fleet({ maxSeries: 100 });
    const power = series('DCGM_FI_DEV_POWER_USAGE', 'W', gpu('GPU-a', 0));
    take(fleet, 'gpu-001', NOW_MS - 1000, [[power, 300]]);
    take(fleet, 'gpu-001', NOW_MS - 60_000, [[power, 100]]);
    expect(fleet.gpus(NOW_MS)[0]?.values.get('power')?.value).toBe(300);
  });

  it('a GPU that gets another pod shows the new one, not what the old one left behind', () => {
    const fleet = new Fleet({ maxSeries: 100 });
    const before = gpu('GPU-a', 0, { namespace: 'team-a', pod: 'old' });
    const after = gpu('GPU-a', 0, { namespace: 'team-b', pod: 'new' });
    take(fleet, 'gpu-001', NOW_MS - 30_000, [[series('DCGM_FI_DEV_GPU_UTIL', '%', before), 99]]);
    take(fleet, 'gpu-001', NOW_MS - 1000, [[series('DCGM_FI_DEV_GPU_UTIL', '%', after), 5]]);
    const [view] = fleet.gpus(NOW_MS);
    expect(view?.identity).toMatchObject({ namespace: 'team-b', pod: 'new' });
    expect(view?.values.get('utilization')?.value).toBeCloseTo(0.05);
    expect(fleet.gpus(NOW_MS, { namespaces: ['team-a'] })).toEqual([]);
    expect(fleet.gpus(NOW_MS, { namespaces: ['team-b'] })).toHaveLength(1);

    const free = gpu('GPU-a', 0);
    take(fleet, 'gpu-001', NOW_MS, [[series('DCGM_FI_DEV_GPU_UTIL', '%', free), 0]]);
    expect(fleet.gpus(NOW_MS)[0]?.identity.namespace).toBeUndefined();
    expect(fleet.gpus(NOW_MS, { namespaces: ['team-b'] })).toEqual([]);
  });

  it('a second exporter that knows no pods does not take the GPU from its owner', () => {
    const fleet = new Fleet({ maxSeries: 100 });
    const owned = gpu('GPU-a', 0, { namespace: 'team-a', pod: 'train-0' });
    take(fleet, 'gpu-001', NOW_MS - 2000, [[series('DCGM_FI_DEV_GPU_UTIL', '%', owned), 50]]);
    take(fleet, 'gpu-001', NOW_MS - 1000, [
      [series('nvidia_smi_power_draw', 'W', { gpu_uuid: 'GPU-a', gpu_index: '0' }), 410],
    ]);
    const [view] = fleet.gpus(NOW_MS, { namespaces: ['team-a'] });
    expect(view?.identity.pod).toBe('train-0');
    expect([...(view?.values.keys() ?? [])].sort()).toEqual(['power', 'utilization']);
  });

  it('keeps MIG slices, and GPUs without a UUID, apart', () => {
    const fleet = new Fleet({ maxSeries: 100 });
    const active = (labels: Record<string, string>) =>
      series('DCGM_FI_PROF_GR_ENGINE_ACTIVE', 'ratio', labels);
    take(fleet, 'gpu-001', NOW_MS, [
      [active(gpu('GPU-a', 0, { GPU_I_ID: '7', GPU_I_PROFILE: '1g.10gb' })), 0.5],
      [active(gpu('GPU-a', 0, { GPU_I_ID: '8', GPU_I_PROFILE: '1g.10gb' })), 0],
      [active({ gpu: '1' }), 0.1],
    ]);
    take(fleet, 'gpu-002', NOW_MS, [[active({ gpu: '1' }), 0.2]]);
    expect(fleet.gpus(NOW_MS).map(({ id, state }) => [id, state])).toEqual([
      ['GPU-a/7', 'busy'],
      ['GPU-a/8', 'unknown'],
      ['gpu-001:1', 'low_use'],
      ['gpu-002:1', 'low_use'],
    ]);
  });

  it('shows a silent GPU as silent, then forgets it, and takes it back when it speaks', () => {
    const fleet = new Fleet({ maxSeries: 100 });
    const sent = batch('gpu-001', NOW_MS, [
      [series('DCGM_FI_DEV_GPU_UTIL', '%', gpu('GPU-a', 0)), 90],
    ]);
    fleet.take(sent);
    expect(fleet.gpus(NOW_MS + 300_000)[0]?.state).toBe('silent');
    fleet.forget(NOW_MS + 1);
    expect(fleet.gpus(NOW_MS)).toEqual([]);
    expect(fleet.series.size).toBe(0);
    fleet.take(sent);
    expect(fleet.gpus(NOW_MS)).toHaveLength(1);
  });

  it('is bounded, and counts what found no place', () => {
    const fleet = new Fleet({ maxSeries: 2 });
    const all = ['a', 'b', 'c'].map(
      (name) => [series(name, '', gpu('GPU-a', 0)), 1] as [Series, number],
    );
    take(fleet, 'gpu-001', NOW_MS, all);
    expect(fleet.series.size).toBe(2);
    expect(fleet.series.untrackedSamples).toBe(1);
    fleet.forget(NOW_MS + 1);
    take(fleet, 'gpu-001', NOW_MS + 1, all);
    expect(fleet.series.size).toBe(2);
  });
});
