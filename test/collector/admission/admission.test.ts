import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { Admission, type ProducerLookup } from '../../../src/collector/admission/admission.ts';
import { createAdmissionMetrics } from '../../../src/collector/admission/admission-metrics.ts';
import { BackpressureGate } from '../../../src/collector/admission/backpressure-gate.ts';
import { SeriesLimiter } from '../../../src/collector/admission/series-limiter.ts';
import { encodeSeriesTable } from '../../../src/codec/series-table.ts';
import type { LimitsConfig } from '../../../src/config/schema.ts';
import type { Batch, PeerIdentity, SampleRejectReason } from '../../../src/domain/telemetry.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { testLimits } from '../../helpers/test-limits.ts';

const NOW = 1_753_000_000_000;
const PEER: PeerIdentity = {
  nodeIds: ['node-1', 'node-1.example'],
  fingerprint256: '',
  serialNumber: '',
  validToMs: 0,
};
const TABLE = encodeSeriesTable(
  ['power', 'DCGM_FI_DEV_MEMORY_TEMP', 'energy'].map((name) => ({
    name,
    labels: [],
    kind: 'gauge',
    unit: '',
  })),
);

interface World {
  limits?: Partial<LimitsConfig>;
  delegates?: string[];
  producer?: ProducerLookup;
}

function worldWith({ limits: overrides = {}, delegates = [], producer = () => 'new' }: World = {}) {
  const clock = new FakeClock(NOW);
  const limits = testLimits(overrides);
  const gate = new BackpressureGate({ maxBatches: 10, maxBytes: 1000 });
  const series = new SeriesLimiter(clock, limits, () => {});
  const admission = new Admission({ clock, limits, delegates, producer, gate, series });
  return { clock, limits, gate, series, admission };
}

function batchOf(overrides: Partial<Batch> & { values?: number[]; times?: number[] } = {}): Batch {
  const { values = [1, 2, 3], times = values.map(() => NOW), ...rest } = overrides;
  return {
    schemaVersion: 1,
    nodeId: '',
    epoch: 5,
    sequence: 6,
    table: TABLE,
    samples: {
      series: Uint32Array.from(values.keys()),
      timestampsMs: Float64Array.from(times),
      values: Float64Array.from(values),
    },
    ...rest,
  };
}

