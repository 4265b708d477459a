import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { FrameBuffers } from '../../../src/codec/frame-buffers.ts';
import { encodeFrame } from '../../../src/codec/framing.ts';
import { Session, type SessionTotals } from '../../../src/collector/listener/session.ts';
import type { PeerIdentity } from '../../../src/domain/telemetry.ts';
import type { QuicConnection } from '../../../src/transport/quic-endpoint.ts';
import { eventually } from '../../helpers/eventually.ts';
import { ListenerBed, RecordingDoor } from '../../helpers/listener-bed.ts';
import { ShiftableClock } from '../../helpers/shiftable-clock.ts';
import { createTestAuthorities, type TestAuthorities } from '../../helpers/test-credentials.ts';

const PEER: PeerIdentity = {
  nodeIds: ['gpu-001'],
  fingerprint256: 'AB:CD',
  serialNumber: '01',
  validToMs: Number.MAX_SAFE_INTEGER,
};

describe('a session', () => {
  const bed = new ListenerBed();
  let authorities: TestAuthorities;

  beforeAll(async () => {
    authorities = await createTestAuthorities();
  });
  afterEach(() => bed.close());

  async function connected(
    settings: Parameters<ListenerBed['listener']>[1] = {},
    options: Parameters<ListenerBed['agent']>[2] = {},
  ) {
    const server = await bed.listener(authorities.server, settings);
    const agent = await bed.agent(server.address, await authorities.agent('gpu-001'), options);
    await eventually('the agent connects', () => agent.isConnected);
    return { ...server, agent };
  }

  test('says Hello on the first byte of a stream and then answers each frame', async () => {
    const { agent, door } = await connected();
    const streamId = agent.open();
    agent.client.connection.write(streamId, Buffer.from([0]));
    await eventually('Hello comes', () => agent.hellos.length === 1);
    expect(agent.hellos[0]).toMatchObject({ collectorId: 'test', nodeId: 'gpu-001' });
    expect(door.frames).toHaveLength(0);
    agent.client.connection.write(streamId, Buffer.from([0, 0, 3, 97, 98, 99]));
    agent.send(streamId, 'second');
    await eventually('both are answered', () => agent.acks.length === 2);
    expect(door.frames.map(({ bytes }) => bytes.toString())).toEqual(['abc', 'second']);
    expect(door.opened[0]?.nodeIds).toEqual(['gpu-001']);
    expect(agent.order.get(streamId)).toEqual(['hello', 'ack', 'ack']);
  });

  test('says Hello on every stream and answers on the stream that asked', async () => {
    const { agent } = await connected();
    const [first, second] = [agent.open(), agent.open()];
    agent.send(first, 'one');
    agent.send(second, 'two');
    await eventually('both are answered', () => agent.acks.length === 2);
    expect(agent.hellos).toHaveLength(2);
    expect(agent.order.get(first)).toEqual(['hello', 'ack']);
    expect(agent.order.get(second)).toEqual(['hello', 'ack']);
    expect(agent.ackedFrames).toEqual([1, 1]);
  });

  test('answers in the order in which verdicts come, not in that of the frames', async () => {
    const { agent, door } = await connected();
    door.holds = true;
    const streamId = agent.open();
    for (const payload of ['a', 'b', 'c']) agent.send(streamId, payload);
    await eventually('all are received', () => door.frames.length === 3);
    door.frames[2]!.answer();
    door.frames[0]!.answer({ status: 'throttled', retryAfterMs: 250 });
    await eventually('two are answered', () => agent.acks.length === 2);
    expect(agent.acks.map(({ sequence }) => sequence)).toEqual([3, 1]);
    expect(agent.ackedFrames).toEqual([3, 1]);
    expect(agent.acks[1]).toMatchObject({ status: 'throttled', retryAfterMs: 250 });
  });

  test('ends its side of a stream once everything on it is answered', async () => {
    const { agent, door, metric } = await connected();
    door.holds = true;
    const streamId = agent.open();
    agent.send(streamId, 'last', true);
    await eventually('it is received', () => door.frames.length === 1);
    expect(agent.ended.size).toBe(0);
    expect(await metric('streams')).toBe(1);
    door.frames[0]!.answer();
    await eventually('the stream ends', () => agent.ended.has(streamId));
    expect(agent.acks).toHaveLength(1);
    expect(await metric('streams')).toBe(0);
  });

  test('takes frames of a unidirectional stream without a word', async () => {
    const { agent, door, metric } = await connected();
    const streamId = agent.open('uni');
    agent.send(streamId, 'quiet', true);
    await eventually('it is received', () => door.frames.length === 1);
    agent.send(agent.open(), 'loud');
    await eventually('the other is answered', () => agent.acks.length === 1);
    expect(agent.hellos).toHaveLength(1);
    expect(await metric('frames_total', { stream: 'uni' })).toBe(1);
    expect(await metric('frames_total', { stream: 'bidi' })).toBe(1);
    expect(await metric('acks_sent_total')).toBe(1);
    expect(await metric('frames_in_flight')).toBe(0);
  });

  test('puts frames together that dribble in byte by byte', async () => {
    const { agent, door } = await connected();
    const streamId = agent.open();
    const bytes = Buffer.concat([encodeFrame(Buffer.from('slow')), encodeFrame(Buffer.from('x'))]);
    for (const byte of bytes) {
      agent.client.connection.write(streamId, Buffer.from([byte]));
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    await eventually('both are answered', () => agent.acks.length === 2);
    expect(door.frames.map(({ bytes: frame }) => frame.toString())).toEqual(['slow', 'x']);
  });

  test.each([
    ['over the limit', Buffer.from([0x7f, 0xff, 0xff, 0xff]), 'frame of 2147483647 bytes is over'],
    ['zero', Buffer.from([0, 0, 0, 0]), 'frame of 0 bytes'],
  ])('closes with 0x1001 on a length that is %s, and others go on', async (_, prefix, text) => {
    const { agent, address, metric } = await connected();
    const other = await bed.agent(address, await authorities.agent('gpu-002'));
    await eventually('the other connects', () => other.isConnected);
    agent.send(agent.open(), 'good');
    agent.client.connection.write(agent.open(), prefix);
    await eventually('the agent is closed', () => agent.closeCode === 0x1001);
    expect(agent.closeReason).toContain(text);
    expect(await metric('connections_closed_total', { reason: 'bad_frame_length' })).toBe(1);
    other.send(other.open(), 'still here');
    await eventually('the other is answered', () => other.acks.length === 1);
  });

  test('closes with 0x1006 on a stream that ends inside a frame', async () => {
    const { agent, metric } = await connected();
    agent.client.connection.write(agent.open(), Buffer.from([0, 0, 0, 9, 1, 2]), true);
    await eventually('the agent is closed', () => agent.closeCode === 0x1006);
    expect(await metric('connections_closed_total', { by: 'local', reason: 'misuse' })).toBe(1);
    expect(await metric('unfinished_frame_bytes')).toBe(0);
  });

  test('closes with 0x1006 when unfinished frames pile up over many streams', async () => {
    const { agent } = await connected({ limits: { max_batch_bytes: 2048 } });
    const unfinished = Buffer.concat([Buffer.from([0, 0, 8, 0]), Buffer.alloc(2000)]);
    for (let i = 0; i < 12; i += 1) agent.client.connection.write(agent.open(), unfinished);
    await eventually('the agent is closed', () => agent.closeCode === 0x1006);
  });

  test('counts the bytes of unfinished frames while they are unfinished', async () => {
    const { agent, metric } = await connected();
    const streamId = agent.open();
    agent.client.connection.write(streamId, Buffer.concat([Buffer.from([0, 0, 3, 232]), PAD]));
    await eventually('Hello comes', () => agent.hellos.length === 1);
    expect(await metric('unfinished_frame_bytes')).toBe(504);
    agent.client.connection.write(streamId, PAD);
    await eventually('it is answered', () => agent.acks.length === 1);
    expect(await metric('unfinished_frame_bytes')).toBe(0);
    expect(await metric('stream_bytes_total')).toBe(1004);
  });

  test('closes with 0x1004 when an agent does not read its answers', async () => {
    const clock = new ShiftableClock();
    // The transport sees the jumps of the clock as well.
    const server = { connection_timeout_secs: 3600 };
    const transport = { idleTimeoutMs: 3_600_000 };
    const { agent, door, metric } = await connected({ clock, server }, { transport });
    agent.client.connection.pauseReading();
    const frames = Array.from({ length: 200_000 }, () => encodeFrame(Buffer.from('x')));
    agent.client.connection.write(agent.open(), Buffer.concat(frames));
    // The agent takes answers until its window is full; from then on they stay here, and bounded.
    let queuedBytes = 0;
    await eventually('answers are queued', () => {
      void metric('ack_bytes_queued').then((bytes) => {
        queuedBytes = bytes;
      });
      return queuedBytes > 0;
    });
    expect(queuedBytes).toBeLessThan(1024 * 1024);
    expect(agent.client.recorder.closed).toHaveLength(0);
    // On a busy machine the queue may empty once more before the window is full.
    for (let isClosed = false; !isClosed; ) {
      clock.shift(31_000);
      isClosed = await happens(() => agent.closeCode === 0x1004, 2000);
    }
    expect(door.frames.length).toBeLessThan(200_000);
    expect(await metric('connections_closed_total', { reason: 'unread_acks' })).toBe(1);
    expect(await metric('frames_in_flight')).toBe(0);
  });

  test('is not read while too many bytes of answers are queued', async () => {
    const { agent, door, metric } = await connected();
    agent.client.connection.pauseReading();
    const streamId = agent.open();
    const some = Buffer.concat(Array.from({ length: 500 }, () => encodeFrame(Buffer.from('x'))));
    let sent = 0;
    for (let isRead = true; isRead; sent += 500) {
      agent.client.connection.write(streamId, some);
      isRead = await happens(() => door.frames.length === sent + 500, 400);
    }
    expect(await metric('ack_bytes_queued')).toBeGreaterThan(256 * 1024);
    expect(await metric('ack_bytes_queued')).toBeLessThan(300 * 1024);
    expect(agent.client.recorder.closed).toHaveLength(0);
    agent.client.connection.resumeReading();
    await eventually('all are answered', () => agent.acks.length === sent);
  });

  test('is not read while too many of its frames are unanswered', async () => {
    const { agent, door, listener } = await connected();
    door.holds = true;
    const streamId = agent.open();
    const frames = Array.from({ length: 200_000 }, () => encodeFrame(Buffer.from('x')));
    agent.client.connection.write(streamId, Buffer.concat(frames));
    await eventually('many are received', () => door.frames.length >= 1024);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const held = door.frames.length;
    // What one read brought is still handed on: at most the read buffer.
    expect(held).toBeLessThan(1024 + 128 * 1024);
    expect(held).toBeLessThan(200_000);
    listener.pauseReading();
    listener.resumeReading();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(door.frames).toHaveLength(held);
    door.holds = false;
    for (const frame of door.frames) frame.answer();
    await eventually('all are answered', () => agent.acks.length === 200_000, 40_000);
    expect(agent.client.recorder.closed).toHaveLength(0);
  });

  test('leaves what is in flight unanswered when the agent goes', async () => {
    const { agent, door, metric } = await connected();
    door.holds = true;
    agent.send(agent.open(), 'a');
    await eventually('it is received', () => door.frames.length === 1);
    agent.client.connection.close(0x2000, 'bye');
    const byPeer = { by: 'peer', reason: 'application' };
    await eventually(
      'it has left',
      async () => (await metric('connections_closed_total', byPeer)) === 1,
    );
    door.frames[0]!.answer();
    expect(await metric('frames_in_flight')).toBe(0);
    expect(await metric('streams')).toBe(0);
  });

  test('stops reading under backpressure, holds the agent, and goes on afterwards', async () => {
    const { agent, door, listener, metric } = await connected();
    const streamId = agent.open();
    agent.send(streamId, 'before');
    await eventually('it is answered', () => agent.acks.length === 1);
    listener.pauseReading();
    agent.send(streamId, 'during');
    const late = await bed.agent(agent.client.connection.remoteAddress, await agentTwo());
    await eventually('a new agent connects', () => late.isConnected);
    late.send(late.open(), 'late');
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(door.frames).toHaveLength(1);
    expect(await metric('reading_paused')).toBe(1);
    listener.resumeReading();
    await eventually('all are answered', () => agent.acks.length + late.acks.length === 3);
    expect(await metric('reading_paused')).toBe(0);
    expect(await metric('reading_pauses_total')).toBe(1);
  });

  const agentTwo = () => authorities.agent('gpu-002');
});

/** Whether it comes true within `ms`. */
const happens = (condition: () => boolean, ms: number) =>
  eventually('it', condition, ms).then(
    () => true,
    () => false,
  );

const PAD = Buffer.alloc(500);

test('a stream that is reset inside a frame loses that frame only', async () => {
  const written: { bytes: Uint8Array; fin: boolean | undefined }[] = [];
  const closes: number[] = [];
  const connection = {
    queuedBytes: 0,
    streamKind: () => 'bidi',
    write: (_stream: number, bytes: Uint8Array, fin?: boolean) => written.push({ bytes, fin }),
    close: (code: number) => closes.push(code),
  } as unknown as QuicConnection;
  const totals = { unfinishedFrameBytes: 0, streamResets: 0 } as SessionTotals;
  const door = new RecordingDoor();
  const session = new Session(connection, door.open(PEER), totals, {
    peer: PEER,
    transport: 'quic',
    maxFrameBytes: 1000,
    frameBuffers: new FrameBuffers(),
    monotonicMs: () => 0,
  });
  const frame = encodeFrame(Buffer.from('whole'));
  session.onData(0, Buffer.concat([frame, frame.subarray(0, 6)]), false);
  expect(totals.unfinishedFrameBytes).toBe(6);
  session.onReset(0);
  await eventually('the stream ends', () => written.at(-1)?.fin === true);
  expect(written).toHaveLength(3);
  expect(door.frames).toHaveLength(1);
  expect(closes).toEqual([]);
  expect(totals.unfinishedFrameBytes).toBe(0);
});
