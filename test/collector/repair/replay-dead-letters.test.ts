/** Dead letters sent again: what is taken goes, what is refused again stays, nothing is lost. */
import fs from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../../src/lib/clock.ts';
import { type FileSystem, nodeFileSystem } from '../../../src/lib/filesystem.ts';
import {
  DeadLetterFiles,
  readDeadLetters,
  type StoredLetter,
} from '../../../src/collector/writers/dead-letters.ts';
import { InfluxClient } from '../../../src/collector/writers/influx/influx-client.ts';
import { replayDeadLetters } from '../../../src/collector/repair/replay-dead-letters.ts';
import { influxSettings } from '../../helpers/influx-settings.ts';
import { InfluxStandIn } from '../../helpers/influx-stand-in.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

async function setUp(deps: { fs?: FileSystem } = {}) {
  const dir = tempDir();
  const server = await InfluxStandIn.start();
  const client = new InfluxClient(influxSettings(server.url), {
    clock: systemClock,
    log: () => {},
  });
  onTestFinished(() => client.close());
  const bounds = { maxNodeBytes: 1_000_000, maxTotalBytes: 1_000_000 };
  const openDaemon = (fileSystem = nodeFileSystem) =>
    new DeadLetterFiles(
      { fs: fileSystem, clock: systemClock, log: () => {} },
      { dir, writer: 'influxdb', bounds },
    );
  const daemon = openDaemon();
  const bury = (...lines: string[]) =>
    daemon.append(
      lines.map((line) => ({ reason: 'old', status: 400, nodeId: 'n', seq: 7, samples: 1, line })),
    );
  const replay = (maxBytes = 1_000_000) => {
    const fileSystem = deps.fs ?? nodeFileSystem;
    const all = { fs: fileSystem, clock: systemClock, client, onFile: () => {} };
    return replayDeadLetters(all, dir, maxBytes);
  };
  const stored = (): StoredLetter[] =>
    fs
      .readdirSync(dir)
      .sort()
      .flatMap((name) => readDeadLetters(nodeFileSystem, path.join(dir, name)).letters);
  return { dir, server, openDaemon, bury, replay, stored };
}

const lineOf = (n: number) => `gpu,node_id=n value=${n} ${1_700_000_000_000 + n}`;

test('what is taken now goes, and another replay has nothing to do', async () => {
  const { dir, server, bury, replay } = await setUp();
  bury(...Array.from({ length: 100 }, (_, n) => lineOf(n)));
  expect(await replay(500)).toMatchObject({ files: 1, sent: 100, refused: 0, failure: '' });
  expect(server.accepted).toHaveLength(100);
  expect(server.requests.length).toBeGreaterThan(5);
  expect(fs.readdirSync(dir)).toEqual([]);
  expect(await replay()).toMatchObject({ files: 0, sent: 0 });
});

test('what is refused again stays with the newer reason, time after time', async () => {
  const { server, bury, replay, stored } = await setUp();
  bury(...Array.from({ length: 50 }, (_, n) => lineOf(n)));
  server.answer = ({ lines }) =>
    lines.some((line) => line.includes('value=17 '))
      ? { status: 422, body: '{"message":"still not"}' }
      : { status: 204 };
  for (const sent of [49, 0]) {
    expect(await replay()).toMatchObject({ files: 1, sent, refused: 1, failure: '' });
    expect(stored()).toMatchObject([
      { line: lineOf(17), reason: 'still not', status: 422, seq: 7, node: 'n' },
    ]);
  }
  server.answer = () => ({ status: 204 });
  expect(await replay()).toMatchObject({ sent: 1 });
  expect(stored()).toEqual([]);
});

