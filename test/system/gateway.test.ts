/**
 * The gateway as a process beside a real collector: what live clients receive over cuts and kills,
 * and how both programs come and go.
 */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import WebSocket from 'ws';
import { sleep, systemClock } from '../../src/lib/clock.ts';
import { packageFile } from '../../src/lib/package-root.ts';
import { freePort } from '../../trials/harness/free-port.ts';
import { GatewayProcess } from '../../trials/harness/gateway-process.ts';
import { countedSamples } from '../helpers/counted-samples.ts';
import { eventually } from '../helpers/eventually.ts';
import { Scenario } from '../helpers/scenario.ts';
import { SeededRandom } from '../helpers/seeded-random.ts';

const SERIES = 20;
const ROUNDS = 300;
const run = promisify(execFile);

let scenario: Scenario;
afterEach(() => scenario?.close());

async function startGateway(): Promise<GatewayProcess> {
  const gateway = await GatewayProcess.start(scenario.deployment);
  scenario.onClose(async () => void (await gateway.kill()));
  return gateway;
}

/** A live client that is cut again and again, and goes on at its last position. */
class CutClient {
  readonly values: number[] = [];
  gaps = 0;
  readonly #url: string;
  #position = '';
  #socket: WebSocket | undefined;
  #isDone = false;

  constructor(url: string) {
    this.#url = url;
    this.#connect();
  }

  cut(): void {
    this.#socket?.terminate();
  }

  close(): void {
    this.#isDone = true;
    this.cut();
  }

  get isStarted(): boolean {
    return this.#position !== '';
  }

  #connect(): void {
    const resume = this.#position === '' ? '' : `?resume=${encodeURIComponent(this.#position)}`;
    const socket = new WebSocket(`${this.#url}${resume}`);
    this.#socket = socket;
    socket.on('error', () => {});
    socket.on('message', (data) => {
      const message = JSON.parse(String(data)) as {
        type: string;
        position: string;
        rows?: { value: number }[];
      };
      if (message.type === 'gap') this.gaps += 1;
      for (const { value } of message.rows ?? []) this.values.push(value);
      this.#position = message.position;
    });
    socket.on('close', () => {
      if (!this.#isDone) void sleep(systemClock, 20).then(() => this.#connect());
    });
  }
}

test('live clients that are cut at random, over kills of both programs, miss nothing and get nothing twice', async () => {
  const port = await freePort();
  scenario = await Scenario.open({
    feed: { enabled: true },
    gateway: { listen_addr: `127.0.0.1:${port}` },
  });
  let daemon = await scenario.startDaemon();
  let gateway = await startGateway();
  const sender = await scenario.openClient('gpu-001');
  const samples = countedSamples(SERIES, systemClock.nowMs() - 600_000);
  const url = `ws://127.0.0.1:${port}/api/v1/ws/telemetry`;
  const clients = Array.from({ length: 5 }, () => new CutClient(url));
  scenario.onClose(() => {
    for (const client of clients) client.close();
  });
  // A client knows its place from the first message on.
  await eventually('every client has its place', () => clients.every(({ isStarted }) => isStarted));

  const random = new SeededRandom(10);
  for (let round = 1; round <= ROUNDS; round += 1) {
    const { status } = await sender.send(samples.table, samples.next());
    expect(status).toBe('accepted');
    if (random.next() < 0.2) clients[Math.floor(random.next() * clients.length)]?.cut();
    if (round % 100 === 50) {
      await gateway.kill();
      gateway = await startGateway();
    }
    if (round % 100 === 0 && round < ROUNDS) {
      await daemon.kill();
      daemon = await scenario.startDaemon();
    }
  }
  const sent = ROUNDS * SERIES;
  await eventually(
    'everybody has everything',
    () => clients.every(({ values }) => values.length >= sent),
    30_000,
  );
  for (const { values, gaps } of clients) {
    expect(gaps).toBe(0);
    expect(values).toHaveLength(sent);
    expect(new Set(values).size).toBe(sent);
  }
}, 180_000);

test('a collector that is away: the API stays, says so, and comes back by itself', async () => {
  scenario = await Scenario.open({
    feed: { enabled: true },
    gateway: { listen_addr: '127.0.0.1:0' },
  });
  const daemon = await scenario.startDaemon();
  const gateway = await startGateway();
  const sender = await scenario.openClient('gpu-001');
  const samples = countedSamples(SERIES, systemClock.nowMs());
  await sender.send(samples.table, samples.next());
  const series = async () => (await gateway.get('/api/v1/series')).meta;
  await daemon.waitFor('the samples', async () => (await series()).total === SERIES);
  expect(await series()).toMatchObject({ coverage: { live: true } });
  await daemon.kill();
  const readiness = async () => (await fetch(`${gateway.url}/readyz`)).status;
  const untilReadiness = async (status: number) => {
    const endMs = systemClock.monotonicMs() + 20_000;
    while ((await readiness()) !== status && systemClock.monotonicMs() < endMs) {
      await sleep(systemClock, 50);
    }
    expect(await readiness()).toBe(status);
  };
  await untilReadiness(503);
  expect(await series()).toMatchObject({ total: SERIES, coverage: { live: false } });
  await scenario.startDaemon();
  await untilReadiness(200);
  expect(await series()).toMatchObject({ total: SERIES });
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text();
  expect(metrics).toMatch(/^telemetry_gateway_feed_connected 1$/m);
});

test('keys are made, listed and revoked on the command line', async () => {
  scenario = await Scenario.open({});
  const { dir, configPath } = scenario.deployment;
  const keysFile = path.join(dir, 'keys.json');
  scenario.deployment.configure({ gateway: { access: 'keys', keys_file: keysFile } });
  const program = packageFile('dist/src/gateway/main.js');
  const keys = async (...words: string[]) =>
    (await run(process.execPath, [program, 'keys', ...words, '--config', configPath])).stdout;
  const made = await keys('create', '--name', 'grafana', '--namespace', 'team-a', '--days', '30');
  const [, id] = /^tk_([0-9a-f]{12})_\S{43}\n$/.exec(made) ?? [];
  expect(await keys('list')).toMatch(new RegExp(`${id} +grafana +reader +namespaces team-a`));
  expect(await keys('revoke', id ?? '')).toBe(`revoked ${id}\n`);
  expect(await keys('list')).not.toContain(id);
  await expect(keys('revoke', 'abc')).rejects.toMatchObject({ code: 1 });
  await expect(keys('create', '--name', 'x', '--role', 'king')).rejects.toThrow(/reader, writer/);
  const { stdout } = await run(process.execPath, [program, 'check-config', configPath]);
  expect(stdout).toMatch(/^ok: keys access on 127\.0\.0\.1:8080, 0 keys$/m);
});
