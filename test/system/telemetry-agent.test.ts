import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { packageFile } from '../../src/lib/package-root.ts';
import type { QuicCredentials } from '../../src/transport/quic-endpoint.ts';
import { AgentBench } from '../helpers/agent-bench.ts';
import { eventually } from '../helpers/eventually.ts';
import type { StubCollector } from '../helpers/stub-collector.ts';
import { SERVER_NAME } from '../helpers/test-credentials.ts';

let dir: string;
let bench: AgentBench;
let stub: StubCollector;
const children: ChildProcess[] = [];

beforeEach(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'agent-'));
  bench = await AgentBench.create();
  stub = await bench.stub();
  writeCredentials(bench.agentCredentials);
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await bench.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

function writeCredentials({ certPem, keyPem, caPem }: QuicCredentials): void {
  fs.writeFileSync(path.join(dir, 'cert.pem'), certPem);
  fs.writeFileSync(path.join(dir, 'key.pem'), keyPem);
  fs.writeFileSync(path.join(dir, 'ca.pem'), caPem);
}

/** A TCP port that nobody uses now. */
async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

interface RunningAgent {
  readonly child: ChildProcess;
  /** Settles once the agent has ended; [exit code, signal]. */
  readonly exited: Promise<[number | null, NodeJS.Signals | null]>;
  stdout: string;
  stderr: string;
}

function startAgent(...args: string[]): RunningAgent {
  const server = ['--server', `127.0.0.1:${stub.address.port}`, '--server-name', SERVER_NAME];
  const files = ['cert', 'key', 'ca'].flatMap((each) => [`--${each}`, `${dir}/${each}.pem`]);
  const program = packageFile('dist/src/agent/main.js');
  const child = spawn(process.execPath, [program, ...server, ...files, ...args]);
  children.push(child);
  const agent: RunningAgent = {
    child,
    exited: new Promise((resolve) =>
      child.once('close', (code, signal) => resolve([code, signal])),
    ),
    stdout: '',
    stderr: '',
  };
  child.stdout.on('data', (text) => {
    agent.stdout += text;
  });
  child.stderr.on('data', (text) => {
    agent.stderr += text;
  });
  return agent;
}

test('one collection is sent, acknowledged and summed up', async () => {
  const agent = startAgent('--source', 'simulate', '--gpus', '2', '--once');
  expect(await agent.exited).toEqual([0, null]);
  expect(agent.stdout).toMatch(/^\d+ samples in 1 batches, \d+ acked, 0 duplicate/);
  expect(agent.stdout).toContain(' 0 unacked');
  expect(stub.received[0]?.sampleCount).toBeGreaterThan(40);
});

test('SIGTERM sends what is left, prints the summary and exits with 0', async () => {
  const agent = startAgent('--source', 'host', '--interval', '0.1');
  await eventually('three batches', () => stub.received.length >= 3, 30_000);
  agent.child.kill('SIGTERM');
  expect(await agent.exited).toEqual([0, null]);
  expect(agent.stdout).toContain(' 0 dropped');
});

test('samples without an answer make exit code 3, and a second signal ends at once', async () => {
  stub.answer = () => ({ kind: 'silence' });
  const agent = startAgent('--source', 'host', '--interval', '0.1');
  await eventually('a batch', () => stub.received.length >= 1, 30_000);
  agent.child.kill('SIGTERM');
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(agent.child.exitCode).toBeNull();
  agent.child.kill('SIGTERM');
  expect(await agent.exited).toEqual([143, null]);

  stub.answer = () => ({ kind: 'reject' });
  const refused = startAgent('--source', 'host', '--once');
  expect(await refused.exited).toEqual([3, null]);
  expect(refused.stdout).not.toContain(' 0 rejected');
});

test('SIGHUP reads the certificates again; a bad pair leaves the old one in use', async () => {
  const agent = startAgent('--source', 'host', '--interval', '0.1');
  await eventually('a batch', () => stub.received.length >= 1, 30_000);
  const other = await bench.authorities.agent('node-1');
  fs.writeFileSync(path.join(dir, 'key.pem'), other.keyPem);
  agent.child.kill('SIGHUP');
  await eventually('the complaint', () =>
    agent.stderr.includes('certificate files are not usable'),
  );
  const before = stub.received.length;
  await eventually('more batches', () => stub.received.length > before + 2);
  expect(stub.connections).toBe(1);
  writeCredentials(other);
  agent.child.kill('SIGHUP');
  await eventually('a new connection', () => stub.connections === 2);
  agent.child.kill('SIGTERM');
  expect(await agent.exited).toEqual([0, null]);
});

