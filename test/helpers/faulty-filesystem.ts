/**
 * The file system's faulty twin: real files, but every operation is counted, one of them can fail,
 * the process can "die" at one of them, and a power cut can take back whatever was not synced.
 */
import path from 'node:path';
import { type FileSystem, nodeFileSystem, type WritableFile } from '../../src/lib/filesystem.ts';

/** Thrown by every operation from the crash on: nothing the dead process does has any effect. */
export class CrashError extends Error {
  readonly code = 'CRASHED';
}

export interface Fault {
  /** The operation that fails, counted from 0. */
  readonly at: number;
  /**
   * `crash_before` and `crash_after`: the process dies just before or after the operation.
   * `torn_write`: as crash, after half of a write. Otherwise an error code, once.
   */
  readonly kind: 'crash_before' | 'crash_after' | 'torn_write' | 'ENOSPC' | 'EIO';
}

interface UnsyncedName {
  readonly directory: string;
  readonly undo: () => void;
}

export interface FaultyFileSystem extends FileSystem {
  /** Names of the operations so far that change something, e.g. `rename /a -> /b`. */
  readonly operations: readonly string[];
  /** After a crash: the next process finds the disk as the last one left it, caches and all. */
  restart(): void;
  /** Takes back names and bytes that no sync made durable, as a power cut may. */
  cutPower(): void;
}

/** Counts operations that change the disk; reading never fails before a crash. */
export function faultyFileSystem(fault?: Fault): FaultyFileSystem {
  const real = nodeFileSystem;
  const operations: string[] = [];
  let isDead = false;
  let unsyncedNames: UnsyncedName[] = [];
  const syncedBytes = new Map<string, number>();

  function alive(): void {
    if (isDead) throw new CrashError('the process has crashed');
  }

  function change<T>(name: string, apply: () => T, applyHalf: () => void = () => {}): T {
    alive();
    const isHit = fault !== undefined && operations.length === fault.at;
    operations.push(name);
    if (!isHit) return apply();
    if (fault.kind === 'ENOSPC' || fault.kind === 'EIO') {
      applyHalf();
      throw Object.assign(new Error(`${fault.kind}: ${name}`), { code: fault.kind });
    }
    if (fault.kind === 'torn_write') applyHalf();
    if (fault.kind === 'crash_after') apply();
    isDead = true;
    throw new CrashError(`crashed at ${name}`);
  }

  function openForWriting(filePath: string, options?: { append?: boolean }): WritableFile {
    const file = change(`open ${filePath}`, () => real.openForWriting(filePath, options));
    if (options?.append !== true) syncedBytes.set(filePath, 0);
    return {
      write: (bytes) =>
        change(
          `write ${filePath}`,
          () => file.write(bytes),
          () => file.write(bytes.subarray(0, bytes.length >> 1)),
        ),
      sync: () =>
        change(`sync ${filePath}`, () => {
          file.sync();
          syncedBytes.set(filePath, real.fileBytes(filePath));
        }),
      isInPlace: () => {
        alive();
        return file.isInPlace();
      },
      close: () => (isDead ? file.close() : change(`close ${filePath}`, () => file.close())),
    };
  }

  function rename(from: string, to: string): void {
    change(`rename ${from} -> ${to}`, () => {
      real.rename(from, to);
      const bytes = syncedBytes.get(from);
      syncedBytes.delete(from);
      if (bytes !== undefined) syncedBytes.set(to, bytes);
      const undo = () => real.remove(to);
      unsyncedNames.push({ directory: path.dirname(to), undo });
    });
  }

  function makeDirectory(directory: string): void {
    change(`mkdir ${directory}`, () => {
      let created = directory;
      while (!real.exists(created)) {
        const name = created;
        unsyncedNames.push({ directory: path.dirname(name), undo: () => real.remove(name) });
        created = path.dirname(created);
      }
      real.makeDirectory(directory);
    });
  }

  function reading<A extends unknown[], R>(apply: (...args: A) => R): (...args: A) => R {
    return (...args) => {
      alive();
      return apply(...args);
    };
  }

  return {
    operations,
    openForWriting,
    rename,
    makeDirectory,
    readFile: reading(real.readFile),
    readRange: reading(real.readRange),
    fileBytes: reading(real.fileBytes),
    list: reading(real.list),
    exists: reading(real.exists),
    freeBytes: reading(real.freeBytes),
    syncDirectory(directory) {
      change(`sync directory ${directory}`, () => {
        real.syncDirectory(directory);
        unsyncedNames = unsyncedNames.filter((name) => name.directory !== directory);
      });
    },
    remove: (target) => change(`remove ${target}`, () => real.remove(target)),
    removeEmptyDirectory: (target) =>
      change(`remove directory ${target}`, () => real.removeEmptyDirectory(target)),
    restart() {
      isDead = false;
    },
    cutPower() {
      isDead = true;
      for (const { undo } of unsyncedNames.toReversed()) undo();
      for (const [filePath, bytes] of syncedBytes) {
        if (!real.exists(filePath) || real.fileBytes(filePath) === bytes) continue;
        const kept = real.readRange(filePath, 0, bytes);
        const file = real.openForWriting(filePath);
        file.write(kept);
        file.close();
      }
    },
  };
}
