/**
 * Checks a file before LMDB maps it: LMDB does not check, so a file that is not its own would end
 * the process with a segmentation fault instead of an error.
 */
import fs from 'node:fs';

/** Where the first page's meta record has LMDB's magic number, little-endian. */
const MAGIC_AT = 24;
const MAGIC = 0xbeefc0de;
/** The two pages with meta records; a page is at least this long. */
const LEAST_BYTES = 2 * 4096;

/**
 * Why the file cannot be an LMDB file; undefined where it looks like one, is empty or does not
 * exist.
 */
export function lmdbFileFlaw(file: string): string | undefined {
  if (!fs.existsSync(file)) return undefined;
  const { size } = fs.statSync(file);
  if (size === 0) return undefined;
  if (size < LEAST_BYTES) return `${file} is cut off after ${size} bytes`;
  const start = Buffer.alloc(MAGIC_AT + 4);
  const fd = fs.openSync(file, 'r');
  try {
    fs.readSync(fd, start, 0, start.length, 0);
  } finally {
    fs.closeSync(fd);
  }
  return start.readUInt32LE(MAGIC_AT) === MAGIC ? undefined : `${file} is no LMDB file`;
}
