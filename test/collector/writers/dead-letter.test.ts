import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import type { FileSystem } from '../../../src/lib/filesystem.ts';
import { DeadLetterFile } from '../../../src/collector/writers/dead-letter.ts';
import type { DeadLetter } from '../../../src/collector/writers/writer.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { faultyFileSystem } from '../../helpers/faulty-filesystem.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

const NOON = Date.UTC(2026, 0, 31, 12);
const LETTER: DeadLetter = {
  ...{ reason: 'field type conflict', status: 400, nodeId: 'n1', seq: 7, samples: 3 },
  line: 'gpu,node_id=n1 a="x\\"y" 1',
};

function setUp(bounds = { maxFileBytes: 1000, maxTotalBytes: 10_000 }, fileSystem?: FileSystem) {
  const dir = path.join(tempDir(), 'dead-letter');
  const clock = new FakeClock(NOON);
  const fsUsed = fileSystem ?? faultyFileSystem();
  const open = () => new DeadLetterFile(fsUsed, clock, { dir, writer: 'influxdb', bounds });
  const lines = (name: string) =>
    fs.readFileSync(path.join(dir, name), 'utf8').split('\n').slice(0, -1);
  return { dir, clock, open, lines, fsUsed };
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
  expect(letters.letters).toBe(3);
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

test('at the total bound nothing is thrown away: it says so until files are moved', () => {
  const { dir, open } = setUp({ maxFileBytes: 1000, maxTotalBytes: 1500 });
  const letters = open();
  const keepUntilFull = () => {
    for (let i = 0; i < 50; i++) letters.append([LETTER]);
  };
  expect(keepUntilFull).toThrow(expect.objectContaining({ code: 'DEAD_LETTER_FULL' }));
  fs.writeFileSync(path.join(dir, 'parquet-2026-01-31.jsonl'), 'x'.repeat(5000));
  for (const name of fs.readdirSync(dir)) {
    if (name.startsWith('influxdb')) fs.rmSync(path.join(dir, name));
  }
  letters.append([LETTER]);
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
  expect(letters.letters).toBe(0);
  letters.append([LETTER]);
  const whole = lines('influxdb-2026-01-31.jsonl').at(-1)!;
  expect(JSON.parse(whole)).toMatchObject({ seq: 7 });
});
