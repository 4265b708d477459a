import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DiskSpool, type DiskSpoolOptions } from '../../src/client/disk-spool.ts';
import { AgentBench } from '../helpers/agent-bench.ts';
import { eventually } from '../helpers/eventually.ts';
import { gaugeTable, samplesOf } from '../helpers/sample-batches.ts';

const TABLE = gaugeTable(10);
const NOW_MS = 1_700_000_000_000;

let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'spool-'));
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

function openSpool(options: Partial<DiskSpoolOptions> = {}): Promise<DiskSpool> {
  return DiskSpool.open({ dir, maxBytes: 1_000_000, newEpoch: 7, nodeId: 'node-1', ...options });
}

function frameOf(sequence: number): Uint8Array {
  return new Uint8Array(100 + sequence).fill(sequence);
}

function batchOf(sequence: number) {
  return { sequence, sampleCount: sequence * 2, bytes: 100 + sequence };
}

test('what is stored comes back with its epoch, numbers and bytes', async () => {
  const first = await openSpool();
  await Promise.all([1, 2, 3].map((each) => first.put(batchOf(each), frameOf(each))));
  first.remove(batchOf(2));
  await first.close();
  const second = await openSpool({ newEpoch: 99 });
  expect(second.epoch).toBe(7);
  expect(second.nextSequence).toBe(4);
  expect(second.recovered).toEqual([batchOf(1), batchOf(3)]);
  expect(Buffer.from(second.frame(3) ?? [])).toEqual(Buffer.from(frameOf(3)));
  expect(second.frame(2)).toBeUndefined();
  await second.close();
});

test('a number is never given twice, even when everything was acknowledged and removed', async () => {
  const first = await openSpool();
  await first.put(batchOf(1), frameOf(1));
  await first.put(batchOf(2), frameOf(2));
  first.remove(batchOf(1));
  first.remove(batchOf(2));
  await first.close();
  const second = await openSpool();
  expect(second.recovered).toEqual([]);
  expect(second.nextSequence).toBe(3);
  await second.close();
});

test('room is counted across runs', async () => {
  const first = await openSpool({ maxBytes: 2000 });
  expect(first.hasRoomFor(1500)).toBe(true);
  await first.put({ sequence: 1, sampleCount: 1, bytes: 1000 }, new Uint8Array(1000));
  expect(first.hasRoomFor(1500)).toBe(false);
  await first.close();
  const second = await openSpool({ maxBytes: 2000 });
  expect(second.hasRoomFor(1500)).toBe(false);
  second.remove({ sequence: 1, sampleCount: 1, bytes: 1000 });
  expect(second.hasRoomFor(1500)).toBe(true);
  await second.close();
});

test('a directory serves one agent at a time', async () => {
  const first = await openSpool();
  await expect(openSpool()).rejects.toMatchObject({ code: 'SPOOL_IN_USE' });
  await first.close();
  await (await openSpool()).close();
});

test('the mark of a process that is gone, or whose id another one has, does not lock the directory', async () => {
  fs.writeFileSync(path.join(dir, 'owner'), '999999999 1\n');
  await (await openSpool()).close();
  fs.writeFileSync(path.join(dir, 'owner'), `${process.pid} 1\n`);
  await (await openSpool()).close();
});

test('a directory belongs to one node', async () => {
  await (await openSpool()).close();
  const opening = openSpool({ nodeId: 'node-2' });
  await expect(opening).rejects.toMatchObject({ code: 'SPOOL_OF_OTHER_NODE' });
  await (await openSpool()).close();
});

test('a directory that is no spool is an error that says what to do, and is left alone', async () => {
  fs.writeFileSync(path.join(dir, 'spool.lmdb'), Buffer.alloc(20_000, 'x'));
  await expect(openSpool()).rejects.toThrow(/cannot open spool .*move it away/);
  expect(fs.readFileSync(path.join(dir, 'spool.lmdb'))).toHaveLength(20_000);
  expect(fs.existsSync(path.join(dir, 'owner'))).toBe(false);
});

test('what a closed client leaves is sent by the next one, under the same numbers, before its own', async () => {
  const bench = await AgentBench.create();
  const spool = { maxBytes: 1_000_000, dir };
  const stub = await bench.stub({ answer: () => ({ kind: 'silence' }) });
  const first = await bench.client(stub.address, { spool });
  const left = [1, 2, 3].map((value) => first.send(TABLE, samplesOf(TABLE, value, NOW_MS)));
  await eventually('three batches', () => stub.received.length === 3);
  await first.close();
  expect(await Promise.all(left)).toEqual(Array(3).fill({ status: 'spooled' }));
  expect(first.stats).toMatchObject({ spooledSamples: 30, droppedSamples: 0, pendingSamples: 0 });

  stub.answer = () => ({ kind: 'duplicate' });
  const second = await bench.client(stub.address, { spool });
  await second.send(TABLE, samplesOf(TABLE, 4, NOW_MS));
  expect(await second.drain(10_000)).toBe(true);
  expect(stub.sequences).toEqual([1, 2, 3, 1, 2, 3, 4]);
  const [before, after] = [stub.received.slice(0, 3), stub.received.slice(3, 6)];
  expect(after.map((batch) => batch.bytes)).toEqual(before.map((batch) => batch.bytes));
  expect(second.stats).toMatchObject({
    offeredBatches: 4,
    recoveredBatches: 3,
    duplicateSamples: 40,
  });
  await second.close();
  await (await openSpool()).close();
  await bench.close();
});

test('a batch goes out only once it is on disk', async () => {
  const bench = await AgentBench.create();
  const stub = await bench.stub();
  const client = await bench.client(stub.address, { spool: { maxBytes: 1_000_000, dir } });
  await client.connected();
  const sent = client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  expect(client.stats.sentBatches).toBe(0);
  await sent;
  expect(client.stats.sentBatches).toBe(1);
  await bench.close();
});
