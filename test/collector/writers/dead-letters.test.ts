import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { type FileSystem, nodeFileSystem } from '../../../src/lib/filesystem.ts';
import { DeadLetterFiles, OTHER_NODES } from '../../../src/collector/writers/dead-letters.ts';
import type { DeadLetter, WriterLog } from '../../../src/collector/writers/writer.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { faultyFileSystem } from '../../helpers/faulty-filesystem.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

const NOON = Date.UTC(2026, 0, 31, 12);
const LETTER: DeadLetter = {
  ...{ reason: 'field type conflict', status: 400, nodeId: 'n1', seq: 7, samples: 3 },
  line: 'gpu,node_id=n1 a="x\\"y" 1',
};

const BOUNDS = { maxFileBytes: 1000, maxNodeBytes: 10_000, maxTotalBytes: 10_000 };

function setUp(bounds = BOUNDS, fileSystem?: FileSystem) {
  const dir = path.join(tempDir(), 'dead-letter');
  const clock = new FakeClock(NOON);
  const fsUsed = fileSystem ?? faultyFileSystem();
  const logged: string[] = [];
  const log: WriterLog = (_level, message, fields) =>
    void logged.push(`${message} ${JSON.stringify(fields)}`);
  const open = () =>
    new DeadLetterFiles({ fs: fsUsed, clock, log }, { dir, writer: 'influxdb', bounds });
  const lines = (name: string) =>
    fs.readFileSync(path.join(dir, name), 'utf8').split('\n').slice(0, -1);
  /** All letters on disk, by node. */
  const stored = () =>
    fs
      .readdirSync(dir)
      .flatMap(lines)
      .map((line) => (JSON.parse(line) as { node: string }).node);
  return { dir, clock, open, lines, stored, logged };
}

test('a letter is one JSON line in the file of its day, synced before it counts', () => {
  const fileSystem = faultyFileSystem();
  const { clock, open, lines } = setUp(undefined, fileSystem);
  const letters = open();
  letters.append([LETTER, { ...LETTER, seq: 8 }]);
  expect(lines('influxdb-2026-01-31.jsonl').map((line) => JSON.parse(line))).toEqual([
    {
      ...{ time: '2026-01-31T12:00:00.000Z', writer: 'influxdb', reason: LETTER.reason },
      ...{ status: 400, node: 'n1', seq: 7, samples: 3, line: LETTER.line },
    },
    expect.objectContaining({ seq: 8 }),
  ]);
  const names = fileSystem.operations.map((operation) => operation.split(' /')[0]);
  expect(names).toEqual([
    ...['mkdir', 'sync directory'],
    ...['open', 'write', 'sync', 'close', 'sync directory'],
  ]);
  clock.advance(86_400_000);
  letters.append([LETTER]);
  expect(lines('influxdb-2026-02-01.jsonl').length).toBe(1);
  expect(letters.counts.kept).toBe(3);
});

test('letters survive a power cut right after they were kept', () => {
  const fileSystem = faultyFileSystem();
  const { open, lines } = setUp(undefined, fileSystem);
  open().append([LETTER]);
  fileSystem.cutPower();
  expect(lines('influxdb-2026-01-31.jsonl').length).toBe(1);
});

test('a full file is followed by the next one of the day', () => {
  const { dir, open, lines } = setUp();
  const letters = open();
  for (let i = 0; i < 20; i++) letters.append([LETTER]);
  const names = fs.readdirSync(dir).sort();
  expect(names.length).toBeGreaterThan(2);
  expect(names).toContain('influxdb-2026-01-31.1.jsonl');
  for (const name of names) {
    expect(fs.statSync(path.join(dir, name)).size).toBeLessThanOrEqual(1000);
  }
  expect(names.flatMap(lines).length).toBe(20);
});

