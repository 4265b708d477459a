/**
 * What a panic inside the module costs: the connections of its instance, and nothing else. The
 * panic is a real one: the module is asked for more input than it has.
 */
import { afterEach, beforeAll, expect, test } from 'vitest';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import type { QuicAcceptOptions, QuicEndpoint } from '../../../src/transport/quic-endpoint.ts';
import { PanicCount } from '../../../src/transport/quinn/panic-count.ts';
import { quinnStack } from '../../../src/transport/quinn/quinn-endpoint.ts';
import type { QuinnModule } from '../../../src/transport/quinn/quinn-module.ts';
import { eventually } from '../../helpers/eventually.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { QuicTestBed, TEST_TRANSPORT } from '../../helpers/quic-pair.ts';
import { QuicRecorder } from '../../helpers/quic-recorder.ts';
import {
  createTestAuthorities,
  SERVER_NAME,
  type TestAuthorities,
} from '../../helpers/test-credentials.ts';
import { UdpProxy } from '../../helpers/udp-proxy.ts';

const bed = new QuicTestBed(quinnStack);
let authorities: TestAuthorities;

beforeAll(async () => {
  authorities = await createTestAuthorities();
});
afterEach(() => bed.close());

interface Inside {
  call<T>(work: (module: QuinnModule) => T): T | undefined;
}

/** Makes the endpoint's module panic. */
function provoke(endpoint: QuicEndpoint): void {
  const inside = endpoint as unknown as Inside;
  inside.call(({ calls }) => calls.credentials_add(0, 1 << 30));
}

/** Closes where time stands still: the socket's own waits must pass. */
async function closeBy(clock: FakeClock, endpoint: QuicEndpoint): Promise<void> {
  let isClosed = false;
  void endpoint.close(0x1000, 'stopping').then(() => {
    isClosed = true;
  });
  await eventually('it is closed', () => {
    clock.advance(100);
    return isClosed;
  });
}

async function openServer(clock: Clock = systemClock, accept: Partial<QuicAcceptOptions> = {}) {
  const recorder = new QuicRecorder();
  const panics: string[] = [];
  const downs: string[] = [];
  const trust = { credentials: authorities.server };
  const endpoint = await quinnStack.openEndpoint(
    {
      bind: { host: '127.0.0.1', port: 0 },
      transport: TEST_TRANSPORT,
      socketBufferBytes: 1 << 20,
      accept: {
        credentials: () => trust.credentials,
        maxConnections: 100,
        maxHandshakes: 100,
        maxMemoryBytes: 1 << 30,
        handshakeTimeoutMs: 10_000,
        alwaysRetry: false,
        handlers: recorder,
        onRefused: () => {},
        ...accept,
      },
      onPanic: (why) => panics.push(why),
      onDown: (why) => downs.push(why),
    },
    clock,
  );
  return { endpoint, recorder, panics, downs, trust };
}

test('a panic ends the connections of its instance, and the next one serves the socket', async () => {
  const server = await openServer();
  const first = await bed.client(server.endpoint.address, await authorities.agent('gpu-001'));
  await eventually('it connects', () => server.recorder.connected.length === 1);
  provoke(server.endpoint);
  expect(server.panics).toHaveLength(1);
  expect(server.panics[0]).toContain('range end index');
  expect(server.recorder.lastReason).toMatchObject({ by: 'local', code: 1, wasConnected: true });
  expect(server.endpoint.connections).toBe(0);
  const second = await bed.client(server.endpoint.address, await authorities.agent('gpu-001'));
  await eventually('a new one connects', () => server.recorder.connected.length === 2);
  second.connection.write(second.connection.openStream('uni')!, Buffer.from('on'), true);
  await eventually('its data arrives', () => server.recorder.bytes === 2);
  // The new instance tells whoever still speaks on an old connection that it is gone.
  first.connection.write(first.connection.openStream('uni')!, Buffer.from('lost'), true);
  await eventually('the old one hears of it', () => first.recorder.closed.length === 1);
  expect(first.recorder.lastReason?.by).toBe('peer');
  expect(server.recorder.closed).toHaveLength(1);
  await server.endpoint.close(0x1000, 'stopping');
});

