/**
 * One owner per directory. An owner keeps a listening socket inside the directory, as a file:
 *
 *     <dir>/.lock-<random>.sock
 *
 * A socket answers for as long as its process lives, also while that process is stopped, and
 * refuses from the moment it ends, however it ends. As it is a file of the directory, it is seen
 * from other network and mount namespaces, and only users who may write there can make one.
 *
 * Taking the directory is "show a flag, then look for others": each starter first makes a socket
 * with a name of its own and only then looks at the sockets of others. Of two that start at once,
 * at least one sees the other, so never both go on; where both gave way, they try again. A socket
 * that refuses has no owner, and its name never comes back, so any process may remove it.
 *
 * The directory must be on a file system of this machine: sockets do not reach another one.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { commandClock, sleep } from './clock.ts';
import { errorCode, errorMessage, OperatingError } from './errors.ts';

export interface DirectoryLock {
  /** False once the lock's file is gone: the directory was removed, replaced or emptied. */
  isHeld(): boolean;
  /** Idempotent. */
  release(): Promise<void>;
}

/** How often a starter that met another one tries again, and the longest wait in between. */
const TRIES = 4;
const WAIT_MAX_MS = 150;
/** What a socket address may hold everywhere, with the terminating zero: 104 bytes on macOS. */
const ADDRESS_BYTES_MAX = 103;
const LOCK_FILE = /^\.lock-[0-9a-f]{32}\.(?:sock|new)$/;

/**
 * Locks an existing directory for this process; `what` names it in messages, as in `journal`.
 * Throws OperatingError: `<WHAT>_LOCKED` where another process has it, `<WHAT>_LOCK_FAILED` with
 * its cause where the directory does not take the lock's file.
 */
export async function lockDirectory(dir: string, what: string): Promise<DirectoryLock> {
  const room = what.toUpperCase();
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    let lock: DirectoryLock | undefined;
    try {
      lock = process.platform === 'win32' ? await takePipe(dir) : await takeDirectory(dir);
    } catch (error) {
      const why = errorMessage(error);
      const message = `cannot lock ${what} ${dir}: ${why}`;
      throw new OperatingError(`${room}_LOCK_FAILED`, message, { cause: error });
    }
    if (lock !== undefined) return lock;
    if (attempt < TRIES) await sleep(commandClock, WAIT_MAX_MS * (randomBytes(1)[0]! / 255));
  }
  const message = `cannot open ${what} ${dir}: another process has it open`;
  throw new OperatingError(`${room}_LOCKED`, message);
}

/** Undefined if another process has the socket. */
async function takeDirectory(dir: string): Promise<DirectoryLock | undefined> {
  const name = `.lock-${randomBytes(16).toString('hex')}`;
  const flag = path.join(dir, `${name}.sock`);
  const server = await listen(dir, `${name}.new`);
  const lock: DirectoryLock = {
    isHeld: () => fs.existsSync(flag),
    async release() {
      fs.rmSync(flag, { force: true });
      await new Promise((released) => server.close(released));
    },
  };
  try {
    fs.chmodSync(path.join(dir, `${name}.new`), 0o600);
    // The name appears only now that the socket answers: one that does not is dead for good.
    fs.renameSync(path.join(dir, `${name}.new`), flag);
    if (!(await othersAnswer(dir, `${name}.sock`)) && lock.isHeld()) return lock;
  } catch (error) {
    await lock.release();
    // Another starter took the socket for a dead one in the moment before it listened.
    if (errorCode(error) === 'ENOENT' && fs.existsSync(dir)) return undefined;
    throw error;
  }
  await lock.release();
  return undefined;
}

/** Whether a living process has a socket here; removes those of dead ones. */
async function othersAnswer(dir: string, own: string): Promise<boolean> {
  for (const name of fs.readdirSync(dir)) {
    if (name === own || !LOCK_FILE.test(name)) continue;
    if (await answers(dir, name)) return true;
    fs.rmSync(path.join(dir, name), { force: true });
  }
  return false;
}

/** Whatever is not a clear refusal counts as an answer: better no start than two owners. */
function answers(dir: string, name: string): Promise<boolean> {
  const { address, done } = socketAddress(dir, name);
  return new Promise<boolean>((resolve) => {
    const socket = net.connect(address);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => {
      resolve(!['ECONNREFUSED', 'ENOENT'].includes(errorCode(error)));
    });
  }).finally(done);
}

function listen(dir: string, name: string): Promise<net.Server> {
  const { address, done } = socketAddress(dir, name);
  return listenAt(address).finally(done);
}

function listenAt(address: string): Promise<net.Server> {
  return new Promise((resolve, reject) => {
    const server = net.createServer((socket) => socket.destroy());
    server.once('error', reject);
    server.listen({ path: address, exclusive: true }, () => {
      server.unref();
      resolve(server);
    });
  });
}

/**
 * The address of a socket in `dir`. One that would be too long goes by way of an open descriptor
 * of the directory; `done` closes that.
 */
function socketAddress(dir: string, name: string): { address: string; done: () => void } {
  const address = path.join(dir, name);
  if (Buffer.byteLength(address) <= ADDRESS_BYTES_MAX) return { address, done: () => {} };
  if (process.platform !== 'linux') {
    throw new Error(`its path is too long for a socket, over ${ADDRESS_BYTES_MAX} bytes`);
  }
  const descriptor = fs.openSync(dir, 'r');
  return {
    address: `/proc/self/fd/${descriptor}/${name}`,
    done: () => fs.closeSync(descriptor),
  };
}

/** Windows: a named pipe after the directory, which the system takes back with its process. */
async function takePipe(dir: string): Promise<DirectoryLock | undefined> {
  const { dev, ino } = fs.statSync(dir, { bigint: true });
  try {
    const server = await listenAt(`\\\\.\\pipe\\telemetry-lock-${dev}-${ino}`);
    return {
      isHeld: () => fs.existsSync(dir),
      release: () => new Promise((released) => server.close(() => released())),
    };
  } catch (error) {
    if (['EADDRINUSE', 'EACCES'].includes(errorCode(error))) return undefined;
    throw error;
  }
}
