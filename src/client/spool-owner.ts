/**
 * Keeps two agents from using one spool directory: both would number their batches alike, and the
 * collector would take one agent's batches for repetitions of the other's.
 *
 * The mark is a file with the owner's process id and start time. A mark whose process is gone, or
 * whose id was given to a later process, is stale and is replaced.
 */
import fs from 'node:fs';
import path from 'node:path';
import { errorCode, errorMessage, OperatingError } from '../lib/errors.ts';

const MARK_FILE = 'owner';

/**
 * Takes the directory for this process; the returned function gives it back. Throws SPOOL_IN_USE.
 */
export function claimSpool(dir: string): () => void {
  const file = path.join(dir, MARK_FILE);
  const mark = `${process.pid} ${processStart(process.pid)}\n`;
  for (let tries = 0; tries < 2; tries += 1) {
    try {
      fs.writeFileSync(file, mark, { flag: 'wx', mode: 0o640 });
      return () => release(file, mark);
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') {
        throw new OperatingError(
          'SPOOL_UNUSABLE',
          `cannot use spool ${dir}: ${errorMessage(error)}`,
          { cause: error },
        );
      }
    }
    const owner = livingOwner(file);
    if (owner !== undefined) throw inUse(dir, owner);
    fs.rmSync(file, { force: true });
  }
  throw inUse(dir, 0);
}

function inUse(dir: string, pid: number): OperatingError {
  const who = pid === 0 ? 'another process' : `process ${pid}`;
  return new OperatingError(
    'SPOOL_IN_USE',
    `cannot use spool ${dir}: ${who} is using it; give each agent a --spool-dir of its own`,
  );
}

/** The process id in the mark where that very process is still there; otherwise undefined. */
function livingOwner(file: string): number | undefined {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  const [pidText = '', start = ''] = text.trim().split(' ');
  const pid = Number(pidText);
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  if (!isAlive(pid) || processStart(pid) !== start) return undefined;
  return pid;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === 'EPERM';
  }
}

/** When a process started, in the kernel's ticks; '-' where the system does not tell. */
function processStart(pid: number): string {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold spaces; the start time is the 20th field after it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '-';
  } catch {
    return '-';
  }
}

function release(file: string, mark: string): void {
  try {
    if (fs.readFileSync(file, 'utf8') === mark) fs.rmSync(file, { force: true });
  } catch {
    // Gone already: nothing is left to give back.
  }
}