test('an old connection object is harmless after a panic', async () => {
  const server = await openServer();
  await bed.client(server.endpoint.address, await authorities.agent('gpu-001'));
  await eventually('it connects', () => server.recorder.connected.length === 1);
  const [old] = server.recorder.connected;
  provoke(server.endpoint);
  const second = await bed.client(server.endpoint.address, await authorities.agent('gpu-002'));
  await eventually('a new one connects', () => server.recorder.connected.length === 2);
  old!.write(0, Buffer.from('nobody'));
  old!.pauseReading();
  old!.ping();
  old!.close(0x1000, 'gone');
  second.connection.write(second.connection.openStream('uni')!, Buffer.from('on'), true);
  await eventually('the new one goes on', () => server.recorder.bytes === 2);
  expect(server.recorder.closed).toHaveLength(1);
  await server.endpoint.close(0x1000, 'stopping');
});

test('after three panics in a minute strangers must prove their address, for that minute', async () => {
  const server = await openServer();
  for (let time = 0; time < 3; time += 1) provoke(server.endpoint);
  await eventually('it has started again', () => !server.endpoint.counters.isDown);
  await bed.client(server.endpoint.address, await authorities.agent('gpu-001'));
  await eventually('it connects', () => server.recorder.connected.length === 1);
  expect(server.endpoint.counters.retriesSent).toBe(1);
  await server.endpoint.close(0x1000, 'stopping');
});

test('each start waits longer while panics come often', async () => {
  const clock = new FakeClock(0);
  const { endpoint } = await openServer(clock);
  const downMs: number[] = [];
  for (let time = 0; time < 8; time += 1) {
    provoke(endpoint);
    const fromMs = clock.monotonicMs();
    while (endpoint.counters.isDown) clock.advance(50);
    downMs.push(clock.monotonicMs() - fromMs);
  }
  expect(endpoint.counters.panics).toBe(8);
  expect(downMs.slice(0, 2)).toEqual([0, 0]);
  expect(downMs[2]).toBeGreaterThan(200);
  expect(downMs[6]).toBeGreaterThan(3900);
  expect(Math.max(...downMs)).toBeLessThanOrEqual(8050);
  await closeBy(clock, endpoint);
});

test('a start that fails is told and tried again, and the next one serves the socket', async () => {
  const server = await openServer();
  const good = server.trust.credentials;
  server.trust.credentials = { ...good, caPem: 'nothing' };
  provoke(server.endpoint);
  expect(server.downs).toEqual([expect.stringContaining('the authorities hold no certificate')]);
  expect(server.endpoint).toMatchObject({ connections: 0, handshakes: 0 });
  expect(server.endpoint.counters).toMatchObject({ isDown: true, memoryBytes: 0, panics: 1 });
  const toMyself = {
    remote: server.endpoint.address,
    serverName: SERVER_NAME,
    credentials: await authorities.agent('gpu-001'),
    handshakeTimeoutMs: 1000,
    handlers: server.recorder,
  };
  expect(() => server.endpoint.connect(toMyself)).toThrow('the QUIC stack has failed');
  const early = await bed.client(server.endpoint.address, await authorities.agent('gpu-001'));
  await eventually('it is tried again', () => server.downs.length > 1);
  server.trust.credentials = good;
  await eventually('somebody gets in', () => early.recorder.connected.length === 1);
  expect(server.endpoint.counters.isDown).toBe(false);
  await server.endpoint.close(0x1000, 'stopping');
});

test('an endpoint that is down can be closed, and starts no more', async () => {
  const clock = new FakeClock(0);
  const server = await openServer(clock);
  server.trust.credentials = { ...server.trust.credentials, caPem: 'nothing' };
  provoke(server.endpoint);
  await closeBy(clock, server.endpoint);
  const { length } = server.downs;
  clock.advance(60_000);
  expect(server.downs).toHaveLength(length);
});

test('what a turn still had to tell is void after a panic inside a handler', async () => {
  const server = await openServer(systemClock, { maxConnections: 1 });
  const proxy = await UdpProxy.open(server.endpoint.address);
  let passed = 0;
  proxy.filter = () => ++passed === 1;
  await bed.client(proxy.address, await authorities.agent('gpu-001'));
  await eventually('one is half open', () => server.endpoint.handshakes === 1);
  server.recorder.react = { onClosed: () => provoke(server.endpoint) };
  // It takes the place of the other: one is closed and one accepted in the same turn.
  await bed.client(server.endpoint.address, await authorities.agent('gpu-002'));
  await eventually('it has happened', () => server.panics.length === 1);
  server.recorder.react = {};
  await server.endpoint.close(0x1000, 'stopping');
  expect(server.recorder.closed).toHaveLength(1);
  proxy.close();
});

test('panics are forgotten after a minute', () => {
  const clock = new FakeClock(0);
  const panics = new PanicCount(clock);
  for (let time = 0; time < 3; time += 1) panics.add();
  expect(panics.isOften).toBe(true);
  clock.advance(60_001);
  expect(panics.isOften).toBe(false);
});
