/** Readiness says what is wrong within ten seconds, and takes it back by itself. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { DaemonProcess } from '../../trials/harness/daemon-process.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { countedSamples } from '../helpers/counted-samples.ts';
import { InfluxStandIn } from '../helpers/influx-stand-in.ts';
import { Scenario } from '../helpers/scenario.ts';
import { smallDisk } from '../helpers/small-disk.ts';

const MIB = 1024 * 1024;
/** What the issue promises. */
const NOTICED_MS = 10_000;

let scenario: Scenario;
afterEach(() => scenario.close());

function influxAt(url: string, timeoutSecs = 10) {
  return { url, org: 'horizon', bucket: 'telemetry', token: 'secret', timeout_secs: timeoutSecs };
}

async function becomesReady(daemon: DaemonProcess): Promise<void> {
  await daemon.waitFor('readiness', async () => (await daemon.readiness()).ready);
}

/** Waits for the reason of `check`; the time it took, in ms. */
async function noticed(daemon: DaemonProcess, check: string, reason: RegExp): Promise<number> {
  const startedMs = systemClock.monotonicMs();
  let last = '';
  await daemon
    .waitFor(`readiness to say ${reason}`, async () => {
      const { ready, checks } = await daemon.readiness();
      last = JSON.stringify(checks);
      return !ready && reason.test(checks[check]?.reason ?? '');
    })
    .catch((error) => {
      throw new Error(`${error}\n${last}`);
    });
  return systemClock.monotonicMs() - startedMs;
}

test('a sink that refuses is noticed without any traffic, and readiness returns with it', async () => {
  const influx = await InfluxStandIn.start();
  scenario = await Scenario.open({ influxdb: influxAt(influx.url) });
  const daemon = await scenario.startDaemon();
  await becomesReady(daemon);
  influx.answer = () => ({ status: 503 });
  expect(await noticed(daemon, 'writer influxdb', /503/)).toBeLessThan(NOTICED_MS);
  const metrics = await daemon.metrics();
  expect(metrics.sum('ready')).toBe(0);
  expect(metrics.sum('readiness_check_ok', { check: 'writer influxdb' })).toBe(0);
  expect(metrics.sum('readiness_check_ok', { check: 'writer parquet' })).toBe(1);
  influx.answer = () => ({ status: 204 });
  await becomesReady(daemon);
});

test('a sink that takes requests and never answers is noticed before its own timeout', async () => {
  const influx = await InfluxStandIn.start();
  scenario = await Scenario.open({ influxdb: influxAt(influx.url, 30) });
  const daemon = await scenario.startDaemon();
  await becomesReady(daemon);
  influx.answer = () => 'hang';
  expect(await noticed(daemon, 'writer influxdb', /stands still/)).toBeLessThan(NOTICED_MS);
});

test('a canary leaves no trace in tables, bucket or ledger', async () => {
  const influx = await InfluxStandIn.start();
  scenario = await Scenario.open({ influxdb: influxAt(influx.url) });
  const daemon = await scenario.startDaemon();
  await becomesReady(daemon);
  await daemon.waitFor(
    'a few canaries',
    async () => (await daemon.metrics()).sum('canaries_sent_total') >= 3,
  );
  const metrics = await daemon.metrics();
  expect(metrics.sum('samples_received_total')).toBe(0);
  expect(metrics.sum('batches_total')).toBe(0);
  expect(metrics.sum('admission_series')).toBe(0);
  expect(metrics.sum('journal_head_seq')).toBeGreaterThanOrEqual(2);
  expect(influx.accepted).toEqual([]);
  expect(influx.requests.every(({ lines }) => lines.length === 0)).toBe(true);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(await scenario.warehouse.count()).toBe(0);
});

