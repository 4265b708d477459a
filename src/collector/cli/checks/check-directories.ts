/**
 * Whether the daemon will be able to write to its directories. Changes nothing: a directory that
 * does not exist is judged by its nearest parent that does.
 */
import fs from 'node:fs';
import path from 'node:path';
import { withByteUnit } from '../../../config/describe-config.ts';
import {
  deadLetterDir,
  feedSocketPath,
  journalDir,
  stagingDir,
  warehouseDir,
} from '../../../config/paths.ts';
import type { Config } from '../../../config/schema.ts';
import { errorCode } from '../../../lib/errors.ts';
import { nodeFileSystem } from '../../../lib/filesystem.ts';
import { type Check, CheckList } from './check.ts';

/** All checks of the directories that follow from the configuration. */
export function checkDirectories(config: Config): Check[] {
  const list = new CheckList('directories');
  const journalKey = config.journal.dir === '' ? 'parquet.output_dir' : 'journal.dir';
  const journal = journalDir(config);
  if (checkWritable(list, journalKey, journal)) checkSpace(list, journal, config.journal);
  checkWritable(list, journalKey, deadLetterDir(config));
  if (config.feed.enabled) checkSocket(list, feedSocketPath(config));
  if (config.parquet.enabled) {
    const warehouse = checkWritable(list, 'parquet.output_dir', warehouseDir(config));
    const staging = checkWritable(list, 'parquet.output_dir', stagingDir(config));
    if (warehouse && staging) checkSameFileSystem(list, config);
  }
  return list.entries;
}

/** The feed replaces a socket that an earlier process left, and nothing else. */
function checkSocket(list: CheckList, socketPath: string): void {
  const key = 'feed.socket_path';
  const there = fs.statSync(socketPath, { throwIfNoEntry: false });
  if (there === undefined || there.isSocket()) {
    checkWritable(list, key, path.dirname(socketPath));
    return;
  }
  const hint = `remove it, or point ${key} elsewhere`;
  list.fail(key, `${socketPath} is there already and is no socket`, hint);
}

function checkWritable(list: CheckList, key: string, directory: string): boolean {
  const existing = nearestExisting(directory);
  const obstacle = whyNotWritable(directory, existing);
  if (obstacle === undefined) {
    const state = existing === directory ? 'exists and can be written' : 'can be created';
    list.ok(key, `${directory}: ${state}`);
    return true;
  }
  // Several directories may fail for the same reason; it is printed once.
  if (!list.entries.some((entry) => entry.message === obstacle)) {
    const hint = `give the user of the daemon a directory there, or point ${key} elsewhere`;
    list.fail(key, obstacle, hint);
  }
  return false;
}

function whyNotWritable(directory: string, existing: string): string | undefined {
  if (!fs.statSync(existing).isDirectory()) {
    return `${existing} is a file, but must be a directory`;
  }
  try {
    fs.accessSync(existing, fs.constants.W_OK | fs.constants.X_OK);
    return undefined;
  } catch (error) {
    const what = existing === directory ? 'write to' : 'create a directory in';
    return `cannot ${what} ${existing}: ${errorCode(error)}`;
  }
}

function nearestExisting(directory: string): string {
  let existing = path.resolve(directory);
  while (!fs.existsSync(existing)) existing = path.dirname(existing);
  return existing;
}

function checkSpace(list: CheckList, directory: string, journal: Config['journal']): void {
  const freeBytes = nodeFileSystem.freeBytes(nearestExisting(directory));
  const free = `${directory}: ${inGib(freeBytes)} free`;
  if (freeBytes < journal.min_free_bytes) {
    const needed = withByteUnit(journal.min_free_bytes);
    const hint = 'free some space; until then agents are throttled';
    list.fail('journal.min_free_bytes', `${free}, less than min_free_bytes, ${needed}`, hint);
  } else if (freeBytes - journal.min_free_bytes < journal.max_bytes) {
    const wanted = withByteUnit(journal.max_bytes);
    const hint = 'lower journal.max_bytes or use a larger disk: the disk ends before the journal';
    list.warn('journal.max_bytes', `${free}, too little for max_bytes, ${wanted}`, hint);
  } else {
    list.ok('journal.max_bytes', `${free}, enough for max_bytes`);
  }
}

function inGib(bytes: number): string {
  return `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
}

function checkSameFileSystem(list: CheckList, config: Config): void {
  const [warehouse, staging] = [warehouseDir(config), stagingDir(config)].map(
    (directory) => fs.statSync(nearestExisting(directory)).dev,
  );
  if (warehouse === staging) return;
  const message = `${warehouseDir(config)} and ${stagingDir(config)} are on different file systems`;
  const hint = 'mount parquet.output_dir as a whole, so that finished files can be renamed';
  list.fail('parquet.output_dir', message, hint);
}