test('certificates that changed are taken up without a signal, and nothing is lost', async () => {
  const agent = startAgent('--source', 'host', '--interval', '0.1');
  await eventually('a batch', () => stub.received.length >= 1, 30_000);
  writeCredentials(await bench.authorities.agent('node-1'));
  await eventually('a new connection', () => stub.connections === 2);
  const before = stub.received.length;
  await eventually('batches over it', () => stub.received.length > before + 2);
  agent.child.kill('SIGTERM');
  expect(await agent.exited).toEqual([0, null]);
  expect(agent.stdout).toContain(' 0 dropped');
  expect(agent.stdout).toContain(' 0 unacked');
});

test('what it does is shown over HTTP, and whether it can do its job', async () => {
  const port = await freePort();
  const url = (page: string) => `http://127.0.0.1:${port}/${page}`;
  const file = path.join(dir, 'agent.yaml');
  fs.writeFileSync(
    file,
    `observability: { metrics_addr: "127.0.0.1:${port}" }\ncollect: { sources: [host], interval_secs: 0.1 }\n`,
  );
  const agent = startAgent(file, '--spool-dir', path.join(dir, 'spool'));
  await eventually('three batches', () => stub.received.length >= 3, 30_000);
  expect((await fetch(url('healthz'))).status).toBe(200);
  expect((await fetch(url('readyz'))).status).toBe(200);
  const metrics = await (await fetch(url('metrics'))).text();
  const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics)?.[1]);
  expect(value('telemetry_agent_sent_batches_total')).toBeGreaterThanOrEqual(3);
  expect(value('telemetry_agent_connected')).toBe(1);
  expect(value('telemetry_agent_source_up\\{source="host"\\}')).toBe(1);
  expect(value('telemetry_agent_throttle_rate')).toBe(1);
  expect(value('telemetry_agent_spool_disk_bytes')).toBeGreaterThan(0);
  expect(metrics).toContain('telemetry_agent_build_info');

  await stub.close();
  let answer: unknown;
  const asking = setInterval(() => {
    void fetch(url('readyz')).then(async (response) => {
      if (response.status === 503) answer = await response.json();
    });
  }, 50);
  await eventually('the reason', () => answer !== undefined, 30_000);
  clearInterval(asking);
  expect(answer).toMatchObject({ ready: false, checks: { collector: { ok: false } } });
  expect((await fetch(url('healthz'))).status).toBe(200);
  agent.child.kill('SIGKILL');
});

test('an agent killed with a spool is continued by the next one', async () => {
  stub.answer = () => ({ kind: 'silence' });
  const spool = ['--spool-dir', path.join(dir, 'spool')];
  const first = startAgent('--source', 'host', '--interval', '0.1', ...spool);
  await eventually('two batches', () => stub.received.length >= 2, 30_000);
  first.child.kill('SIGKILL');
  await first.exited;
  const sent = [...stub.received];
  stub.answer = () => ({ kind: 'accept' });
  const second = startAgent('--source', 'host', '--once', ...spool);
  expect(await second.exited).toEqual([0, null]);
  for (const batch of sent) {
    const again = stub.received.filter(
      ({ connection, epoch, sequence }) =>
        connection === 2 && epoch === batch.epoch && sequence === batch.sequence,
    );
    expect(again.map((each) => each.bytes.equals(batch.bytes))).toEqual([true]);
  }
});

test('operating errors exit with 1 and say what to mend', async () => {
  const bad = await bench.authorities.agent('other');
  fs.writeFileSync(path.join(dir, 'key.pem'), bad.keyPem);
  const agent = startAgent('--source', 'host', '--once');
  expect(await agent.exited).toEqual([1, null]);
  expect(agent.stderr).toMatch(/key.pem: it is not the key of the certificate in .*cert.pem/);
});

test('a dry run prints a table and sends nothing', async () => {
  const agent = startAgent('--source', 'simulate', '--gpus', '1', '--dry-run');
  expect(await agent.exited).toEqual([0, null]);
  expect(agent.stdout).toMatch(/^source simulate: \d+ readings\nmetric +value +unit/);
  expect(stub.connections).toBe(0);
});
