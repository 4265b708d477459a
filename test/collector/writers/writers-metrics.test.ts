import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { StatusTotals } from '../../../src/collector/writers/status-totals.ts';
import type { WorkerStatus } from '../../../src/collector/writers/writer-messages.ts';
import type { WriterStatus } from '../../../src/collector/writers/writer-status.ts';
import { createWritersMetrics } from '../../../src/collector/writers/writers-metrics.ts';

const WORKER: WorkerStatus = {
  ...{ state: 'running', breaker: 'closed', readSeq: 5, cursor: 5, headSeq: 9, writes: 3 },
  ...{ oldestUnsafeMs: 0, failingSinceMs: 0, lastProgressMs: 1000, lastError: '' },
  ...{ failures: { timeout: 2 }, damagedRecords: 1, deadLetters: { kept: 4, skipped: {} } },
  stats: { lines_total: 100, plan_cache_bytes: 7 },
};

test('totals go on when another worker starts from 0', () => {
  const totals = new StatusTotals();
  totals.take(WORKER);
  totals.workerEnded();
  totals.take({ ...WORKER, lastProgressMs: 500, stats: { lines_total: 1, plan_cache_bytes: 3 } });
  expect(totals.sums()).toEqual({
    ...{
      writes: 6,
      failures: { timeout: 4 },
      deadLetters: { kept: 8, skipped: {} },
      damagedRecords: 2,
    },
    stats: { lines_total: 101, plan_cache_bytes: 3 },
  });
  expect(totals.lastProgressMs).toBe(1000);
});

test('however many workers there were, at most 50 nodes are named', () => {
  const totals = new StatusTotals();
  for (let worker = 0; worker < 4; worker += 1) {
    const names = Array.from({ length: 50 }, (_, node) => [`n${worker}-${node}`, 2] as const);
    const deadLetters = { kept: 0, skipped: Object.fromEntries(names) };
    totals.take({ ...WORKER, deadLetters });
    totals.workerEnded();
  }
  const { skipped } = totals.sums().deadLetters;
  expect(Object.keys(skipped)).toHaveLength(51);
  expect(skipped._other).toBe(300);
});

test('a scrape shows the status of each writer as it is then', async () => {
  const registry = new Registry();
  const metrics = createWritersMetrics(registry);
  const status: WriterStatus = {
    ...{
      state: 'backing_off',
      breaker: 'open',
      headSeq: 9,
      readSeq: 5,
      cursor: 5,
      lagMs: 1500,
      silentMs: 0,
    },
    ...{ failingMs: 2500, lastSuccessMs: 12_000, lastError: 'down', restarts: 1, writes: 3 },
    ...{
      failures: { timeout: 2 },
      deadLetters: { kept: 4, skipped: { n1: 2 } },
      damagedRecords: 1,
    },
    stats: { lines_total: 100, unknown: 1 },
  };
  metrics.watch('influxdb', () => status);
  await registry.metrics();
  const lines = (await registry.metrics()).split('\n').filter((line) => !line.startsWith('#'));
  const name = 'telemetry_collector_writers';
  expect(lines).toEqual(
    expect.arrayContaining([
      `${name}_lag_records{writer="influxdb"} 4`,
      `${name}_lag_seconds{writer="influxdb"} 1.5`,
      `${name}_failing_seconds{writer="influxdb"} 2.5`,
      `${name}_breaker_open{writer="influxdb"} 1`,
      `${name}_last_success_timestamp_seconds{writer="influxdb"} 12`,
      `${name}_state{writer="influxdb",state="backing_off"} 1`,
      `${name}_state{writer="influxdb",state="running"} 0`,
      `${name}_writes_total{writer="influxdb"} 3`,
      `${name}_write_failures_total{writer="influxdb",reason="timeout"} 2`,
      `${name}_write_failures_total{writer="influxdb",reason="network"} 0`,
      `${name}_restarts_total{writer="influxdb"} 1`,
      `${name}_dead_letters_total{writer="influxdb"} 4`,
      `${name}_dead_letters_skipped_total{writer="influxdb",node="n1"} 2`,
      `${name}_damaged_records_total{writer="influxdb"} 1`,
      `${name}_lines_total{writer="influxdb"} 100`,
    ]),
  );
  expect(lines.join()).not.toContain('unknown');
});
