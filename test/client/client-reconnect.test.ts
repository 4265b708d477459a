import { afterEach, beforeEach, expect, test } from 'vitest';
import { encodeAck } from '../../src/codec/collector-message.ts';
import { encodeFrame } from '../../src/codec/framing.ts';
import { AgentBench } from '../helpers/agent-bench.ts';
import { eventually } from '../helpers/eventually.ts';
import { gaugeTable, samplesOf } from '../helpers/sample-batches.ts';
import type { Answer, ReceivedBatch } from '../helpers/stub-collector.ts';

const TABLE = gaugeTable(10);
const NOW_MS = 1_700_000_000_000;
const SILENCE: Answer = { kind: 'silence' };
const ACCEPT: Answer = { kind: 'accept' };

let bench: AgentBench;
beforeEach(async () => {
  bench = await AgentBench.create();
});
afterEach(() => bench.close());

function warnings(msg: string): string[] {
  return bench.log.lines.filter((line) => line.msg === msg).map((line) => String(line.why));
}

/** The batches of a connection as text, so that a difference is a difference of bytes. */
function bytesOf(received: readonly ReceivedBatch[], connection: number): string[] {
  return received
    .filter((batch) => batch.connection === connection)
    .map((batch) => batch.bytes.toString('hex'));
}

test('after a lost connection everything without an answer comes again, byte for byte, in order', async () => {
  const stub = await bench.stub();
  stub.answer = ({ sequence }) => (sequence === 2 ? ACCEPT : SILENCE);
  const client = await bench.client(stub.address);
  const sends = [1, 2, 3, 4, 5].map((value) => client.send(TABLE, samplesOf(TABLE, value, NOW_MS)));
  expect((await sends[1])?.status).toBe('accepted');
  await eventually('five batches', () => stub.received.length === 5);
  stub.answer = () => ACCEPT;
  stub.dropConnections();
  await Promise.all(sends);
  expect(stub.sequences.slice(5)).toEqual([1, 3, 4, 5]);
  const first = bytesOf(stub.received, 1).filter((_, index) => index !== 1);
  expect(bytesOf(stub.received, 2)).toEqual(first);
  expect(client.stats).toMatchObject({ reconnects: 1, resentBatches: 4, ackedBatches: 5 });
  expect(warnings('connection lost')[0]).toContain('0x1000');
});

test('a collector that vanishes without a word is noticed, and its successor gets what was open', async () => {
  const first = await bench.stub({ answer: () => SILENCE });
  const relay = await bench.relay(first.address);
  const client = await bench.client(relay.address, { idleTimeoutMs: 800, keepaliveMs: 200 });
  const sends = [1, 2, 3].map((value) => client.send(TABLE, samplesOf(TABLE, value, NOW_MS)));
  await eventually('three batches', () => first.received.length === 3);
  relay.isCut = true;
  await eventually('the loss', () => warnings('connection lost').length === 1);
  expect(warnings('connection lost')[0]).toBe('the collector went silent');
  const second = await bench.stub();
  relay.target = second.address;
  relay.isCut = false;
  const results = await Promise.all(sends);
  expect(results.map((result) => result.status)).toEqual(['accepted', 'accepted', 'accepted']);
  expect(bytesOf(second.received, 1)).toEqual(bytesOf(first.received, 1));
});

test('an idle connection is kept by pings', async () => {
  const stub = await bench.stub();
  const client = await bench.client(stub.address, { idleTimeoutMs: 600, keepaliveMs: 150 });
  await client.connected();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  expect(client.isConnected).toBe(true);
  expect(stub.connections).toBe(1);
});

test('a collector that owes acks and sends none is left after the ack timeout', async () => {
  const stub = await bench.stub();
  stub.answer = ({ connection }) => (connection === 1 ? SILENCE : ACCEPT);
  const client = await bench.client(stub.address, { ackTimeoutMs: 400 });
  const result = await client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  expect(result.status).toBe('accepted');
  expect(warnings('connection lost')).toEqual(['no ack within 400 ms']);
  expect(stub.connections).toBe(2);
});

