import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { RECORD_HEAD_BYTES } from '../../src/client/spool-format.ts';
import type { SpooledBatch } from '../../src/client/spool.ts';
import { AgentBench } from '../helpers/agent-bench.ts';
import { gaugeTable, samplesOf } from '../helpers/sample-batches.ts';
import { openSpool, putAll, readable } from '../helpers/spool-bench.ts';
import { tempDir } from '../helpers/temp-dir.ts';

const TABLE = gaugeTable(10);
const NOW_MS = 1_700_000_000_000;
const BATCHES = 6;

/** A directory with one file of a few batches. */
async function spoolWithOneFile(): Promise<{
  dir: string;
  file: string;
  bytes: Buffer;
  batches: SpooledBatch[];
}> {
  const dir = tempDir();
  const { spool } = await openSpool({ dir });
  const batches = putAll(
    spool,
    Array.from({ length: BATCHES }, (_, index) => index + 1),
  );
  await spool.close();
  const file = path.join(dir, '0000000001.segment');
  return { dir, file, bytes: fs.readFileSync(file), batches };
}

/** Opens the directory with the file as given, and returns what is left of the batches. */
async function openWith(dir: string, file: string, bytes: Buffer) {
  fs.rmSync(path.join(dir, 'damaged'), { recursive: true, force: true });
  for (const name of fs.readdirSync(dir)) fs.rmSync(path.join(dir, name), { force: true });
  fs.writeFileSync(file, bytes);
  const { spool, log } = await openSpool({ dir });
  const left = spool.recovered;
  const whole = readable(spool, left);
  const { damages } = spool.health;
  await spool.close();
  const told = log.lines.filter(({ level }) => Number(level) >= 40).map(({ msg }) => msg);
  return { left, whole, damages, told };
}

test('a flipped bit anywhere costs at most its own batch, is told, and makes no other value', async () => {
  const { dir, file, bytes, batches } = await spoolWithOneFile();
  for (let at = 0; at < bytes.length; at += 3) {
    const damaged = Buffer.from(bytes);
    damaged[at]! ^= 1 << (at % 8);
    const { left, whole, damages, told } = await openWith(dir, file, damaged);
    expect(whole, `bit of byte ${at}`).toEqual(left);
    expect(left.length, `bit of byte ${at}`).toBeGreaterThanOrEqual(BATCHES - 1);
    expect(batches, `bit of byte ${at}`).toEqual(expect.arrayContaining([...left]));
    expect(damages, `bit of byte ${at}`).toBe(1);
    expect(told.join(), `bit of byte ${at}`).toContain('damaged');
  }
});

test('a file cut off anywhere keeps the batches before the cut, and the loss is told', async () => {
  const { dir, file, bytes, batches } = await spoolWithOneFile();
  // What lies between two batches: there, nothing can be noticed.
  const ends = [16 + 'node-1'.length + 4];
  for (const batch of batches) ends.push(ends.at(-1)! + RECORD_HEAD_BYTES + batch.bytes);
  expect(ends.at(-1)).toBe(bytes.length);
  for (let length = 1; length < bytes.length; length += 5) {
    const { left, told } = await openWith(dir, file, bytes.subarray(0, length));
    const whole = ends.filter((end) => end <= length).length - 1;
    expect(left, `${length} bytes`).toEqual(batches.slice(0, Math.max(0, whole)));
    if (!ends.includes(length)) expect(told.length, `${length} bytes`).toBeGreaterThan(0);
  }
});

test.each([
  ['zeros', (length: number) => Buffer.alloc(length)],
  ['ones', (length: number) => Buffer.alloc(length, 0xff)],
  ['text', (length: number) => Buffer.alloc(length, 'TLMSPOOL')],
])('%s in the middle of a file cost the batches that they lie in', async (_, fill) => {
  const { dir, file, bytes } = await spoolWithOneFile();
  for (const at of [0, 10, 100, 300, 500]) {
    const damaged = Buffer.from(bytes);
    fill(90).copy(damaged, at);
    const { left, whole, damages } = await openWith(dir, file, damaged);
    expect(whole).toEqual(left);
    expect(left.length).toBeGreaterThanOrEqual(BATCHES - 3);
    expect(damages).toBe(1);
  }
});