describe('Admission', () => {
  it('accepts a good batch whole, with its own columns, for the certificate’s first identity', () => {
    const { admission, series } = worldWith();
    const batch = batchOf();
    const verdict = admission.admit(PEER, batch);
    expect(verdict).toEqual({
      kind: 'accept',
      nodeId: 'node-1',
      samples: batch.samples,
      rejections: [],
      paid: { samples: 3, expandedBytes: expect.any(Number) },
    });
    expect(verdict.kind === 'accept' && verdict.samples).toBe(batch.samples);
    expect(series.size).toBe(3);
  });

  it('accepts an empty batch', () => {
    const { admission, series } = worldWith();
    expect(admission.admit(PEER, batchOf({ values: [] }))).toMatchObject({ kind: 'accept' });
    expect(series.size).toBe(0);
  });

  it('rejects a batch of somebody else, and accepts it from a delegate', () => {
    const batch = batchOf({ nodeId: 'node-2' });
    expect(worldWith().admission.admit(PEER, batch)).toEqual({
      kind: 'reject',
      reason: 'identity',
      message: expect.stringMatching(/node-2.*node-1/),
    });
    const { admission } = worldWith({ delegates: ['node-1.example'] });
    expect(admission.admit(PEER, batch)).toMatchObject({ kind: 'accept', nodeId: 'node-2' });
  });

  it('rejects another schema version', () => {
    const verdict = worldWith().admission.admit(PEER, batchOf({ schemaVersion: 2 }));
    expect(verdict).toMatchObject({ kind: 'reject', reason: 'schema_version' });
  });

  it('rejects a batch over the limit of samples', () => {
    const { admission } = worldWith({ limits: { max_batch_size: 2 } });
    expect(admission.admit(PEER, batchOf())).toEqual({
      kind: 'reject',
      reason: 'too_large',
      message: 'batch has 3 samples, over the limit of 2',
    });
  });

  it.each<[SampleRejectReason, number, number]>([
    ['not_a_number', Number.NaN, NOW],
    ['infinite', Number.NEGATIVE_INFINITY, NOW],
    ['sentinel', 2 ** 47, NOW],
    ['too_old', 1, NOW - 604_800_001],
    ['too_far_ahead', 1, NOW + 300_001],
  ])('refuses a sample as %s and goes on with the others', (reason, value, time) => {
    const batch = batchOf({ values: [1, value, 3], times: [NOW, time, NOW] });
    expect(worldWith().admission.admit(PEER, batch)).toMatchObject({
      kind: 'accept',
      nodeId: 'node-1',
      samples: {
        series: Uint32Array.of(0, 2),
        timestampsMs: Float64Array.of(NOW, NOW),
        values: Float64Array.of(1, 3),
      },
      rejections: [{ reason, count: 1, firstSeries: 'DCGM_FI_DEV_MEMORY_TEMP' }],
    });
  });

  it.each([
    ['cardinality_node', { max_cardinality_per_node: 2 }],
    ['cardinality_global', { max_cardinality: 2 }],
  ])('refuses the samples of series over a limit as %s', (reason, limits) => {
    const { admission } = worldWith({ limits });
    expect(admission.admit(PEER, batchOf())).toMatchObject({
      samples: { series: Uint32Array.of(0, 1) },
      rejections: [{ reason, count: 1, firstSeries: 'energy' }],
    });
  });

  it('names all reasons of a batch', () => {
    const { admission } = worldWith({ limits: { max_cardinality: 2 } });
    const verdict = admission.admit(PEER, batchOf({ values: [Number.NaN, 2, 3] }));
    const reasons = verdict.kind === 'accept' ? verdict.rejections.map(({ reason }) => reason) : [];
    expect(reasons).toEqual(['not_a_number', 'cardinality_global']);
  });

  it('takes no slots for a batch of which nothing is kept', () => {
    const { admission, series } = worldWith();
    admission.admit(PEER, batchOf({ values: [Number.NaN] }));
    expect(series.size).toBe(0);
  });
});

describe('duplicates', () => {
  it.each(['pending', 'durable'] as const)('are recognised while %s', (known) => {
    const asked: unknown[] = [];
    const producer: ProducerLookup = (...batch) => {
      asked.push(batch);
      return known;
    };
    const { admission } = worldWith({ producer });
    const verdict = admission.admit(PEER, batchOf());
    expect(verdict).toEqual({ kind: 'duplicate', nodeId: 'node-1' });
    expect(asked).toEqual([['node-1', 5, 6]]);
  });

  it('are not asked about for sequence 0', () => {
    const producer: ProducerLookup = () => {
      throw new Error('asked');
    };
    const { admission } = worldWith({ producer });
    expect(admission.admit(PEER, batchOf({ sequence: 0 })).kind).toBe('accept');
  });
});

describe('the order of the checks', () => {
  it('is identity, shape, duplicate, throttle, values and series', () => {
    const { admission, gate, series } = worldWith({
      limits: { max_batch_size: 2 },
      producer: (_node, _epoch, sequence) => (sequence === 1 ? 'durable' : 'new'),
    });
    gate.close('journal_full');
    const large = batchOf({ nodeId: 'node-2', sequence: 1 });
    expect(admission.admit(PEER, large)).toMatchObject({ reason: 'identity' });
    expect(admission.admit(PEER, { ...large, nodeId: '' })).toMatchObject({ reason: 'too_large' });
    const known = batchOf({ values: [1, 2], sequence: 1 });
    expect(admission.admit(PEER, known)).toMatchObject({ kind: 'duplicate' });
    const fresh = batchOf({ values: [1, 2], sequence: 2 });
    expect(admission.admit(PEER, fresh)).toMatchObject({ reason: 'journal_full' });
    expect(series.size).toBe(0);
  });

  it('lets a batch that the gate turns away use nothing of its node’s rate', () => {
    const { admission, gate } = worldWith({ limits: { node_samples_per_second: 1 } });
    gate.close('journal_unavailable');
    for (let attempt = 0; attempt < 20; attempt += 1) admission.admit(PEER, batchOf());
    gate.reopen('journal_unavailable');
    expect(admission.admit(PEER, batchOf()).kind).toBe('accept');
  });
});

