/**
 * Two small disks of their own, for the journal and for the warehouse: ext4 in files, mounted
 * through loop devices, which takes root. They can be filled, made read-only and lose power.
 *
 * Power: what the daemon has synced lies in the file behind the disk, what it has only written lies
 * in the kernel's cache for that disk. A copy of the file is what a machine finds after the power
 * went.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { sleep, systemClock } from '../../src/lib/clock.ts';
import { errorMessage } from '../../src/lib/errors.ts';

export interface Disk {
  readonly dir: string;
  readonly image: string;
}

/** Background writing is put off, so that it does not do the daemon's syncing for it. */
const MOUNT_OPTIONS = 'loop,commit=300';
const UNMOUNT_DEADLINE_MS = 10_000;

export class Disks {
  readonly journal: Disk;
  readonly warehouse: Disk;
  #busy: Promise<unknown> = Promise.resolve();

  private constructor(journal: Disk, warehouse: Disk) {
    this.journal = journal;
    this.warehouse = warehouse;
  }

  /** Mounts them under `dir`; the reason where that cannot be done. */
  static mount(dir: string): Disks | { readonly why: string } {
    const disk = (name: string) => ({
      dir: path.join(dir, name),
      image: path.join(dir, `${name}.img`),
    });
    const disks = new Disks(disk('journal-disk'), disk('warehouse-disk'));
    try {
      make(disks.journal, 96);
      make(disks.warehouse, 384);
      return disks;
    } catch (error) {
      disks.unmount();
      return { why: `cannot mount disks of its own: ${errorMessage(error).split('\n')[0]}` };
    }
  }

  /** Whether the directory is one of a disk. */
  get all(): readonly Disk[] {
    return [this.journal, this.warehouse];
  }

  /** Faults of disks one after another. */
  exclusive<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#busy.then(work);
    this.#busy = done.catch(() => {});
    return done;
  }

  freeBytes({ dir }: Disk): number {
    const { bavail, bsize } = fs.statfsSync(dir);
    return bavail * bsize;
  }

  /** Takes all but `leaveBytes` of what is free. */
  fill(disk: Disk, leaveBytes: number): void {
    const bytes = Math.max(0, this.freeBytes(disk) - leaveBytes);
    try {
      execFileSync('fallocate', ['-l', String(Math.max(1, bytes)), fillerOf(disk)], {
        stdio: 'ignore',
      });
    } catch (error) {
      // What the daemon took meanwhile is missing: the disk is as full as it can be.
      if (this.freeBytes(disk) > Math.max(0, leaveBytes)) throw error;
    }
  }

  empty(disk: Disk): void {
    fs.rmSync(fillerOf(disk), { force: true });
  }

  /** Only while nothing is open on it for writing. */
  setReadOnly({ dir }: Disk, isReadOnly: boolean): void {
    execFileSync('mount', ['-o', `remount,${isReadOnly ? 'ro' : 'rw'}`, dir], { stdio: 'pipe' });
  }

  /** What the harness itself has put there survives the next power cut. */
  sync(): void {
    for (const { dir } of this.all) execFileSync('sync', ['-f', dir], { stdio: 'pipe' });
  }

  /** The moment of the power cut: nothing may be writing. */
  keepWhatIsSynced(): void {
    for (const { image } of this.all) {
      execFileSync('cp', ['--sparse=always', image, `${image}.cut`], { stdio: 'pipe' });
    }
  }

  /**
   * Back to that moment. Nothing of the run may be open on the disks; what another program of the
   * machine looks at there, as `find` and `du` do, is waited for.
   */
  async loseTheRest(): Promise<void> {
    for (const disk of this.all) {
      await unmountSoon(disk.dir);
      fs.renameSync(`${disk.image}.cut`, disk.image);
      attach(disk);
      // Its removal may not have been synced, and it is none of the daemon's files.
      this.empty(disk);
    }
  }

  /** Lazily: whatever failed may have left files open. Never throws. */
  unmount(): void {
    for (const { dir } of this.all) {
      try {
        if (fs.existsSync(dir)) execFileSync('umount', ['-l', dir], { stdio: 'pipe' });
      } catch {
        // Was not mounted.
      }
    }
  }
}

function make(disk: Disk, megabytes: number): void {
  fs.mkdirSync(disk.dir, { recursive: true });
  fs.closeSync(fs.openSync(disk.image, 'w'));
  fs.truncateSync(disk.image, megabytes * 1024 * 1024);
  execFileSync('mkfs.ext4', ['-q', '-F', '-m', '0', disk.image], { stdio: 'pipe' });
  attach(disk);
}

function attach({ image, dir }: Disk): void {
  execFileSync('mount', ['-o', MOUNT_OPTIONS, image, dir], { stdio: 'pipe' });
}

async function unmountSoon(dir: string): Promise<void> {
  const giveUpAtMs = systemClock.monotonicMs() + UNMOUNT_DEADLINE_MS;
  for (;;) {
    try {
      execFileSync('umount', [dir], { stdio: 'pipe' });
      return;
    } catch (error) {
      if (systemClock.monotonicMs() < giveUpAtMs) {
        await sleep(systemClock, 20);
        continue;
      }
      const users = usersOf(dir).join(', ');
      throw new Error(`${errorMessage(error).trim()}; in use by ${users}`, { cause: error });
    }
  }
}

/** Processes with something open, mapped or at work in `dir`, each with its command and a file. */
function usersOf(dir: string): string[] {
  const users: string[] = [];
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const file = filesOf(pid).find((name) => name.startsWith(dir));
    if (file !== undefined) users.push(`${pid} (${readText(`/proc/${pid}/comm`)}: ${file})`);
  }
  return users;
}

function filesOf(pid: string): string[] {
  const links = ['cwd', 'root', ...namesIn(`/proc/${pid}/fd`).map((name) => `fd/${name}`)];
  const mapped = readText(`/proc/${pid}/maps`).match(/\/.*$/gm) ?? [];
  return [...links.map((link) => targetOf(`/proc/${pid}/${link}`)), ...mapped];
}

/** Processes end while they are looked at; the same for the next two. */
function namesIn(dir: string): string[] {
  try {
    return fs.readdirSync(dir);
  } catch {
    return [];
  }
}

function targetOf(link: string): string {
  try {
    return fs.readlinkSync(link);
  } catch {
    return '';
  }
}

function readText(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8').trim();
  } catch {
    return '';
  }
}

function fillerOf({ dir }: Disk): string {
  return path.join(dir, 'filler');
}
