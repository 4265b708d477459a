import { expect, test } from 'vitest';
import { measureConnections } from '../../../bench/connections.ts';
import { cpuPerMetric, runIngest } from '../../../bench/ingest-run.ts';
import { measureKnownSeries } from '../../../bench/known-series.ts';
import { latency } from '../../../bench/latency.ts';
import { runNewSeries } from '../../../bench/new-series.ts';
import { profile } from '../../../bench/profile.ts';
import { measureRecovery } from '../../../bench/recovery.ts';

const silent = { picturesDir: undefined, say: () => {} };

test('what is counted as taken in is in both destinations, and CPU is told by thread', async () => {
  const run = await runIngest({ nodes: 10, seconds: 2 }, { warmUpSeconds: 0 });
  expect(run.accepted).toBeGreaterThan(0);
  expect(run.accepted).toBe(run.load.sentSamples);
  expect([...run.cpu.keys()].sort()).toEqual(['influxdb', 'main', 'other', 'parquet']);
  expect(run.influxBytes).toBeGreaterThan(run.accepted);
});

test('the load generator costs less than the daemon it loads', async () => {
  const run = await runIngest({ nodes: 10, seconds: 2 }, { warmUpSeconds: 1 });
  expect(run.load.cpuSeconds / run.accepted).toBeLessThan(cpuPerMetric(run) / 1e6);
});

test('a metric does not get dearer because ten times as many series are known', async () => {
  const task = { nodes: 4, seconds: 2, pace: { kind: 'full speed', inFlight: 16 } as const };
  const few = await runIngest(task, { warmUpSeconds: 1, quietNodes: 5 });
  const many = await runIngest(task, { warmUpSeconds: 1, quietNodes: 50 });
  expect(many.seriesKnown).toBeGreaterThan(5 * few.seriesKnown);
  expect(cpuPerMetric(many)).toBeLessThan(3 * cpuPerMetric(few));
});

test('what new series cost is told: of the main thread, and of all', async () => {
  const { series, microseconds, mainMicroseconds } = await runNewSeries(20);
  expect(series).toBe(20 * 200);
  expect(microseconds).toBeGreaterThan(mainMicroseconds);
});

test('the open loop sends at its rate, and latencies rise with the percentile', async () => {
  const found = await latency.measure({ ...silent, seconds: 3 });
  const value = (figure: string) => found.find((one) => one.figure === figure)?.value ?? Number.NaN;
  expect(value('sent') / 50_000).toBeGreaterThan(0.5);
  expect(value('due → acknowledged, p50')).toBeLessThanOrEqual(value('due → acknowledged, p99'));
});

test('the stages of a profile add up to what the kernel says, and none is missing', async () => {
  const lines = await profile.measure({ ...silent, seconds: 2 });
  const whole = lines.at(-1)?.value ?? 0;
  const stages = lines.slice(0, -1);
  const sum = stages.reduce((total, { value }) => total + value, 0);
  expect(sum / whole).toBeCloseTo(1, 6);
  const named = stages.filter(({ figure }) => !/Node.js itself|loop|garbage/.test(figure));
  expect(named.filter(({ value }) => !(value > 0))).toEqual([]);
});

test('connections take memory in proportion, not more', async () => {
  const found = await measureConnections(60, 2, 150);
  const value = (figure: string) => found.find((one) => one.figure === figure)?.value ?? Number.NaN;
  // A connection that costs a megabyte would make a thousand of them cost a gigabyte.
  const perConnection = (value('RssAnon connected at 60') - value('RssAnon before at 60')) / 60;
  expect(perConnection).toBeLessThan(1);
});

test('after a kill everything acknowledged comes out of the journal', async () => {
  const found = await measureRecovery(20e6);
  expect(found.map(({ figure }) => figure)).toContain('process started → listening');
});

test('what is stored of series is known after a start, and takes bytes, not pages', async () => {
  const found = await measureKnownSeries(20_000);
  const written = found.find(({ figure }) => figure.startsWith('disk writes'));
  // A page of 4 KiB for each series would be 80 MB.
  expect(written?.value).toBeLessThan(20);
});