test('an event loop that stood still is told for a while, and counted', async () => {
  scenario = await Scenario.open();
  const daemon = await scenario.startDaemon();
  await becomesReady(daemon);
  daemon.signal('SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, 2500));
  daemon.signal('SIGCONT');
  const { checks } = await daemon.readiness();
  expect(checks['event loop']?.reason).toMatch(/^stood still for [23]\.\d s/);
  const metrics = await daemon.metrics();
  expect(metrics.sum('event_loop_stalls_total')).toBeGreaterThanOrEqual(1);
  expect(metrics.sum('event_loop_stalled_seconds_total')).toBeGreaterThan(2);
  await becomesReady(daemon);
});

test('a writer whose thread hangs in the system is noticed, while everything else goes on', async () => {
  scenario = await Scenario.open();
  const daemon = await scenario.startDaemon();
  await becomesReady(daemon);
  // Opening a pipe that nobody reads blocks the thread, as a dead network file system does.
  const pipe = path.join(scenario.deployment.warehouseDir, '.staging', 'part-collector-canary.tmp');
  await daemon.waitFor('a moment without the file', () => {
    try {
      execFileSync('mkfifo', [pipe], { stdio: 'pipe' });
      return true;
    } catch {
      return false;
    }
  });
  const took = await noticed(daemon, 'writer parquet', /its thread hangs|stands still/);
  expect(took).toBeLessThan(NOTICED_MS);
  const client = await scenario.openClient('gpu-001');
  const samples = countedSamples(4, systemClock.nowMs());
  expect(await client.send(samples.table, samples.next())).toMatchObject({ status: 'accepted' });
  // The call returns, and the next one finds no pipe.
  const reader = fs.openSync(pipe, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  fs.rmSync(pipe, { force: true });
  fs.closeSync(reader);
  await becomesReady(daemon);
});

test('a full disk throttles agents and nothing else, and is over without a restart', async (context) => {
  const disk = smallDisk(96 * MIB);
  if (disk === undefined) return context.skip('no small disk: needs root');
  scenario = await Scenario.open({
    parquet: { output_dir: disk.dir, rotation_interval_secs: 1 },
    journal: { max_bytes: 32 * MIB, min_free_bytes: 8 * MIB },
  });
  const daemon = await scenario.startDaemon();
  await becomesReady(daemon);
  const client = await scenario.openClient('gpu-001');
  const samples = countedSamples(10, systemClock.nowMs());
  expect(await client.send(samples.table, samples.next())).toMatchObject({ status: 'accepted' });

  disk.fill(2 * MIB);
  expect(await noticed(daemon, 'journal', /disk low: .*throttled/)).toBeLessThan(NOTICED_MS);
  const waiting = client.send(samples.table, samples.next());
  await daemon.waitFor('the agent to be throttled', () => client.stats.throttled > 0);
  const late = await scenario.openClient('gpu-002');
  await late.connected();
  const alsoWaiting = late.send(samples.table, samples.next());
  await daemon.waitFor('a newcomer to be throttled', () => late.stats.throttled > 1);
  expect((await daemon.metrics()).sum('samples_throttled_total')).toBeGreaterThan(0);
  expect(client.stats.reconnects).toBe(0);

  disk.empty();
  expect(await waiting).toMatchObject({ status: 'accepted' });
  expect(await alsoWaiting).toMatchObject({ status: 'accepted' });
  expect(late.stats.reconnects).toBe(0);
  await becomesReady(daemon);
  await daemon.waitFor(
    'everything to be in the warehouse',
    async () => (await daemon.metrics()).sum('samples_pending', { writer: 'parquet' }) === 0,
  );
  expect((await daemon.metrics()).ledger(['parquet'])).toMatchObject({
    accepted: 30,
    unaccounted: [0],
  });
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

test('a disk with no room at all is told and survived the same way', async (context) => {
  const disk = smallDisk(64 * MIB);
  if (disk === undefined) return context.skip('no small disk: needs root');
  scenario = await Scenario.open({
    parquet: { output_dir: disk.dir, rotation_interval_secs: 1 },
    journal: { max_bytes: 32 * MIB, min_free_bytes: 0 },
  });
  const daemon = await scenario.startDaemon();
  await becomesReady(daemon);
  const client = await scenario.openClient('gpu-001');
  const samples = countedSamples(10, systemClock.nowMs());
  expect(await client.send(samples.table, samples.next())).toMatchObject({ status: 'accepted' });
  disk.fill(0);
  expect(await noticed(daemon, 'journal', /disk/)).toBeLessThan(NOTICED_MS);
  await noticed(daemon, 'writer parquet', /no space|ENOSPC|stands still/i);
  const waiting = client.send(samples.table, samples.next());
  await daemon.waitFor('the agent to be throttled', () => client.stats.throttled > 0);
  disk.empty();
  expect(await waiting).toMatchObject({ status: 'accepted' });
  await becomesReady(daemon);
});
