/** One owner per directory, whatever namespace it lives in and however it ends. Runs dist/. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { onTestFinished, test, expect } from 'vitest';
import { lockDirectory } from '../../src/lib/directory-lock.ts';
import { smallDisk } from '../helpers/small-disk.ts';
import { tempDir } from '../helpers/temp-dir.ts';

const HOLDER = path.resolve(import.meta.dirname, '../helpers/lock-holder.mjs');
const LOCKED = { code: 'JOURNAL_LOCKED' };

/** A process that tries to hold `dir`, with what it said. `wrap` is a command to run it under. */
async function holderOf(dir: string, wrap: readonly string[] = []) {
  const [program = '', ...args] = [...wrap, process.execPath, HOLDER, dir];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const [output] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, said: output.toString().trim() };
}

const lockFiles = (dir: string) => fs.readdirSync(dir).filter((name) => name.startsWith('.lock-'));

/** Whether commands may be run in namespaces of their own; CI must be able to. */
function canUnshare(): boolean {
  const can = spawnSync('unshare', ['--net', '--mount', 'true']).status === 0;
  if (!can && process.env.CI !== undefined) throw new Error('unshare must work in CI');
  if (!can) process.stderr.write('skipped: no right to make namespaces\n');
  return can;
}

test('a second owner is refused, through a link as well, until the first lets go', async () => {
  const dir = tempDir();
  const link = path.join(tempDir(), 'link');
  fs.symlinkSync(dir, link);
  const first = await lockDirectory(dir, 'journal');
  await expect(lockDirectory(dir, 'journal')).rejects.toMatchObject(LOCKED);
  await expect(lockDirectory(link, 'journal')).rejects.toMatchObject(LOCKED);
  expect(first.isHeld()).toBe(true);
  await first.release();
  await first.release();
  const second = await lockDirectory(link, 'journal');
  await second.release();
  expect(lockFiles(dir)).toEqual([]);
});

test('a stopped process still owns its directory, a killed one does not', async () => {
  const dir = tempDir();
  const { child, said } = await holderOf(dir);
  expect(said).toBe('held');
  child.kill('SIGSTOP');
  await expect(lockDirectory(dir, 'journal')).rejects.toMatchObject(LOCKED);
  child.kill('SIGKILL');
  await once(child, 'close');
  expect(lockFiles(dir)).toHaveLength(1);
  const lock = await lockDirectory(dir, 'journal');
  expect(lockFiles(dir)).toHaveLength(1);
  await lock.release();
});

test('an owner in other network and mount namespaces is seen, and sees this one', async () => {
  if (!canUnshare()) return;
  const dir = tempDir();
  const mounted = tempDir();
  const script = `mount --bind "${dir}" "${mounted}" && exec "$@"`;
  const inNamespaces = ['unshare', '--net', '--mount', 'sh', '-c', script, 'sh'];
  const { child, said } = await holderOf(mounted, inNamespaces);
  expect(said).toBe('held');
  await expect(lockDirectory(dir, 'journal')).rejects.toMatchObject(LOCKED);
  child.kill('SIGKILL');
  await once(child, 'close');
  const lock = await lockDirectory(dir, 'journal');
  expect((await holderOf(mounted, inNamespaces)).said).toBe('JOURNAL_LOCKED');
  await lock.release();
});

test('of many that start at once over a dead owner’s socket, never two have the lock', async () => {
  const dir = tempDir();
  for (let round = 0; round < 10; round++) {
    await leaveDeadSocket(dir);
    const tries = await Promise.allSettled(
      Array.from({ length: 8 }, () => lockDirectory(dir, 'journal')),
    );
    const locks = tries.filter((result) => result.status === 'fulfilled');
    expect(locks.length, `round ${round}`).toBeLessThanOrEqual(1);
    for (const { value } of locks) await value.release();
  }
});

/** A socket file as a killed process leaves it: Node removes the name it bound, not another one. */
async function leaveDeadSocket(dir: string): Promise<void> {
  const bound = path.join(dir, 'bound');
  const server = net.createServer().listen(bound);
  await once(server, 'listening');
  fs.renameSync(bound, path.join(dir, `.lock-${'0'.repeat(32)}.sock`));
  server.close();
  await once(server, 'close');
}

test('a directory whose path is too long for a socket address can be locked on Linux', async () => {
  if (process.platform !== 'linux') return;
  const dir = path.join(tempDir(), 'd'.repeat(200));
  fs.mkdirSync(dir);
  const lock = await lockDirectory(dir, 'journal');
  await expect(lockDirectory(dir, 'journal')).rejects.toMatchObject(LOCKED);
  expect((await holderOf(dir)).said).toBe('JOURNAL_LOCKED');
  await lock.release();
  expect(lockFiles(dir)).toEqual([]);
});

test('the socket is for its owner’s user alone', async () => {
  const dir = tempDir();
  const lock = await lockDirectory(dir, 'journal');
  const [name = ''] = lockFiles(dir);
  expect(fs.statSync(path.join(dir, name)).mode & 0o777).toBe(0o600);
  await lock.release();
});

test('an owner whose directory was removed knows that it does not hold it any more', async () => {
  const dir = path.join(tempDir(), 'owned');
  fs.mkdirSync(dir);
  const lock = await lockDirectory(dir, 'journal');
  fs.rmSync(dir, { recursive: true });
  expect(lock.isHeld()).toBe(false);
  fs.mkdirSync(dir);
  expect(lock.isHeld()).toBe(false);
  const next = await lockDirectory(dir, 'journal');
  await lock.release();
  expect(next.isHeld()).toBe(true);
  await next.release();
});

test('a directory that is not there cannot be locked, in words', async () => {
  await expect(lockDirectory('/nonexistent/here', 'spool')).rejects.toMatchObject({
    code: 'SPOOL_LOCK_FAILED',
    message: expect.stringMatching(/cannot lock spool \/nonexistent\/here: /),
  });
});

test('a disk without room for the lock is not taken for another owner', async () => {
  const disk = smallDisk(1024 * 1024);
  if (disk === undefined) return;
  disk.fillInodes();
  await expect(lockDirectory(disk.dir, 'journal')).rejects.toMatchObject({
    code: 'JOURNAL_LOCK_FAILED',
    cause: { code: 'ENOSPC' },
  });
});