test('bytes that vanished from the middle of a file cost two batches at most', async () => {
  const { dir, file, bytes } = await spoolWithOneFile();
  for (let at = 40; at + 20 < bytes.length; at += 11) {
    const damaged = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 17)]);
    const { left, whole } = await openWith(dir, file, damaged);
    expect(whole).toEqual(left);
    expect(left.length, `17 bytes at ${at}`).toBeGreaterThanOrEqual(BATCHES - 2);
  }
});

test('a file that is no spool file is kept aside, and the agent starts', async () => {
  const { dir, file } = await spoolWithOneFile();
  const noise = Buffer.from(Array.from({ length: 20_000 }, (_, at) => (at * 7919) % 256));
  fs.writeFileSync(file, noise);
  const { spool, log } = await openSpool({ dir });
  expect(spool.recovered).toEqual([]);
  expect(spool.health.damages).toBe(1);
  const [kept = ''] = fs.readdirSync(path.join(dir, 'damaged'));
  expect(fs.readFileSync(path.join(dir, 'damaged', kept)).equals(noise)).toBe(true);
  expect(log.lines.map(({ msg }) => msg)).toContainEqual(expect.stringContaining('aside'));
  putAll(spool, [1]);
});

test('a damaged file is kept aside once the rest of it was sent, and few of them are', async () => {
  const { dir, file, bytes } = await spoolWithOneFile();
  const damaged = Buffer.from(bytes);
  damaged[bytes.length - 1]! ^= 1;
  for (let run = 0; run < 12; run += 1) {
    fs.writeFileSync(file, damaged);
    const { spool } = await openSpool({ dir });
    expect(spool.recovered).toHaveLength(BATCHES - 1);
    for (const batch of spool.recovered) spool.remove(batch);
    await spool.close();
    expect(fs.existsSync(file)).toBe(false);
  }
  expect(fs.readdirSync(path.join(dir, 'damaged'))).toHaveLength(8);
});

test('a file that vanishes, or is damaged under a running agent, costs its batches and is told', async () => {
  const dir = tempDir();
  const first = await openSpool({ dir });
  const sequences = Array.from({ length: 15 }, (_, index) => index + 1);
  const batches = putAll(first.spool, sequences, 10_000);
  await first.spool.close();
  const { spool, log } = await openSpool({ dir });
  fs.rmSync(path.join(dir, '0000000001.segment'));
  const second = path.join(dir, '0000000002.segment');
  const bytes = fs.readFileSync(second);
  bytes[20_000]! ^= 1;
  fs.writeFileSync(second, bytes);
  const left = readable(spool, batches);
  expect(left).toEqual(batches.filter(({ sequence }) => sequence > 6 && sequence !== 8));
  expect(spool.health.lostBatches).toBe(7);
  const told = log.lines.filter(({ msg }) => msg === 'a batch in the spool cannot be read');
  expect(told).toHaveLength(7);
});

test('a directory that vanishes under a running agent is made again, and nothing is lost', async () => {
  const dir = path.join(tempDir(), 'spool');
  const { spool } = await openSpool({ dir });
  const before = putAll(spool, [1, 2]);
  fs.rmSync(dir, { recursive: true });
  const after = putAll(spool, [3]);
  expect(readable(spool, [...before, ...after])).toHaveLength(3);
  await spool.close();
  const next = await openSpool({ dir });
  expect(next.spool.recovered).toEqual([...before, ...after]);
});

test('a client drops a batch that cannot be read back, counts it, and goes on with the others', async () => {
  const dir = tempDir();
  const bench = await AgentBench.create();
  const stub = await bench.stub({ answer: () => ({ kind: 'silence' }) });
  const spool = { maxBytes: 1_000_000, dir };
  const first = await bench.client(stub.address, { spool });
  for (const value of [1, 2, 3]) void first.send(TABLE, samplesOf(TABLE, value, NOW_MS));
  await first.close();
  const second = await bench.client({ host: '127.0.0.1', port: 1 }, { spool });
  const file = path.join(dir, '0000000001.segment');
  const bytes = fs.readFileSync(file);
  bytes[Math.floor(bytes.length / 2)]! ^= 1;
  fs.writeFileSync(file, bytes);
  await second.close();

  stub.answer = () => ({ kind: 'accept' });
  const before = stub.received.length;
  const third = await bench.client(stub.address, { spool });
  expect(await third.drain(10_000)).toBe(true);
  expect(stub.received.slice(before).map(({ values }) => values[0])).toEqual([1, 3]);
  expect(third.stats.spool.damages).toBe(1);
  await bench.close();
});
