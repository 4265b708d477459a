/**
 * Loaded into the daemon before anything else (`node --import`), in its main thread and in every
 * writer thread: makes the process end, or an operation fail, at a named point. The daemon itself
 * knows nothing of it. What to do is read from a control file, so it can change while the daemon
 * runs:
 *
 *     { "id": 7, "point": "warehouse.rename.after", "nth": 2, "action": "kill", "delayUs": 0 }
 *
 * Points of files are `<kind of file>.<operation>.<before|after>`, points of the journal
 * `journal.<append|cursor|trim|lease|other>.<before|started|after>`. Actions: `kill`; `EIO`,
 * `ENOSPC` and `EROFS`, at every occurrence from the nth on; `lie`: a commit that is made and
 * reported as failed.
 */
import fs from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { JournalEnvironment, type WriteList } from '../../src/journal/environment.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { OperatingError } from '../../src/lib/errors.ts';

interface Control {
  readonly id?: number;
  readonly point?: string;
  readonly nth?: number;
  readonly action?: string;
  readonly delayUs?: number;
}

const CONTROL_AGE_MS = 3;

const real = {
  readFileSync: fs.readFileSync,
  writeFileSync: fs.writeFileSync,
  openSync: fs.openSync,
  closeSync: fs.closeSync,
  writeSync: fs.writeSync,
  fsyncSync: fs.fsyncSync,
  renameSync: fs.renameSync,
  rmSync: fs.rmSync,
};

class FaultPoints {
  readonly #controlPath: string;
  #control: Control = {};
  #readMs = -1000;
  #hits = 0;

  constructor(controlPath: string) {
    this.#controlPath = controlPath;
  }

  /** What to do at this occurrence of `point`; kills at once where that is the order. */
  at(point: string): string | undefined {
    const action = this.#due(point);
    if (action === 'kill') this.kill(point);
    return action;
  }

  /** As `at`, but leaves the killing to the caller. */
  due(point: string): string | undefined {
    return this.#due(point);
  }

  kill(point: string): never {
    const { delayUs = 0 } = this.#control;
    real.writeFileSync(`${this.#controlPath}.hit`, point);
    spin(delayUs);
    process.kill(process.pid, 'SIGKILL');
    throw new Error('killed');
  }

  /** Throws as the file system would where that is the order. */
  fail(point: string): void {
    const action = this.at(point);
    if (action === undefined || action === 'lie') return;
    real.writeFileSync(`${this.#controlPath}.hit`, point);
    const errno = { EIO: -5, ENOSPC: -28, EROFS: -30 }[action] ?? -5;
    throw Object.assign(new Error(`${action}: injected at ${point}`), { code: action, errno });
  }