describe('throttling', () => {
  it.each([
    ['journal_full', 1000],
    ['journal_unavailable', 1000],
  ] as const)('as %s asks for %d ms', (reason, retryAfterMs) => {
    const { admission, gate } = worldWith();
    gate.close(reason);
    expect(admission.admit(PEER, batchOf())).toEqual({ kind: 'throttle', reason, retryAfterMs });
  });

  it('as backpressure asks for a quarter of a second and ends with the load', () => {
    const { admission, gate } = worldWith();
    gate.enter(1000);
    const throttled = { kind: 'throttle', reason: 'backpressure', retryAfterMs: 250 };
    expect(admission.admit(PEER, batchOf())).toEqual(throttled);
    gate.leave(1000);
    expect(admission.admit(PEER, batchOf()).kind).toBe('accept');
  });

  it('as node_rate asks for as long as the node must wait', () => {
    const { admission, clock } = worldWith({ limits: { node_samples_per_second: 1 } });
    for (let batch = 0; batch < 3; batch += 1) {
      expect(admission.admit(PEER, batchOf()).kind).toBe('accept');
    }
    const throttled = { kind: 'throttle', reason: 'node_rate', retryAfterMs: 2000 };
    expect(admission.admit(PEER, batchOf())).toEqual(throttled);
    clock.advance(2000);
    expect(admission.admit(PEER, batchOf()).kind).toBe('accept');
  });
});

describe('reconfigure', () => {
  it('takes effect from the next batch on, in every part', () => {
    const { admission, gate, series, limits } = worldWith();
    const changed = { ...limits, max_cardinality: 1, max_batch_size: 3, backpressure_threshold: 1 };
    admission.reconfigure(changed, ['node-1']);
    const verdict = admission.admit(PEER, batchOf({ nodeId: 'anyone' }));
    expect(verdict).toMatchObject({ kind: 'accept', nodeId: 'anyone' });
    expect(series.size).toBe(1);
    gate.enter(1);
    expect(gate.isOpen()).toBe(false);
    admission.reconfigure(limits, []);
    expect(gate.isOpen()).toBe(true);
    expect(admission.admit(PEER, batchOf({ nodeId: 'anyone' })).kind).toBe('reject');
  });
});

describe('admission metrics', () => {
  it('show what the parts hold when they are asked', async () => {
    const { admission, gate, series } = worldWith({
      limits: { max_cardinality: 2, node_samples_per_second: 0.6 },
    });
    const registry = new Registry();
    createAdmissionMetrics(registry, { gate, series, admission });
    admission.admit(PEER, batchOf());
    gate.enter(500);
    gate.close('journal_full');
    const page = await registry.metrics();
    for (const line of [
      'telemetry_collector_admission_series 2',
      'telemetry_collector_admission_series_limit 2',
      'telemetry_collector_admission_node_series_limit 10000',
      'telemetry_collector_admission_nodes 1',
      'telemetry_collector_admission_series_refused 1',
      'telemetry_collector_admission_series_refused_total{reason="cardinality_node"} 0',
      'telemetry_collector_admission_series_refused_total{reason="cardinality_global"} 1',
      'telemetry_collector_admission_tables 1',
      'telemetry_collector_admission_in_flight_batches 1',
      'telemetry_collector_admission_in_flight_bytes 500',
      'telemetry_collector_admission_gate_open 0',
      'telemetry_collector_admission_node_budget_used_ratio{budget="samples"} 0.5',
    ]) {
      expect(page).toContain(`${line}\n`);
    }
    expect((await registry.metrics()) === page).toBe(true);
  });
});
