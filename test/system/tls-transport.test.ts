/**
 * Nodes whose network blocks UDP, at times or for good: the real agent sends over TLS, the real
 * collector takes it, and whatever the network does, every sample is stored once.
 */
import { afterEach, expect, test } from 'vitest';
import type { DaemonProcess, LogLine } from '../../trials/harness/daemon-process.ts';
import { Firewall } from '../../trials/harness/firewall.ts';
import { AgentProcess } from '../helpers/agent-process.ts';
import { eventually } from '../helpers/eventually.ts';
import { Scenario } from '../helpers/scenario.ts';

const SIMULATE = ['--source', 'simulate', '--gpus', '2'];
const ENDLESS = [...SIMULATE, '--interval', '0.05', '--log-format', 'json'];
/** The promise of `server.transport_fallback_secs`: 3 s for QUIC, and the handshake over TLS. */
const FALLBACK_MS_MAX = 5000;
/** An agent notices by its ack timeout of 10 s that a connection is dead. */
const LOSS_DEADLINE_MS = 30_000;

let scenario: Scenario;
afterEach(() => scenario?.close());

interface Network {
  readonly daemon: DaemonProcess;
  readonly firewall: Firewall;
  startAgent(): Promise<AgentProcess>;
}

async function openNetwork(): Promise<Network> {
  scenario = await Scenario.open();
  const daemon = await scenario.startDaemon();
  const firewall = await Firewall.open(scenario.deployment.listen);
  scenario.onClose(() => firewall.close());
  const options = {
    remote: firewall.address,
    env: { TELEMETRY_AGENT_SERVER__TRANSPORT_RETRY_SECS: '1' },
  };
  const startAgent = () => AgentProcess.start(scenario, 'gpu-001', ENDLESS, options);
  return { daemon, firewall, startAgent };
}

/** Once the agent sends over the transport, and the collector has stored some of it since. */
async function sendsOver(agent: AgentProcess, daemon: DaemonProcess, transport: string, times = 1) {
  await eventually(
    `connection ${times} over ${transport}`,
    () => agent.lines('connected', { transport }).length >= times,
    LOSS_DEADLINE_MS,
  );
  const before = await accepted(daemon);
  await daemon.waitFor('more samples', async () => (await accepted(daemon)) > before);
}

/** By the agent's own clock. */
function msBetween(first: LogLine | undefined, second: LogLine | undefined): number {
  return Date.parse(String(second?.time)) - Date.parse(String(first?.time));
}

async function accepted(daemon: DaemonProcess): Promise<number> {
  return (await daemon.metrics()).sum('samples_accepted_total');
}

/** Stops agent and daemon; every sample that was offered is in the warehouse, once. */
async function expectAllStoredOnce(agent: AgentProcess, daemon: DaemonProcess): Promise<void> {
  agent.stop();
  const { samples, acked, duplicate } = await agent.summary();
  expect(samples).toBeGreaterThan(0);
  expect(acked + duplicate).toBe(samples);
  await daemon.stop();
  expect(await scenario.warehouse.count()).toBe(samples);
}

test('an agent over TLS loses and doubles nothing while the collector is killed', async () => {
  scenario = await Scenario.open();
  let daemon = await scenario.startDaemon();
  const words = ['--transport', 'tls', ...SIMULATE, '--interval', '0.02', '--count', '100'];
  const agent = await AgentProcess.start(scenario, 'gpu-001', words);
  await daemon.waitFor('samples over TCP', async () => {
    const metrics = await daemon.metrics();
    return (
      metrics.sum('listener_tcp_connections') === 1 && metrics.sum('samples_accepted_total') > 0
    );
  });
  await daemon.kill();
  daemon = await scenario.startDaemon();
  const { samples, acked, duplicate } = await agent.summary();
  expect(samples).toBeGreaterThan(0);
  expect(acked + duplicate).toBe(samples);
  expect((await daemon.metrics()).sum('listener_frames_total', { stream: 'uni' })).toBe(0);
  await daemon.stop();
  expect(await scenario.warehouse.count()).toBe(samples);
});

test.each(['silent', 'refused'] as const)(
  'UDP %s from the start: the agent is connected by TLS in time, and by QUIC once UDP passes',
  async (udp) => {
    const { daemon, firewall, startAgent } = await openNetwork();
    await firewall.setUdp(udp);
    const agent = await startAgent();
    await sendsOver(agent, daemon, 'tls');
    const [begun] = agent.lines('connecting');
    const [connected] = agent.lines('connected', { transport: 'tls' });
    expect(msBetween(begun, connected)).toBeLessThan(FALLBACK_MS_MAX);
    await firewall.setUdp('open');
    await sendsOver(agent, daemon, 'quic');
    expect((await daemon.metrics()).sum('listener_tcp_connections')).toBe(0);
    await expectAllStoredOnce(agent, daemon);
  },
);

test('UDP blocked in the middle of a connection: TLS takes over, and QUIC again after it', async () => {
  const { daemon, firewall, startAgent } = await openNetwork();
  const agent = await startAgent();
  await sendsOver(agent, daemon, 'quic');
  await firewall.setUdp('silent');
  await sendsOver(agent, daemon, 'tls');
  const [lost] = agent.lines('connection lost', { transport: 'quic' });
  const [connected] = agent.lines('connected', { transport: 'tls' });
  expect(msBetween(lost, connected)).toBeLessThan(FALLBACK_MS_MAX);
  await firewall.setUdp('open');
  await sendsOver(agent, daemon, 'quic', 2);
  await expectAllStoredOnce(agent, daemon);
});

test('UDP and TCP blocked: the agent keeps its samples, and sends over what opens first', async () => {
  const { daemon, firewall, startAgent } = await openNetwork();
  await firewall.setUdp('silent');
  await firewall.setTcp('refused');
  const agent = await startAgent();
  await eventually(
    'tries over both',
    () => agent.lines('cannot connect', { transport: 'tls' }).length > 0,
    LOSS_DEADLINE_MS,
  );
  expect(await accepted(daemon)).toBe(0);
  await firewall.setTcp('open');
  await sendsOver(agent, daemon, 'tls');
  await firewall.setUdp('open');
  await sendsOver(agent, daemon, 'quic');
  await expectAllStoredOnce(agent, daemon);
});

test('a path that passes handshakes and drops full datagrams is left for TLS', async () => {
  const { daemon, firewall, startAgent } = await openNetwork();
  firewall.datagramBytesMax = 800;
  const agent = await startAgent();
  await eventually(
    'the fallback',
    () => agent.lines('QUIC does not get through: connected over TLS').length > 0,
    LOSS_DEADLINE_MS,
  );
  await sendsOver(agent, daemon, 'tls');
  const greeted = agent.lines('connected', { transport: 'quic' }).length;
  firewall.datagramBytesMax = undefined;
  await sendsOver(agent, daemon, 'quic', greeted + 1);
  await expectAllStoredOnce(agent, daemon);
});
