import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { AgentBench } from '../helpers/agent-bench.ts';
import { FakeClock } from '../helpers/fake-clock.ts';
import { gaugeTable, samplesOf } from '../helpers/sample-batches.ts';
import { eventually } from '../helpers/eventually.ts';
import { smallDisk } from '../helpers/small-disk.ts';
import { openSpool, putAll, readable } from '../helpers/spool-bench.ts';

const TABLE = gaugeTable(10);
const NOW_MS = 1_700_000_000_000;
const RETRY_MS = 5000;

test('a full disk makes batches wait in memory, and they reach the disk once it has room', async () => {
  const disk = smallDisk(1024 * 1024);
  if (disk === undefined) return;
  const dir = path.join(disk.dir, 'spool');
  const clock = new FakeClock(NOW_MS);
  const { spool, log } = await openSpool({ dir, maxBytes: 64 * 1024 * 1024 }, clock);
  const before = putAll(spool, [1, 2], 20_000);
  disk.fill(0);
  const during = putAll(
    spool,
    Array.from({ length: 30 }, (_, index) => index + 3),
    20_000,
  );
  expect(spool.health).toMatchObject({ isDiskFailing: true, lostBatches: 0 });
  expect(spool.health.memoryBytes).toBeGreaterThan(500_000);
  expect(readable(spool, [...before, ...during])).toHaveLength(32);
  // While the disk is full, each try ends as it began: no file is left behind.
  const files = fs.readdirSync(dir).length;
  for (let tries = 0; tries < 20; tries += 1) clock.advance(RETRY_MS);
  expect(fs.readdirSync(dir)).toHaveLength(files);
  expect(log.lines.filter(({ msg }) => msg.startsWith('cannot write to the spool'))).toHaveLength(
    1,
  );

  disk.empty();
  clock.advance(RETRY_MS);
  expect(spool.health).toMatchObject({ isDiskFailing: false, memoryBytes: 0 });
  expect(log.lines.map(({ msg }) => msg)).toContainEqual(expect.stringContaining('works again'));
  await spool.close();
  const next = await openSpool({ dir, maxBytes: 64 * 1024 * 1024 });
  expect(next.spool.recovered).toEqual([...before, ...during]);
  expect(readable(next.spool, next.spool.recovered)).toHaveLength(32);
});

test('what memory takes for a full disk is bounded, and what was done makes room again', async () => {
  const disk = smallDisk(1024 * 1024);
  if (disk === undefined) return;
  const { spool } = await openSpool({
    dir: path.join(disk.dir, 'spool'),
    maxBytes: 1024 * 1024 * 1024,
  });
  disk.fill(0);
  const batches = [];
  for (let sequence = 1; spool.hasRoomFor(1024 * 1024); sequence += 1) {
    batches.push(...putAll(spool, [sequence], 1024 * 1024));
    expect(sequence).toBeLessThan(100);
  }
  expect(spool.health.memoryBytes).toBeLessThanOrEqual(32 * 1024 * 1024);
  spool.remove(batches[0]!);
  expect(spool.hasRoomFor(1024 * 1024)).toBe(true);
});

test('a client on a full disk sends on, and closes without an error', async () => {
  const disk = smallDisk(1024 * 1024);
  if (disk === undefined) return;
  const bench = await AgentBench.create();
  const stub = await bench.stub();
  const dir = path.join(disk.dir, 'spool');
  const client = await bench.client(stub.address, { spool: { maxBytes: 1_000_000, dir } });
  await client.connected();
  disk.fill(0);
  const sends = Array.from({ length: 100 }, (_, value) =>
    client.send(TABLE, samplesOf(TABLE, value, NOW_MS)),
  );
  const results = await Promise.all(sends);
  expect(results.every(({ status }) => status === 'accepted')).toBe(true);
  stub.answer = () => ({ kind: 'silence' });
  const last = client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  await client.close();
  // It is not on disk and will not be: saying "spooled" would be a lie.
  expect(await last).toEqual({ status: 'dropped', reason: 'closed' });
  await bench.close();
});

test('a spool opens on a disk that is full already', async () => {
  const disk = smallDisk(1024 * 1024);
  if (disk === undefined) return;
  const dir = path.join(disk.dir, 'spool');
  const first = await openSpool({ dir });
  const batches = putAll(first.spool, [1, 2, 3]);
  await first.spool.close();
  disk.fill(0);
  const second = await openSpool({ dir });
  expect(second.spool.recovered).toEqual(batches);
  putAll(second.spool, [1]);
  for (const batch of batches) second.spool.remove(batch);
  expect(second.spool.usedBytes).toBeGreaterThan(0);
});

test('a spool opens where no file can be made, and uses the disk once one can', async () => {
  const disk = smallDisk(1024 * 1024);
  if (disk === undefined) return;
  const dir = path.join(disk.dir, 'spool');
  const first = await openSpool({ dir });
  const before = putAll(first.spool, [1, 2, 3]);
  await first.spool.close();

  disk.fillInodes();
  const clock = new FakeClock(NOW_MS);
  const { spool, log } = await openSpool({ dir, newEpoch: 8 }, clock);
  expect(log.lines.map(({ err }) => JSON.stringify(err))).toEqual([
    expect.stringContaining('ENOSPC'),
  ]);
  const during = putAll(spool, [1, 2]);
  clock.advance(RETRY_MS);
  expect(spool.health).toMatchObject({ isDiskFailing: true, memoryBytes: 203 });
  expect(readable(spool, during)).toHaveLength(2);

  disk.emptyInodes();
  await eventually('the disk is used', () => {
    clock.advance(RETRY_MS);
    return !spool.health.isDiskFailing;
  });
  expect(during.every((batch) => spool.isStored(batch))).toBe(true);
  await expect(openSpool({ dir })).rejects.toMatchObject({ code: 'SPOOL_LOCKED' });
  await spool.close();

  const next = await openSpool({ dir });
  expect(next.spool.recovered).toEqual([...before, ...during]);
  expect(readable(next.spool, next.spool.recovered)).toHaveLength(5);
});
