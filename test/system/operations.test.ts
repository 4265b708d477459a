import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import type { DaemonProcess } from '../../trials/harness/daemon-process.ts';
import { issueCertificate } from '../../src/collector/cli/development-certificates.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { countedSamples } from '../helpers/counted-samples.ts';
import { debianTool } from '../helpers/debian-tool.ts';
import { connectRaw } from '../helpers/raw-connection.ts';
import { Scenario } from '../helpers/scenario.ts';

let scenario: Scenario;
afterEach(() => scenario.close());

async function sendRounds(nodeId: string, rounds: number): Promise<void> {
  const client = await scenario.openClient(nodeId);
  const samples = countedSamples(10, systemClock.nowMs());
  for (let round = 0; round < rounds; round += 1) {
    expect(await client.send(samples.table, samples.next())).toMatchObject({ status: 'accepted' });
  }
  await client.close();
}

test('the ledger goes on where it stopped, across a clean stop and a kill', async () => {
  scenario = await Scenario.open();
  let daemon = await scenario.startDaemon();
  await sendRounds('gpu-001', 3);
  expect(await daemon.stop()).toEqual({ code: 0, signal: null });
  expect(await scenario.warehouse.count()).toBe(30);

  daemon = await scenario.startDaemon();
  expect((await daemon.metrics()).sum('journal_unclean_start')).toBe(0);
  await sendRounds('gpu-002', 2);
  await daemon.kill();

  daemon = await scenario.startDaemon();
  const metrics = await daemon.metrics();
  expect(metrics.sum('journal_unclean_start')).toBe(1);
  expect(metrics.ledger(['parquet'])).toEqual({
    received: 50,
    accepted: 50,
    duplicate: 0,
    rejected: 0,
    admission: 0,
    unaccounted: [0],
  });
  await daemon.stop();
  expect(await scenario.warehouse.count()).toBe(50);
});

test('health, readiness and metrics answer, and promtool finds nothing wrong with the metrics', async (context) => {
  scenario = await Scenario.open();
  const daemon = await scenario.startDaemon();
  await sendRounds('gpu-001', 1);
  expect((await fetch(`${scenario.deployment.metricsUrl}/healthz`)).status).toBe(200);
  await daemon.waitFor('the first canary', async () => (await daemon.readiness()).ready);
  expect((await fetch(`${scenario.deployment.metricsUrl}/../../etc/passwd`)).status).toBe(404);

  const promtool = debianTool('promtool', 'prometheus');
  if (promtool === undefined) return context.skip('promtool is not installed');
  const page = await (await fetch(`${scenario.deployment.metricsUrl}/metrics`)).text();
  const check = promisify(execFile)(promtool, ['check', 'metrics']);
  check.child.stdin?.end(page);
  expect(await check).toMatchObject({ stdout: '', stderr: '' });
});

async function serverCertificateSeen(daemon: DaemonProcess): Promise<string> {
  const credentials = await scenario.deployment.nodeCredentials('gpu-001');
  const raw = await connectRaw(scenario.deployment.listen, credentials);
  let leaf = '';
  await daemon.waitFor('the certificate', () => {
    leaf = Buffer.from(raw.connection.peerCertificates()[0] ?? []).toString('base64');
    return leaf !== '';
  });
  await raw.close();
  return leaf;
}

test('a new certificate is taken up without a restart, and a bad pair leaves the old one in place', async () => {
  scenario = await Scenario.open();
  const daemon = await scenario.startDaemon();
  const { deployment } = scenario;
  const client = await scenario.openClient('gpu-007');
  await client.connected();
  const first = await serverCertificateSeen(daemon);

  deployment.writeServerCertificate(await newServerCertificate());
  daemon.signal('SIGHUP');
  await daemon.waitFor('the reload', () => daemon.hasLogged('configuration reloaded'));
  const second = await serverCertificateSeen(daemon);
  expect(second).not.toBe(first);

  const other = await newServerCertificate();
  fs.writeFileSync(path.join(deployment.dir, 'certs', 'server.pem'), other.certPem);
  daemon.signal('SIGHUP');
  await daemon.waitFor(
    'the failed reload to be counted',
    async () => (await daemon.metrics()).sum('listener_tls_reload_failures_total') > 0,
  );
  expect(await serverCertificateSeen(daemon)).toBe(second);

  const samples = countedSamples(10, systemClock.nowMs());
  expect(await client.send(samples.table, samples.next())).toMatchObject({ status: 'accepted' });
  expect(client.stats.reconnects).toBe(0);
});

async function newServerCertificate() {
  return issueCertificate(scenario.deployment.authority, {
    commonName: 'collector',
    dnsNames: ['localhost'],
    usages: ['serverAuth'],
  });
}

test('SIGHUP takes up live settings and names those that need a restart', async () => {
  scenario = await Scenario.open({ limits: { max_cardinality: 5 } });
  const daemon = await scenario.startDaemon();
  const client = await scenario.openClient('gpu-001');
  const samples = countedSamples(10, systemClock.nowMs());
  expect(await client.send(samples.table, samples.next())).toMatchObject({
    status: 'partial',
    ack: { accepted: 5 },
  });
  scenario.deployment.configure({
    limits: { max_cardinality: 500 },
    server: { max_connections: 17 },
  });
  daemon.signal('SIGHUP');
  await daemon.waitFor('the reload', () => daemon.hasLogged('configuration reloaded'));
  const line = daemon.log.find(({ msg }) => msg === 'configuration reloaded');
  expect(line).toMatchObject({
    live: ['limits.max_cardinality'],
    atRestart: ['server.max_connections'],
  });
  const fresh = countedSamples(20, systemClock.nowMs());
  expect(await client.send(fresh.table, fresh.next())).toMatchObject({ status: 'accepted' });
});

test('a second daemon on the same port or journal refuses to start and says why', async () => {
  scenario = await Scenario.open();
  await scenario.startDaemon();
  await expect(scenario.startDaemon()).rejects.toThrow(/metrics_port|address already in use/i);
});