test('letters past the bound of their node are counted, and the next node has its room', () => {
  const { clock, open, stored, logged } = setUp({ ...BOUNDS, maxNodeBytes: 600 });
  const letters = open();
  for (let i = 0; i < 50; i++) letters.append([LETTER, { ...LETTER, nodeId: 'n2' }]);
  const kept = stored();
  expect(kept.filter((node) => node === 'n1').length).toBeGreaterThan(1);
  expect(kept.filter((node) => node === 'n2').length).toBeGreaterThan(1);
  expect(kept.length).toBe(letters.counts.kept);
  const { n1, n2 } = letters.counts.skipped;
  expect(letters.counts.kept + n1! + n2!).toBe(100);
  expect(logged).toHaveLength(1);
  expect(logged[0]).toContain('"lastNode":"n2"');
  clock.advance(60_000);
  letters.append([LETTER]);
  expect(logged).toHaveLength(2);
  letters.append([{ ...LETTER, nodeId: 'n3' }]);
  expect(stored()).toContain('n3');
});

test('the bounds hold over a restart, and moving files away makes room again', () => {
  const { dir, open, stored } = setUp({ ...BOUNDS, maxNodeBytes: 600 });
  const first = open();
  for (let i = 0; i < 10; i++) first.append([LETTER]);
  const { kept } = first.counts;
  const second = open();
  second.append([LETTER]);
  expect(second.counts).toEqual({ kept: 0, skipped: { n1: 1 } });
  expect(stored()).toHaveLength(kept);
  for (const name of fs.readdirSync(dir)) fs.rmSync(path.join(dir, name));
  second.append([LETTER]);
  expect(second.counts.kept).toBe(1);
});

test('past the bound of all files letters are counted, and the writer goes on', () => {
  const { dir, open, stored } = setUp({ ...BOUNDS, maxTotalBytes: 1500 });
  const letters = open();
  const ofMany = Array.from({ length: 200 }, (_, i) => ({ ...LETTER, nodeId: `n${i}` }));
  for (const letter of ofMany) letters.append([letter]);
  const bytes = fs
    .readdirSync(dir)
    .reduce((sum, name) => sum + fs.statSync(path.join(dir, name)).size, 0);
  expect(bytes).toBeLessThanOrEqual(1500);
  const { kept, skipped } = letters.counts;
  expect(stored()).toHaveLength(kept);
  expect(Object.keys(skipped)).toHaveLength(51);
  expect(skipped[OTHER_NODES]).toBe(200 - kept - 50);
  fs.writeFileSync(path.join(dir, 'parquet-2026-01-31.jsonl'), 'x'.repeat(5000));
  for (const name of fs.readdirSync(dir)) {
    if (name.startsWith('influxdb')) fs.rmSync(path.join(dir, name));
  }
  letters.append([LETTER]);
  expect(letters.counts.kept).toBe(kept + 1);
});

test.each(['open', 'write', 'sync'])('a file taken away after its %s loses no letter', (moment) => {
  const { dir, open, stored } = setUp(BOUNDS, {
    ...nodeFileSystem,
    openForWriting(file, options) {
      const real = nodeFileSystem.openForWriting(file, options);
      const take = (now: string) => {
        if (now !== moment || taken) return;
        taken = true;
        // As a replay does once it has read the file to its end.
        fs.renameSync(file, `${file}.replaying`);
        fs.rmSync(`${file}.replaying`);
      };
      take('open');
      return {
        ...real,
        write(bytes) {
          real.write(bytes);
          take('write');
        },
        sync() {
          real.sync();
          take('sync');
        },
      };
    },
  });
  let taken = false;
  fs.mkdirSync(dir);
  open().append([LETTER]);
  expect(taken).toBe(true);
  expect(stored()).toEqual(['n1']);
});

test('half a line that a crash left behind does not swallow the next letter', () => {
  const { dir, open, lines } = setUp();
  fs.mkdirSync(dir);
  fs.writeFileSync(path.join(dir, 'influxdb-2026-01-31.jsonl'), '{"time":"2026-01-31T1');
  open().append([LETTER]);
  const [, second] = lines('influxdb-2026-01-31.jsonl');
  expect(JSON.parse(second!)).toMatchObject({ seq: 7 });
});

test('a disk that fails is reported, and the letter is kept once it works again', () => {
  const { open, lines } = setUp(undefined, faultyFileSystem({ at: 3, kind: 'ENOSPC' }));
  const letters = open();
  expect(() => letters.append([LETTER])).toThrow('ENOSPC');
  expect(letters.counts.kept).toBe(0);
  letters.append([LETTER]);
  const whole = lines('influxdb-2026-01-31.jsonl').at(-1)!;
  expect(JSON.parse(whole)).toMatchObject({ seq: 7 });
});
