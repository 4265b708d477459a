/**
 * A spool's directory: who owns it, which files it holds, and where what is damaged goes. Nothing
 * that holds data is ever removed here because it cannot be understood.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Logger } from 'pino';
import { type DirectoryLock, lockDirectory } from '../lib/directory-lock.ts';
import { errorCode, errorMessage, OperatingError } from '../lib/errors.ts';
import { type SegmentScan, type SpoolRecord, scanSegment } from './spool-format.ts';
import { SpoolSegment, segmentNumber } from './spool-segment.ts';

/** The largest file that is read: many times the size at which a file counts as full. */
const FILE_BYTES_MAX = 64 * 1024 * 1024;
/** How many damaged files are kept for inspection; beyond that the oldest is removed. */
const DAMAGED_FILES_MAX = 8;
const DAMAGED_DIR = 'damaged';
/** What an agent before version 0.2 kept its batches in. */
const OLD_FILE = 'spool.lmdb';

export interface FoundSegment {
  readonly segment: SpoolSegment;
  readonly records: readonly SpoolRecord[];
}

export interface FoundSpool {
  /** Oldest first. */
  readonly segments: readonly FoundSegment[];
  /** Of the newest file; 0 where there is none. */
  readonly lastNumber: number;
  /** Files with damage. */
  readonly damages: number;
  /** The caller releases it. */
  readonly lock: DirectoryLock;
}

/**
 * Takes the directory for this process, reads what is in it, and tells what is damaged. Rejects
 * with SPOOL_LOCKED, SPOOL_LOCK_FAILED, SPOOL_UNUSABLE or SPOOL_OF_OTHER_NODE, and leaves the
 * directory as it was.
 */
export async function openSpoolDirectory(
  dir: string,
  nodeId: string,
  logger: Logger,
): Promise<FoundSpool> {
  const lock = await takeDirectory(dir);
  try {
    const files = readFiles(dir);
    for (const { scan } of files) requireNode(dir, nodeId, scan);
    if (fs.existsSync(path.join(dir, OLD_FILE))) putAsideOldFormat(dir, logger);
    return { ...settleFiles(dir, files, logger), lock };
  } catch (error) {
    await lock.release();
    if (error instanceof OperatingError) throw error;
    throw unusable(dir, error);
  }
}

/** Whether opening failed for want of room on the disk, which may come back. */
export function isWithoutRoom(error: unknown): boolean {
  return error instanceof OperatingError && ['ENOSPC', 'EDQUOT'].includes(errorCode(error.cause));
}

/** Moves a file into `damaged/`, and removes the oldest one there where there are too many. */
export function keepAside(dir: string, file: string, logger: Logger): void {
  const target = path.join(dir, DAMAGED_DIR);
  fs.mkdirSync(target, { recursive: true, mode: 0o750 });
  // Numbered in the order in which they came here, since a file's own number can come again.
  const kept = fs.readdirSync(target).sort();
  for (const oldest of kept.slice(0, Math.max(0, kept.length - DAMAGED_FILES_MAX + 1))) {
    fs.rmSync(path.join(target, oldest), { force: true });
  }
  const next = (Number.parseInt(kept.at(-1) ?? '', 10) || 0) + 1;
  const name = `${String(next).padStart(6, '0')}-${path.basename(file)}`;
  fs.renameSync(file, path.join(target, name));
  logger.warn({ file: path.join(target, name) }, 'kept a damaged file of the spool aside');
}

interface ReadFile {
  readonly file: string;
  readonly number: number;
  readonly bytes: number;
  /** Undefined where the file could not be read; `why` says why. */
  readonly scan: SegmentScan | undefined;
  readonly why: string;
}

async function takeDirectory(dir: string): Promise<DirectoryLock> {
  try {
    fs.mkdirSync(dir, { recursive: true, mode: 0o750 });
  } catch (error) {
    throw unusable(dir, error);
  }
  return lockDirectory(dir, 'spool');
}

function readFiles(dir: string): ReadFile[] {
  const files: ReadFile[] = [];
  for (const name of fs.readdirSync(dir).sort()) {
    const number = segmentNumber(name);
    if (number !== undefined) files.push(readOne(path.join(dir, name), number));
  }
  return files;
}

function readOne(file: string, number: number): ReadFile {
  try {
    const { size } = fs.statSync(file);
    if (size > FILE_BYTES_MAX) {
      return { file, number, bytes: size, scan: undefined, why: `it has ${size} bytes` };
    }
    const bytes = fs.readFileSync(file);
    return { file, number, bytes: bytes.length, scan: scanSegment(bytes), why: '' };
  } catch (error) {
    return { file, number, bytes: 0, scan: undefined, why: errorMessage(error) };
  }
}

function settleFiles(
  dir: string,
  files: readonly ReadFile[],
  logger: Logger,
): Omit<FoundSpool, 'lock'> {
  const segments: FoundSegment[] = [];
  let damages = 0;
  for (const { file, number, bytes, scan, why } of files) {
    const { records = [], damagedBytes = bytes, tornBytes = 0 } = scan ?? {};
    const isDamaged = scan === undefined || damagedBytes > 0;
    if (tornBytes > 0) {
      logger.warn({ file, tornBytes }, 'the last batch of a spool file was not written to its end');
    }
    if (isDamaged) {
      damages += 1;
      const fields = { file, damagedBytes, readable: records.length, ...(why && { why }) };
      logger.error(fields, 'a file of the spool is damaged; what can be read of it is sent');
    }
    if (isDamaged && records.length === 0) keepAside(dir, file, logger);
    else
      segments.push({ segment: SpoolSegment.found(file, number, { bytes, isDamaged }), records });
  }
  return { segments, damages, lastNumber: files.at(-1)?.number ?? 0 };
}

function putAsideOldFormat(dir: string, logger: Logger): void {
  for (const name of [OLD_FILE, `${OLD_FILE}-lock`]) {
    const file = path.join(dir, name);
    if (fs.existsSync(file)) keepAside(dir, file, logger);
  }
  logger.error(
    { file: OLD_FILE },
    'the spool holds batches in the format of an older agent, which this one cannot read; ' +
      'they are kept in damaged/ and not sent. To send them, run the older agent on that file once',
  );
}

function requireNode(dir: string, nodeId: string, scan: SegmentScan | undefined): void {
  const found = scan?.nodeId;
  if (found === undefined || found === nodeId) return;
  const name = (id: string) => (id === '' ? 'the certificate’s first identity' : `node ${id}`);
  throw new OperatingError(
    'SPOOL_OF_OTHER_NODE',
    `cannot open spool ${dir}: it holds batches of ${name(found)}, not of ${name(nodeId)}; ` +
      'give each node a --spool-dir of its own',
  );
}

function unusable(dir: string, why: unknown): OperatingError {
  return new OperatingError(
    'SPOOL_UNUSABLE',
    `cannot open spool ${dir}: ${errorMessage(why)}; to start with an empty one, move it away`,
    { cause: why },
  );
}
