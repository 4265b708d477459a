/**
 * The seam to files that must survive: what the warehouse and the dead letters do to a disk, as one
 * small interface with a faulty twin in the tests. Synchronous: its users live in worker threads.
 */
import fs from 'node:fs';
import { errorCode } from './errors.ts';

export interface WritableFile {
  /** Appends all of `bytes` or throws. */
  write(bytes: Uint8Array): void;
  /** Returns once what was written is on disk. */
  sync(): void;
  /** Whether the file is still at its path: false once it was renamed, replaced or removed. */
  isInPlace(): boolean;
  close(): void;
}

export interface DirectoryEntry {
  readonly name: string;
  readonly isDirectory: boolean;
}

export interface FileSystem {
  /** Creates the file or, with `append`, continues it. */
  openForWriting(path: string, options?: { append?: boolean }): WritableFile;
  readFile(path: string): Buffer;
  /**
   * `length` bytes from `offset`; fewer where the file ends before. They lie at the start of
   * `target` where there is one, which must have room for them.
   */
  readRange(path: string, offset: number, length: number, target?: Buffer): Buffer;
  fileBytes(path: string): number;
  /** Atomic within a file system. */
  rename(from: string, to: string): void;
  /** Makes created, renamed and removed names durable. */
  syncDirectory(path: string): void;
  makeDirectory(path: string): void;
  /** Sorted by name; [] where the directory does not exist. */
  list(path: string): DirectoryEntry[];
  /** Removes a file or a whole directory; nothing happens where there is none. */
  remove(path: string): void;
  /** Removes a directory that is empty; false where it is not, or where there is none. */
  removeEmptyDirectory(path: string): boolean;
  exists(path: string): boolean;
  /** Bytes that an unprivileged user may still write on the file system of `path`. */
  freeBytes(path: string): number;
}

export const nodeFileSystem: FileSystem = {
  openForWriting(path, options) {
    const fd = fs.openSync(path, options?.append === true ? 'a' : 'w', 0o640);
    return {
      write(bytes) {
        for (let offset = 0; offset < bytes.length; ) {
          offset += fs.writeSync(fd, bytes, offset, bytes.length - offset);
        }
      },
      sync: () => fs.fsyncSync(fd),
      isInPlace() {
        const now = fs.statSync(path, { throwIfNoEntry: false });
        const own = fs.fstatSync(fd);
        return now !== undefined && now.ino === own.ino && now.dev === own.dev;
      },
      close: () => fs.closeSync(fd),
    };
  },
  readFile: (path) => fs.readFileSync(path),
  readRange(path, offset, length, target) {
    const fd = fs.openSync(path, 'r');
    try {
      const bytes = target ?? Buffer.alloc(length);
      let filled = 0;
      while (filled < length) {
        const read = fs.readSync(fd, bytes, filled, length - filled, offset + filled);
        if (read === 0) break;
        filled += read;
      }
      return bytes.subarray(0, filled);
    } finally {
      fs.closeSync(fd);
    }
  },
  fileBytes: (path) => fs.statSync(path).size,
  rename: (from, to) => fs.renameSync(from, to),
  syncDirectory(path) {
    const fd = fs.openSync(path, 'r');
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
  makeDirectory(path) {
    fs.mkdirSync(path, { recursive: true, mode: 0o750 });
  },
  list(path) {
    if (!fs.existsSync(path)) return [];
    return fs
      .readdirSync(path, { withFileTypes: true })
      .map((entry) => ({ name: entry.name, isDirectory: entry.isDirectory() }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  },
  remove: (path) => fs.rmSync(path, { recursive: true, force: true }),
  removeEmptyDirectory(path) {
    try {
      fs.rmdirSync(path);
      return true;
    } catch (error) {
      if (['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(errorCode(error))) return false;
      throw error;
    }
  },
  exists: (path) => fs.existsSync(path),
  freeBytes(path) {
    const { bavail, bsize } = fs.statfsSync(path);
    return bavail * bsize;
  },
};
