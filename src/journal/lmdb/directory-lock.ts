/**
 * One daemon per journal directory. The lock is a listening socket that has a name but no file (an
 * abstract socket on Linux, a named pipe on Windows): the kernel gives it to one process only and
 * takes it back when that process ends, however it ends. Elsewhere it is a socket file in the
 * temporary directory, and a dead one is recognised by refusing connections.
 *
 * It refuses a second daemon with a clear message. Two containers with network namespaces of their
 * own and one directory do not see each other's lock; there, the lease that every transaction
 * checks (environment.ts) stops the older daemon.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { errorCode, OperatingError } from '../../lib/errors.ts';

export interface DirectoryLock {
  /** Idempotent. */
  release(): Promise<void>;
}

/** Locks an existing directory; throws OperatingError JOURNAL_LOCKED where somebody else has it. */
export async function lockDirectory(dir: string): Promise<DirectoryLock> {
  const { dev, ino } = fs.statSync(dir, { bigint: true });
  const address = lockAddress(`${dev}:${ino}:${fs.realpathSync(dir)}`);
  try {
    return await listen(address);
  } catch (error) {
    if (errorCode(error) !== 'EADDRINUSE') throw lockFailure(dir, error);
  }
  if (!address.startsWith(os.tmpdir()) || (await answers(address))) {
    throw new OperatingError(
      'JOURNAL_LOCKED',
      `cannot open journal ${dir}: another daemon on this machine has it open`,
    );
  }
  fs.rmSync(address, { force: true });
  return listen(address).catch((error) => {
    throw lockFailure(dir, error);
  });
}

function lockAddress(identity: string): string {
  const name = `telemetry-collector-${createHash('sha256').update(identity).digest('hex').slice(0, 32)}`;
  if (process.platform === 'linux') return `\0${name}`;
  if (process.platform === 'win32') return `\\\\.\\pipe\\${name}`;
  return path.join(os.tmpdir(), `${name}.sock`);
}

function listen(address: string): Promise<DirectoryLock> {
  return new Promise((resolve, reject) => {
    const server = net.createServer((socket) => socket.destroy());
    server.once('error', reject);
    server.listen({ path: address, exclusive: true }, () => {
      server.unref();
      resolve({
        release: () => new Promise((released) => server.close(() => released())),
      });
    });
  });
}

function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(address);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function lockFailure(dir: string, cause: unknown): OperatingError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new OperatingError('JOURNAL_LOCKED', `cannot lock journal ${dir}: ${why}`, { cause });
}