test('acks that go on keep a connection, however long the oldest batch waits', async () => {
  const stub = await bench.stub();
  stub.answer = ({ sequence }) => (sequence === 1 ? SILENCE : ACCEPT);
  const client = await bench.client(stub.address, { ackTimeoutMs: 400 });
  void client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  for (let count = 0; count < 10; count += 1) {
    await client.send(TABLE, samplesOf(TABLE, 2, NOW_MS));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(stub.connections).toBe(1);
});

test('a collector that never says hello is left, and nothing is sent to it', async () => {
  const stub = await bench.stub({ greets: false });
  const client = await bench.client(stub.address, { handshakeTimeoutMs: 300 });
  void client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  await eventually('two tries', () => stub.connections >= 2);
  expect(stub.received).toEqual([]);
  expect(warnings('cannot connect')[0]).toBe('no Hello within 300 ms');
});

test('bytes that are no message end the connection, and the batch goes to the next one', async () => {
  const stub = await bench.stub();
  const nonsense = encodeFrame(new Uint8Array([255, 255, 255]));
  stub.answer = ({ connection }) =>
    connection === 1 ? { kind: 'bytes', bytes: nonsense } : ACCEPT;
  const client = await bench.client(stub.address);
  expect((await client.send(TABLE, samplesOf(TABLE, 1, NOW_MS))).status).toBe('accepted');
  expect(warnings('connection lost')[0]).toContain('cannot understand the collector');
});

test('a frame length beyond reason ends the connection', async () => {
  const stub = await bench.stub();
  const bytes = new Uint8Array([255, 255, 255, 255, 1]);
  stub.answer = ({ connection }) => (connection === 1 ? { kind: 'bytes', bytes } : ACCEPT);
  const client = await bench.client(stub.address);
  expect((await client.send(TABLE, samplesOf(TABLE, 1, NOW_MS))).status).toBe('accepted');
  expect(warnings('connection lost')[0]).toContain('over the limit');
});

test('acks for batches that nobody waits for are ignored and counted', async () => {
  const stub = await bench.stub();
  const ack = { status: 'accepted', accepted: 1, rejected: 0, rejections: [] } as const;
  const rest = { retryAfterMs: 0, message: '' };
  stub.answer = ({ epoch, sequence }) => {
    const frames = [
      { ...ack, ...rest, epoch, sequence: sequence + 1000 },
      { ...ack, ...rest, epoch: epoch + 1, sequence },
      { ...ack, ...rest, epoch, sequence },
      { ...ack, ...rest, epoch, sequence },
    ].map((each) => encodeFrame(encodeAck(each, 1)));
    return { kind: 'bytes', bytes: Buffer.concat(frames) };
  };
  const client = await bench.client(stub.address);
  const result = await client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  expect(result).toMatchObject({ ack: { epoch: client.epoch } });
  await eventually('the fourth ack', () => client.stats.unknownAcks === 3);
  expect(client.stats).toMatchObject({ ackedBatches: 1, pendingBatches: 0 });
});

test('a connection that is closed at every batch is tried again and again with growing pauses', async () => {
  const stub = await bench.stub({ answer: () => ({ kind: 'close', code: 0x1003 }) });
  const client = await bench.client(stub.address);
  void client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  await eventually('four connections', () => stub.connections >= 4);
  const lost = bench.log.lines.filter((line) => line.msg === 'connection lost');
  expect(lost.slice(0, 3).map((line) => line.failures)).toEqual([1, 2, 3]);
  expect(String(lost[0]?.why)).toContain('0x1003');
});

test('a collector of another authority is never sent anything, and the log says why', async () => {
  const stub = await bench.stub();
  const other = await AgentBench.create();
  const credentials = { ...bench.agentCredentials, caPem: other.authorities.collectors.certPem };
  const client = await bench.client(stub.address, { credentials });
  void client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  await eventually('three tries', () => warnings('cannot connect').length >= 3);
  expect(warnings('cannot connect')[0]).toContain(
    'not signed by the authority that this agent trusts',
  );
  expect(client.isConnected).toBe(false);
  expect(stub.received).toEqual([]);
});

test('a collector with another name in its certificate is never sent anything', async () => {
  const stub = await bench.stub();
  const client = await bench.client(stub.address, { serverName: 'other.test' });
  void client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  await eventually('two tries', () => warnings('cannot connect').length >= 2);
  expect(warnings('cannot connect')[0]).toContain('not for the name "other.test"');
  expect(stub.received).toEqual([]);
});

test('an agent whose certificate the collector does not accept is told so', async () => {
  const stub = await bench.stub();
  const other = await AgentBench.create();
  const stranger = await other.authorities.agent('node-1');
  const credentials = { ...stranger, caPem: bench.agentCredentials.caPem };
  const client = await bench.client(stub.address, { credentials });
  await eventually('two tries', () => warnings('cannot connect').length >= 2);
  expect(warnings('cannot connect')[0]).toContain('an authority that the collector does not trust');
  expect(client.isConnected).toBe(false);
});

test('an address where nobody listens is retried, and the collector found when it comes', async () => {
  const probe = await bench.stub();
  const relay = await bench.relay(probe.address);
  relay.isCut = true;
  const client = await bench.client(relay.address, { handshakeTimeoutMs: 200 });
  await eventually('two tries', () => warnings('cannot connect').length >= 2);
  expect(warnings('cannot connect')[0]).toContain('is the collector running');
  relay.isCut = false;
  await client.connected();
});

test('a host name is looked up at each try, and its addresses take turns', async () => {
  const stub = await bench.stub();
  const asked: string[] = [];
  const lookupHost = async (host: string) => {
    asked.push(host);
    if (asked.length === 1) throw new Error('no such host');
    return ['127.0.0.2', '127.0.0.1'];
  };
  const remote = { host: 'collector.test', port: stub.address.port };
  const client = await bench.client(remote, { handshakeTimeoutMs: 200 }, { lookupHost });
  await client.connected();
  expect(asked.length).toBeGreaterThanOrEqual(2);
  expect(warnings('cannot connect')[0]).toBe('cannot find collector.test: no such host');
});

test('new credentials are used at once, and nothing is lost on the way', async () => {
  const stub = await bench.stub();
  const client = await bench.client(stub.address);
  await client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  stub.answer = ({ connection }) => (connection === 1 ? SILENCE : ACCEPT);
  const open = client.send(TABLE, samplesOf(TABLE, 2, NOW_MS));
  client.useCredentials(await bench.authorities.agent('node-1'));
  expect((await open).status).toBe('accepted');
  expect(stub.connections).toBe(2);
});