test('a server that lets nobody in costs no letter', async () => {
  const { server, bury, replay, stored } = await setUp();
  bury(...Array.from({ length: 40 }, (_, n) => lineOf(n)));
  let requests = 0;
  server.answer = () => ({ status: ++requests <= 2 ? 204 : 401 });
  const result = await replay(400);
  expect(result.failure).toContain('401');
  const kept = stored().map(({ line }) => line);
  expect(result.sent).toBeGreaterThan(5);
  expect(kept).toHaveLength(40 - result.sent);
  expect(kept).toEqual(Array.from({ length: 40 }, (_, n) => lineOf(n)).slice(result.sent));
  server.answer = () => ({ status: 204 });
  await replay();
  expect(stored()).toEqual([]);
});

test('letters without a line and torn lines stay as they are', async () => {
  const { dir, bury, replay, stored } = await setUp();
  bury('', lineOf(1));
  const file = path.join(dir, fs.readdirSync(dir)[0]!);
  fs.appendFileSync(file, '{"time":"2026-01-01","wri');
  expect(await replay()).toMatchObject({ sent: 1, unsendable: 1 });
  expect(stored()).toMatchObject([{ line: '', reason: 'old' }]);
  const [kept] = fs.readdirSync(dir);
  expect(kept).toMatch(/^influxdb-\d{4}-\d\d-\d\d\.kept-1\.jsonl$/);
  expect(readDeadLetters(nodeFileSystem, path.join(dir, kept!)).torn).toEqual([
    '{"time":"2026-01-01","wri',
  ]);
});

test('a letter that the daemon writes anywhere between open and remove is not lost', async () => {
  const { dir, server, bury, replay, stored, openDaemon } = await setUp();
  bury(lineOf(1));
  // A daemon that opened the file before the replay, and writes when the replay is over.
  const file = path.join(dir, fs.readdirSync(dir)[0]!);
  const early = [nodeFileSystem.openForWriting(file, { append: true })];
  const late = openDaemon({
    ...nodeFileSystem,
    openForWriting: (...args) => early.pop() ?? nodeFileSystem.openForWriting(...args),
  });
  expect(await replay()).toMatchObject({ files: 1, sent: 1 });
  const letter = { reason: '', status: 400, nodeId: 'n', seq: 8, samples: 1, line: lineOf(2) };
  late.append([letter]);
  expect(stored().map(({ line }) => line)).toEqual([lineOf(2)]);
  expect(await replay()).toMatchObject({ files: 1, sent: 1 });
  expect(server.accepted).toHaveLength(2);
});

test('what a replay that died has put aside is not lost to what came since', async () => {
  const { dir, server, bury, replay } = await setUp();
  bury(lineOf(1));
  const [name = ''] = fs.readdirSync(dir);
  fs.renameSync(path.join(dir, name), path.join(dir, `${name}.replaying`));
  bury(lineOf(2));
  expect(fs.readdirSync(dir).sort()).toEqual([name, `${name}.replaying`]);
  expect(await replay()).toMatchObject({ files: 2, sent: 2, failure: '' });
  expect(server.accepted).toHaveLength(2);
  expect(fs.readdirSync(dir)).toEqual([]);
});

test('a replay that died at any moment is taken up by the next one', async () => {
  for (const dying of ['rename', 'remove', 'openForWriting'] as const) {
    let isDead = false;
    const mortal: FileSystem = { ...nodeFileSystem };
    const die = () => {
      isDead = true;
      throw new Error('killed');
    };
    let renames = 0;
    if (dying === 'rename') {
      mortal.rename = (from, to) => (++renames === 2 ? die() : nodeFileSystem.rename(from, to));
    } else mortal[dying] = die as never;
    const { server, bury, replay, stored, dir } = await setUp({ fs: mortal });
    bury(lineOf(1), lineOf(2));
    server.answer = ({ lines }) => ({ status: lines.includes(lineOf(2)) ? 400 : 204 });
    await expect(replay(), dying).rejects.toThrow('killed');
    expect(isDead).toBe(true);
    Object.assign(mortal, nodeFileSystem);
    expect(await replay(), dying).toMatchObject({ failure: '' });
    expect(new Set(stored().map(({ line }) => line)), dying).toEqual(new Set([lineOf(2)]));
    expect(fs.readdirSync(dir).filter((name) => name.endsWith('.replaying'))).toEqual([]);
  }
});