  #due(point: string): string | undefined {
    this.#refresh();
    const { point: wanted, nth = 1, action } = this.#control;
    if (wanted === undefined || !isMatch(wanted, point)) return undefined;
    this.#hits += 1;
    return this.#hits >= nth ? action : undefined;
  }

  #refresh(): void {
    const nowMs = systemClock.monotonicMs();
    if (nowMs - this.#readMs < CONTROL_AGE_MS) return;
    this.#readMs = nowMs;
    try {
      const control = JSON.parse(
        real.readFileSync(this.#controlPath, { encoding: 'utf8' }),
      ) as Control;
      if (control.id !== this.#control.id) this.#hits = 0;
      this.#control = control;
    } catch {
      // Being replaced just now: the old order stands.
    }
  }
}

/** `*` stands for anything. */
function isMatch(wanted: string, point: string): boolean {
  return wanted.split('|').some((one) => {
    if (!one.includes('*')) return one === point;
    const [head = '', tail = ''] = one.split('*');
    return point.startsWith(head) && point.endsWith(tail);
  });
}

/** Keeps this thread from going on while others do. */
function spin(us: number): void {
  const endMs = systemClock.monotonicMs() + us / 1000;
  while (systemClock.monotonicMs() < endMs);
}

function kindOf(filePath: string): string | undefined {
  if (filePath.includes('/.staging')) return 'staging';
  if (filePath.includes('/dead-letter')) return 'dead-letter';
  if (filePath.includes('/metrics/') || filePath.endsWith('/metrics')) return 'warehouse';
  return undefined;
}

function patchFiles(points: FaultPoints): void {
  const kinds = new Map<number, string>();
  fs.openSync = (filePath, flags, mode) => {
    const kind = kindOf(String(filePath));
    if (kind !== undefined && flags !== 'r') points.fail(`${kind}.open.before`);
    const fd = real.openSync(filePath, flags, mode);
    if (kind === undefined) kinds.delete(fd);
    else kinds.set(fd, kind);
    return fd;
  };
  const writeSync = (fd: number, bytes: Uint8Array, offset: number, length: number) => {
    const kind = kinds.get(fd);
    if (kind !== undefined) {
      const action = points.due(`${kind}.write`);
      if (action !== undefined) {
        real.writeSync(fd, bytes, offset, length >> 1);
        if (action === 'kill') points.kill(`${kind}.write`);
        points.fail(`${kind}.write`);
      }
    }
    return real.writeSync(fd, bytes, offset, length);
  };
  fs.writeSync = writeSync as unknown as typeof fs.writeSync;
  fs.fsyncSync = (fd) => {
    const kind = kinds.get(fd);
    if (kind !== undefined) points.fail(`${kind}.sync.before`);
    real.fsyncSync(fd);
    if (kind !== undefined) points.fail(`${kind}.sync.after`);
  };
  fs.renameSync = (from, to) => {
    points.fail('warehouse.rename.before');
    real.renameSync(from, to);
    points.fail('warehouse.rename.after');
  };
  fs.rmSync = (target, options) => {
    const kind = kindOf(String(target));
    if (kind !== undefined) points.fail(`${kind}.remove.before`);
    real.rmSync(target, options);
  };
}

/** What a transaction is for. One that removes records moves no head. */
function purposeOf(env: JournalEnvironment, { writes }: WriteList): string {
  const { log, cursors } = env.tables as unknown as Record<string, unknown>;
  let purpose = 'other';
  for (const { table, value } of writes) {
    if ((table as unknown) === log) return value === undefined ? 'trim' : 'append';
    if ((table as unknown) === cursors) purpose = 'cursor';
  }
  return purpose;
}

function patchJournal(points: FaultPoints): void {
  const { commit, takeLease } = JournalEnvironment.prototype;
  const wrapped = async (
    env: JournalEnvironment,
    name: string,
    work: () => Promise<void>,
  ): Promise<void> => {
    failCommit(points, `${name}.before`);
    const done = work();
    // The work of LMDB's own thread is under way, or about to be.
    points.at(`${name}.started`);
    await done;
    if (points.at(`${name}.after`) === 'lie') throw unavailable(env, `${name}.after`);
  };
  JournalEnvironment.prototype.commit = function (writes) {
    const name = `journal.${purposeOf(this, writes)}`;
    return wrapped(this, name, () => commit.call(this, writes));
  };
  JournalEnvironment.prototype.takeLease = function (writes) {
    return wrapped(this, 'journal.lease', () => takeLease.call(this, writes));
  };
}

function failCommit(points: FaultPoints, point: string): void {
  try {
    points.fail(point);
  } catch (error) {
    throw new OperatingError('JOURNAL_UNAVAILABLE', `cannot write journal: ${String(error)}`);
  }
}

function unavailable(env: JournalEnvironment, point: string): OperatingError {
  const why = `cannot write journal ${env.dir}: EIO injected at ${point}`;
  return new OperatingError('JOURNAL_UNAVAILABLE', why);
}

const controlPath = new URL(import.meta.url).searchParams.get('control');
if (controlPath !== null) {
  const points = new FaultPoints(controlPath);
  patchFiles(points);
  if (isMainThread) patchJournal(points);
}
