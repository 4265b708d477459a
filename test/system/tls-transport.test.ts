/** A node whose network blocks UDP: the real agent sends over TLS, the real collector takes it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { packageFile } from '../../src/lib/package-root.ts';
import { Scenario } from '../helpers/scenario.ts';

let scenario: Scenario;
afterEach(() => scenario?.close());

async function openScenario(): Promise<void> {
  scenario = await Scenario.open();
}

async function startAgent(nodeId: string, ...words: string[]): Promise<ChildProcess> {
  const { dir, listen } = scenario.deployment;
  const credentials = await scenario.deployment.nodeCredentials(nodeId);
  const pem = (name: string, text: string) => {
    const target = path.join(dir, `${nodeId}-${name}.pem`);
    fs.writeFileSync(target, text, { mode: 0o600 });
    return target;
  };
  const options = [
    ['--server', `${listen.host}:${listen.port}`, '--server-name', 'localhost'],
    ['--transport', 'tls', '--source', 'simulate', '--gpus', '2'],
    ['--cert', pem('cert', credentials.certPem)],
    ['--key', pem('key', credentials.keyPem)],
    ['--ca', pem('ca', credentials.caPem)],
  ];
  const agent = packageFile('dist/src/agent/main.js');
  const child = spawn(process.execPath, [agent, ...options.flat(), ...words]);
  scenario.onClose(async () => {
    child.kill('SIGKILL');
  });
  return child;
}

test('an agent over TLS loses and doubles nothing while the collector is killed', async () => {
  await openScenario();
  let daemon = await scenario.startDaemon();
  const agent = await startAgent('gpu-001', '--interval', '0.02', '--count', '100');
  let summary = '';
  agent.stdout?.on('data', (text) => {
    summary += text;
  });
  const ended = once(agent, 'exit');
  await daemon.waitFor('samples over TCP', async () => {
    const metrics = await daemon.metrics();
    return (
      metrics.sum('listener_tcp_connections') === 1 && metrics.sum('samples_accepted_total') > 0
    );
  });
  await daemon.kill();
  daemon = await scenario.startDaemon();
  expect(await ended).toEqual([0, null]);
  const figures = /^([\d,]+) samples in [\d,]+ batches, ([\d,]+) acked, ([\d,]+) duplicate/m;
  const [samples = 0, acked = 0, duplicate = 0] = (figures.exec(summary) ?? [])
    .slice(1)
    .map((text) => Number(text.replaceAll(',', '')));
  expect(samples, summary).toBeGreaterThan(0);
  expect(acked + duplicate).toBe(samples);
  expect((await daemon.metrics()).sum('listener_frames_total', { stream: 'uni' })).toBe(0);
  await daemon.stop();
  expect(await scenario.warehouse.count()).toBe(samples);
});
