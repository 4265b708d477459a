/**
 * What a panic inside the module costs: the connections of its instance, and nothing else. The
 * panic is a real one: the module is asked for more input than it has.
 */
import { afterEach, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../../src/lib/clock.ts';
import type { QuicEndpoint } from '../../../src/transport/quic-endpoint.ts';
import { PanicCount } from '../../../src/transport/quinn/panic-count.ts';
import { quinnStack } from '../../../src/transport/quinn/quinn-endpoint.ts';
import type { QuinnModule } from '../../../src/transport/quinn/quinn-module.ts';
import { eventually } from '../../helpers/eventually.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { QuicTestBed, TEST_TRANSPORT } from '../../helpers/quic-pair.ts';
import { QuicRecorder } from '../../helpers/quic-recorder.ts';
import { createTestAuthorities, type TestAuthorities } from '../../helpers/test-credentials.ts';

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

async function openServer() {
  const recorder = new QuicRecorder();
  const panics: string[] = [];
  const endpoint = await quinnStack.openEndpoint(
    {
      bind: { host: '127.0.0.1', port: 0 },
      transport: TEST_TRANSPORT,
      socketBufferBytes: 1 << 20,
      accept: {
        credentials: () => authorities.server,
        maxConnections: 100,
        maxHandshakes: 100,
        maxMemoryBytes: 1 << 30,
        handshakeTimeoutMs: 10_000,
        alwaysRetry: false,
        handlers: recorder,
        onRefused: () => {},
      },
      onPanic: (why) => panics.push(why),
    },
    systemClock,
  );
  return { endpoint, recorder, panics };
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
  await bed.client(server.endpoint.address, await authorities.agent('gpu-001'));
  await eventually('it connects', () => server.recorder.connected.length === 1);
  expect(server.endpoint.counters.retriesSent).toBe(1);
  await server.endpoint.close(0x1000, 'stopping');
});

test('panics are forgotten after a minute', () => {
  const clock = new FakeClock(0);
  const panics = new PanicCount(clock);
  for (let time = 0; time < 3; time += 1) panics.add();
  expect(panics.isOften).toBe(true);
  clock.advance(60_001);
  expect(panics.isOften).toBe(false);
});
