import fs from 'node:fs';
import { expect, test } from 'vitest';
import { encodeFrame } from '../../../src/codec/framing.ts';
import { encodeStart } from '../../../src/feed/feed-codec.ts';
import type { FeedStart } from '../../../src/feed/feed-contract.ts';
import { eventually } from '../../helpers/eventually.ts';
import { FeedBed, RawReader, tableOf } from '../../helpers/feed-bed.ts';

function at(source: string, seq: number): FeedStart {
  return { at: 'position', position: new Map([[source, seq]]) };
}

/** The word with which the feed refuses what `speak` does. */
async function refusalOf(bed: FeedBed, speak: (reader: RawReader) => void): Promise<string> {
  const reader = new RawReader(bed.socketPath);
  speak(reader);
  await eventually('the feed ends it', () => reader.isClosed);
  return reader.closingWord ?? 'no word';
}

test('only the owner and the group of the collector may connect', async () => {
  const bed = await FeedBed.open();
  expect(fs.statSync(bed.socketPath).mode & 0o777).toBe(0o660);
});

test('a socket that an earlier process left is replaced, a file is not', async () => {
  const bed = await FeedBed.open();
  await bed.restart();
  bed.server.close();
  fs.rmSync(bed.socketPath, { force: true });
  fs.writeFileSync(bed.socketPath, 'precious');
  await expect(bed.restart()).rejects.toMatchObject({ code: 'FEED_CANNOT_LISTEN' });
  expect(fs.readFileSync(bed.socketPath, 'utf8')).toBe('precious');
});

test('bad input is refused with a word for each kind', async () => {
  const bed = await FeedBed.open();
  await bed.append(1, 5);
  const refused = (speak: (reader: RawReader) => void) => refusalOf(bed, speak);
  const hello = encodeStart({ version: 1, reader: 'x', start: { at: 'cursor' } });
  expect(await refused(({ socket }) => socket.write('GET / HTTP/1.1\r\n\r\n'))).toBe(
    'frame_too_large',
  );
  expect(await refused(({ socket }) => socket.write(Buffer.of(0xff, 0xff, 0xff, 0xff)))).toBe(
    'frame_too_large',
  );
  expect(await refused(({ socket }) => socket.write(Buffer.alloc(4)))).toBe('frame_too_large');
  const garbage = encodeFrame(Buffer.from('this is no message'));
  expect(await refused(({ socket }) => socket.write(garbage))).toBe('bad_message');
  expect(await refused(({ socket }) => socket.write(encodeFrame(Buffer.of(0x7a, 0))))).toBe(
    'bad_message',
  );
  const twice = Buffer.concat([encodeFrame(hello), encodeFrame(hello)]);
  expect(await refused(({ socket }) => socket.write(twice))).toBe('bad_message');
  expect(await refused((reader) => reader.start({ at: 'cursor' }, 2))).toBe('version');
  expect(await refused((reader) => reader.start(at('other/journal', 1)))).toBe('unknown_source');
  expect(await refused((reader) => reader.start(at(bed.source, 6)))).toBe('unknown_position');
  expect(await refused((reader) => reader.start(at(bed.source, 2 ** 53)))).toBe('bad_message');
  await bed.publish(4);
  await eventually('the journal lets go of them', () => bed.journal.tailSeq === 4);
  expect(await refused((reader) => reader.start(at(bed.source, 3)))).toBe('position_gone');
  expect(bed.server.figures()).toMatchObject({
    readers: 0,
    dropped: { bad_message: 4, frame_too_large: 3, position_gone: 1, version: 1 },
  });
});

test('readers over the limit are refused, and there is room again when one leaves', async () => {
  const bed = await FeedBed.open({ maxReaders: 2 });
  const readers = [new RawReader(bed.socketPath), new RawReader(bed.socketPath)];
  for (const reader of readers) reader.start();
  await eventually('both follow', () => readers.every(({ messages }) => messages.length > 0));
  expect(await refusalOf(bed, (reader) => reader.start())).toBe('too_many_readers');
  readers[0]!.socket.destroy();
  await eventually('one has left', () => bed.server.figures().readers === 1);
  const another = new RawReader(bed.socketPath);
  another.start();
  await eventually('it follows', () => another.messages[0]?.kind === 'welcome');
});

test('a reader that takes nothing holds one queue, and is ended after a while', async () => {
  const maxQueueBytes = 64 * 1024;
  const bed = await FeedBed.open({ maxQueueBytes, stallMs: 500 });
  const reader = new RawReader(bed.socketPath);
  reader.socket.pause();
  reader.start();
  // 20 MB, far more than the kernel keeps for a socket.
  for (let from = 1; from <= 1000; from += 100) await bed.append(from, from + 99, { size: 1000 });
  await eventually('it is ended', () => bed.server.figures().dropped.stalled === 1);
  expect(bed.logged.at(-1)).toMatchObject({ word: 'stalled' });
  expect(bed.server.figures()).toMatchObject({ readers: 0, queuedBytes: 0 });
});

test('what waits for a slow reader stays within its bound', async () => {
  const maxQueueBytes = 64 * 1024;
  const bed = await FeedBed.open({ maxQueueBytes });
  const reader = new RawReader(bed.socketPath);
  reader.socket.pause();
  reader.start();
  // A table of its own for each record: tables must not pile up either.
  for (let from = 1; from <= 120; from += 1) {
    await bed.append(from, from, { size: 1000, table: tableOf(`name_${from}`, 1000) });
  }
  await eventually('its queue is full', () => bed.server.figures().queuedBytes >= maxQueueBytes);
  const oneSlice = 256 * 1024 + 64 * 1024;
  expect(bed.server.figures().queuedBytes).toBeLessThan(maxQueueBytes + oneSlice);
  reader.socket.resume();
  await eventually('it has got everything', () => lastSeq(reader) === 120, 30_000);
});

test('of several states a reader that was busy gets the newest one', async () => {
  const bed = await FeedBed.open({ maxQueueBytes: 1024 });
  const reader = new RawReader(bed.socketPath);
  reader.socket.pause();
  reader.start();
  for (let from = 1; from <= 500; from += 100) await bed.append(from, from + 99, { size: 1000 });
  await eventually('its queue is full', () => bed.server.figures().queuedBytes >= 1024);
  const ledger = { received: 0, accepted: 0, duplicate: 0, rejected: 0, throttled: 0, writers: [] };
  for (let atMs = 1; atMs <= 50; atMs += 1) {
    bed.server.status({ atMs, nodes: [], ready: true, checks: [], ledger });
  }
  reader.socket.resume();
  const statuses = () => reader.messages.flatMap((one) => (one.kind === 'status' ? [one] : []));
  await eventually('it has got the last one', () => statuses().at(-1)?.atMs === 50);
  expect(statuses()).toHaveLength(1);
});

function lastSeq(reader: RawReader): number {
  const last = reader.messages.findLast((message) => message.kind === 'records');
  return last?.kind === 'records' ? last.seq : 0;
}
