import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { AgentBench } from '../helpers/agent-bench.ts';
import { eventually } from '../helpers/eventually.ts';
import { gaugeTable, samplesOf } from '../helpers/sample-batches.ts';
import { openSpool, putAll, readable } from '../helpers/spool-bench.ts';
import { tempDir } from '../helpers/temp-dir.ts';

const TABLE = gaugeTable(10);
const NOW_MS = 1_700_000_000_000;

function segmentsIn(dir: string): string[] {
  return fs.readdirSync(dir).filter((name) => name.endsWith('.segment'));
}

test('what is stored comes back with its numbers and bytes, and new batches have a later epoch', async () => {
  const dir = tempDir();
  const first = await openSpool({ dir });
  const batches = putAll(first.spool, [1, 2, 3]);
  first.spool.remove(batches[1]!);
  await first.spool.close();
  // Another run in the same millisecond, as after a clock was set back.
  const second = await openSpool({ dir });
  expect(second.spool.epoch).toBe(first.spool.epoch + 1);
  expect(second.spool.recovered).toEqual([batches[0], batches[2]]);
  expect(readable(second.spool, batches)).toEqual([batches[0], batches[2]]);
  const own = putAll(second.spool, [1]);
  await second.spool.close();
  const third = await openSpool({ dir, newEpoch: 99 });
  expect(third.spool.epoch).toBe(99);
  expect(third.spool.recovered).toEqual([batches[0], batches[2], ...own]);
  expect(readable(third.spool, third.spool.recovered)).toHaveLength(3);
});

test('a process that is killed leaves everything it put, and nothing that was done', async () => {
  const dir = tempDir();
  const { spool } = await openSpool({ dir });
  const batches = putAll(spool, [1, 2, 3, 4]);
  for (const batch of batches.slice(0, 2)) spool.remove(batch);
  // What SIGKILL leaves: the files as the kernel has them, without a close.
  const copy = tempDir();
  fs.cpSync(dir, copy, { recursive: true, filter: (file) => !file.endsWith('.sock') });
  const after = await openSpool({ dir: copy });
  expect(after.spool.recovered).toEqual(batches.slice(2));
});

test('an epoch of which everything is done is not used again, whatever the clock says', async () => {
  const dir = tempDir();
  const { spool } = await openSpool({ dir, newEpoch: 1000 });
  const batches = putAll(spool, [1, 2]);
  spool.remove(batches[0]!);
  spool.remove(batches[1]!);
  const copy = tempDir();
  fs.cpSync(dir, copy, { recursive: true, filter: (file) => !file.endsWith('.sock') });
  const after = await openSpool({ dir: copy, newEpoch: 1000 });
  expect(after.spool.recovered).toEqual([]);
  expect(after.spool.epoch).toBe(1001);
});

test('room is counted across runs', async () => {
  const dir = tempDir();
  const first = await openSpool({ dir, maxBytes: 2000 });
  expect(first.spool.hasRoomFor(1500)).toBe(true);
  const [batch] = putAll(first.spool, [1], 1000);
  expect(first.spool.hasRoomFor(1500)).toBe(false);
  await first.spool.close();
  const second = await openSpool({ dir, maxBytes: 2000 });
  expect(second.spool.hasRoomFor(1500)).toBe(false);
  second.spool.remove(batch!);
  expect(second.spool.hasRoomFor(1500)).toBe(true);
});

test('files go once their batches are done, so that the disk holds little more than is needed', async () => {
  const dir = tempDir();
  const { spool } = await openSpool({ dir });
  for (let sequence = 1; sequence <= 500; sequence += 1) {
    const [batch] = putAll(spool, [sequence], 10_000);
    spool.remove(batch!);
    expect(spool.health.diskBytes).toBeLessThan(150_000);
  }
  expect(spool.usedBytes).toBe(0);
  await spool.close();
  expect(segmentsIn(dir)).toEqual([]);
});

test('a batch that stays keeps its own file and those after it, and no more', async () => {
  const dir = tempDir();
  const { spool } = await openSpool({ dir });
  const batches = putAll(
    spool,
    Array.from({ length: 40 }, (_, index) => index + 1),
    10_000,
  );
  const before = segmentsIn(dir);
  expect(before.length).toBeGreaterThan(4);
  for (const batch of batches) if (batch.sequence !== 20) spool.remove(batch);
  const after = segmentsIn(dir);
  expect(after.length).toBeLessThan(before.length);
  expect(readable(spool, batches)).toEqual([batches[19]]);
  spool.remove(batches[19]!);
  await spool.close();
  expect(segmentsIn(dir)).toEqual([]);
});

test('a directory serves one agent at a time', async () => {
  const dir = tempDir();
  const { spool } = await openSpool({ dir });
  await expect(openSpool({ dir })).rejects.toMatchObject({ code: 'SPOOL_LOCKED' });
  await spool.close();
  await openSpool({ dir });
});

