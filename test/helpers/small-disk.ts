/**
 * A file system of a few megabytes, to be filled up. Mounting one takes root; where that is missing
 * the test is skipped with the reason, which is an error in CI.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { onTestFinished } from 'vitest';
import { tempDir } from './temp-dir.ts';

export interface SmallDisk {
  readonly dir: string;
  freeBytes(): number;
  /** Takes all but `leaveBytes` of what is free. */
  fill(leaveBytes: number): void;
  /** Gives back what `fill` took. */
  empty(): void;
  /** Takes all inodes that are free: no file can be made any more. */
  fillInodes(): void;
  /** Gives back what `fillInodes` took. */
  emptyInodes(): void;
}

const INODES = 64;

/** Mounts a disk of `bytes` until the test ends; undefined where that is not possible. */
export function smallDisk(bytes: number): SmallDisk | undefined {
  const dir = tempDir();
  try {
    const options = ['-t', 'tmpfs', '-o', `size=${bytes},nr_inodes=${INODES}`, 'tmpfs', dir];
    execFileSync('mount', options, { stdio: 'pipe' });
  } catch (error) {
    const message = `cannot mount a small disk: ${error instanceof Error ? error.message : error}`;
    if (process.env.CI === 'true') throw new Error(message);
    process.stderr.write(`skipped: ${message}\n`);
    return undefined;
  }
  // Lazily: a test that failed may have left files open.
  onTestFinished(() => void execFileSync('umount', ['-l', dir]));
  const filler = path.join(dir, 'filler');
  const inodes = path.join(dir, 'inodes');
  const freeBytes = () => {
    const { bavail, bsize } = fs.statfsSync(dir);
    return bavail * bsize;
  };
  return {
    dir,
    freeBytes,
    fill(leaveBytes) {
      fs.appendFileSync(filler, Buffer.alloc(Math.max(0, freeBytes() - leaveBytes)));
    },
    empty: () => fs.rmSync(filler, { force: true }),
    fillInodes() {
      fs.mkdirSync(inodes);
      for (let free = fs.statfsSync(dir).ffree; free > 0; free -= 1) {
        fs.writeFileSync(path.join(inodes, String(free)), '');
      }
    },
    emptyInodes: () => fs.rmSync(inodes, { recursive: true }),
  };
}