test('a directory with batches of one node is not another node’s, and is left alone', async () => {
  const dir = tempDir();
  const first = await openSpool({ dir });
  const batches = putAll(first.spool, [1]);
  await first.spool.close();
  const opening = openSpool({ dir, nodeId: 'node-2' });
  await expect(opening).rejects.toMatchObject({ code: 'SPOOL_OF_OTHER_NODE' });
  expect((await openSpool({ dir })).spool.recovered).toEqual(batches);
});

test('a directory that cannot be one says what to do', async () => {
  const dir = path.join(tempDir(), 'file');
  fs.writeFileSync(dir, 'no directory');
  await expect(openSpool({ dir })).rejects.toThrow(/cannot open spool .*move it away/);
});

test('what an agent before this format left is kept aside, and said', async () => {
  const dir = tempDir();
  fs.writeFileSync(path.join(dir, 'spool.lmdb'), Buffer.alloc(20_000, 'x'));
  const { spool, log } = await openSpool({ dir });
  expect(spool.recovered).toEqual([]);
  expect(log.lines.map(({ msg }) => msg)).toContainEqual(expect.stringContaining('older agent'));
  const [kept = ''] = fs.readdirSync(path.join(dir, 'damaged'));
  expect(fs.readFileSync(path.join(dir, 'damaged', kept))).toHaveLength(20_000);
  expect(fs.existsSync(path.join(dir, 'spool.lmdb'))).toBe(false);
});

test('what a closed client leaves is sent by the next one, under the same numbers, before its own', async () => {
  const dir = tempDir();
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
  expect(stub.sequences).toEqual([1, 2, 3, 1, 2, 3, 1]);
  const [before, after] = [stub.received.slice(0, 3), stub.received.slice(3, 6)];
  expect(after.map((batch) => batch.bytes)).toEqual(before.map((batch) => batch.bytes));
  expect(stub.received.at(-1)?.epoch).toBe(second.epoch);
  expect(second.epoch).toBeGreaterThan(first.epoch);
  expect(second.stats).toMatchObject({
    offeredBatches: 4,
    recoveredBatches: 3,
    duplicateSamples: 40,
  });
  await second.close();
  await bench.close();
});

test('a batch is in the spool’s file before it goes out', async () => {
  const dir = tempDir();
  const bench = await AgentBench.create();
  let bytesInFiles = 0;
  const stub = await bench.stub({
    answer: () => {
      for (const name of segmentsIn(dir)) bytesInFiles += fs.statSync(path.join(dir, name)).size;
      return { kind: 'accept' };
    },
  });
  const client = await bench.client(stub.address, { spool: { maxBytes: 1_000_000, dir } });
  await client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  expect(bytesInFiles).toBeGreaterThan(stub.received[0]!.content.length);
  await bench.close();
});

test('a spool put back to an older copy loses nothing new, and doubles nothing', async () => {
  const bench = await AgentBench.create();
  const known = new Set<string>();
  const stored: number[] = [];
  const stub = await bench.stub({ answer: () => ({ kind: 'silence' }) });
  const dir = path.join(tempDir(), 'spool');
  const copy = path.join(tempDir(), 'copy');
  const run = async (values: readonly number[]) => {
    const client = await bench.client(stub.address, { spool: { maxBytes: 1_000_000, dir } });
    const sent = values.map((value) => client.send(TABLE, samplesOf(TABLE, value, NOW_MS)));
    return { client, sent };
  };
  const first = await run([1, 2, 3]);
  await eventually('three batches', () => stub.received.length === 3);
  await first.client.close();
  fs.cpSync(dir, copy, { recursive: true });
  // A collector that remembers numbers, as the real one does.
  stub.answer = ({ epoch, sequence, values }) => {
    const number = `${epoch}/${sequence}`;
    if (known.has(number)) return { kind: 'duplicate' };
    known.add(number);
    stored.push(values[0]!);
    return { kind: 'accept' };
  };
  const second = await run([4, 5]);
  expect((await Promise.all(second.sent)).map(({ status }) => status)).toEqual(
    Array(2).fill('accepted'),
  );
  await second.client.drain(10_000);
  await second.client.close();

  fs.rmSync(dir, { recursive: true });
  fs.cpSync(copy, dir, { recursive: true });
  const third = await run([6, 7]);
  const results = await Promise.all(third.sent);
  await third.client.drain(10_000);
  expect(results.map(({ status }) => status)).toEqual(['accepted', 'accepted']);
  expect(third.client.stats).toMatchObject({ recoveredBatches: 3, duplicateBatches: 3 });
  expect(stored.sort()).toEqual([1, 2, 3, 4, 5, 6, 7]);
  expect(bench.log.lines.map(({ msg }) => msg)).toContainEqual(
    expect.stringContaining('collector had already'),
  );
  await bench.close();
});
