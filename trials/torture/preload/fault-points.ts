/**
 * Loaded into the daemon before anything else (`node --import`), in its main thread and in every
 * writer thread: makes the process end, or an operation fail, at a named point. The daemon itself
 * knows nothing of it. What to do is read from a control file, so it can change while the daemon
 * runs:
 *
 *     [{ "id": 7, "point": "warehouse.rename.after", "nth": 2, "action": "kill", "delayUs": 0 }]
 *
 * Points of files are `<kind of file>.<operation>.<before|after>`, points of the journal
 * `journal.<append|cursor-WRITER|trim|lease|other>.<held|before|started|after>`. Actions: `kill`;
 * `exit`, which ends a writer's thread; `stop`, which holds the process still; `EIO`, `ENOSPC` and
 * `EROFS`; `lie`: a commit that is made and reported as failed; `panic`, once, inside the QUIC
 * stack at `transport.run`. At `held` a commit is put off for the order's delay while everything
 * else goes on, then comes the kill. Other orders strike at every occurrence from the nth on. At
 * `clock` the action is the number of milliseconds by which the daemon's wall clock is wrong.
 */
import fs from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { JournalEnvironment, type WriteList } from '../../../src/journal/lmdb/environment.ts';
import { sleep, systemClock } from '../../../src/lib/clock.ts';
import { OperatingError } from '../../../src/lib/errors.ts';
import { QuinnModule } from '../../../src/transport/quinn/quinn-module.ts';

interface Order {
  readonly id: number;
  readonly point: string;
  readonly nth: number;
  readonly action: string;
  readonly delayUs: number;
}

const CONTROL_AGE_MS = 3;
const WRITER_EXIT = 7;
const CLOCK_POINT = 'clock';
/** Actions after which an operation goes on. */
const HARMLESS = new Set(['lie', 'stop']);

const real = {
  readFileSync: fs.readFileSync,
  openSync: fs.openSync,
  writeSync: fs.writeSync,
  fsyncSync: fs.fsyncSync,
  renameSync: fs.renameSync,
  rmSync: fs.rmSync,
};

class FaultPoints {
  readonly #controlPath: string;
  #orders: readonly Order[] = [];
  #text = '';
  #readMs = -1000;
  /** By order: how often its point has been reached. */
  readonly #hits = new Map<number, number>();

  constructor(controlPath: string) {
    this.#controlPath = controlPath;
  }

  /** The order that is due at this occurrence of `point`; kills at once where that is the order. */
  at(point: string): Order | undefined {
    const order = this.due(point);
    if (order?.action === 'kill') this.kill(order);
    if (order?.action === 'exit') this.endThread(order);
    if (order?.action === 'stop') process.kill(process.pid, 'SIGSTOP');
    return order;
  }

  /** As `at`, but leaves the killing to the caller. */
  due(point: string): Order | undefined {
    this.#refresh();
    return this.#orders.find((order) => {
      if (!isMatch(order.point, point)) return false;
      const hits = (this.#hits.get(order.id) ?? 0) + 1;
      this.#hits.set(order.id, hits);
      return hits >= order.nth;
    });
  }

  kill({ delayUs }: Order): never {
    spin(delayUs);
    process.kill(process.pid, 'SIGKILL');
    throw new Error('killed');
  }

  /** Ends this thread alone, which must be a writer's. */
  endThread(order: Order): never {
    spin(order.delayUs);
    process.exit(WRITER_EXIT);
  }

  /** Throws as the file system would where that is the order. */
  fail(point: string): void {
    const action = this.at(point)?.action;
    if (action !== undefined && !HARMLESS.has(action)) throw diskError(action, point);
  }

  /** By how much the wall clock is wrong. */
  get clockErrorMs(): number {
    this.#refresh();
    const order = this.#orders.find(({ point }) => point === CLOCK_POINT);
    return order === undefined ? 0 : Number(order.action);
  }

  #refresh(): void {
    const nowMs = systemClock.monotonicMs();
    if (nowMs - this.#readMs < CONTROL_AGE_MS) return;
    this.#readMs = nowMs;
    const text = real.readFileSync(this.#controlPath, { encoding: 'utf8' });
    if (text === this.#text) return;
    this.#text = text;
    this.#orders = JSON.parse(text) as Order[];
  }
}

function diskError(code: string, point: string): Error {
  const errno = { EIO: -5, ENOSPC: -28, EROFS: -30 }[code] ?? -5;
  return Object.assign(new Error(`${code}: injected at ${point}`), { code, errno });
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
      const order = points.due(`${kind}.write`);
      if (order !== undefined) {
        real.writeSync(fd, bytes, offset, length >> 1);
        if (order.action === 'kill') points.kill(order);
        if (order.action === 'exit') points.endThread(order);
        throw diskError(order.action, `${kind}.write`);
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

/** What a transaction is for; several things where a cursor makes room for a trim. */
function purposesOf(env: JournalEnvironment, { writes }: WriteList): string[] {
  const { log, cursors } = env.tables as unknown as Record<string, unknown>;
  const purposes = new Set<string>();
  for (const { table, key, value } of writes) {
    if ((table as unknown) === log) purposes.add(value === undefined ? 'trim' : 'append');
    if ((table as unknown) === cursors) purposes.add(`cursor-${String(key)}`);
  }
  return purposes.size > 0 ? [...purposes] : ['other'];
}

function patchJournal(points: FaultPoints): void {
  const { commit, takeLease } = JournalEnvironment.prototype;
  const wrapped = async (
    env: JournalEnvironment,
    purposes: readonly string[],
    work: () => Promise<void>,
  ): Promise<void> => {
    for (const purpose of purposes) {
      const order = points.due(`journal.${purpose}.held`);
      if (order !== undefined) await heldUntilKilled(points, order);
    }
    for (const purpose of purposes) failCommit(points, `journal.${purpose}.before`);
    const done = work();
    // The work of LMDB's own thread is under way, or about to be.
    for (const purpose of purposes) points.at(`journal.${purpose}.started`);
    await done;
    for (const purpose of purposes) {
      const point = `journal.${purpose}.after`;
      if (points.at(point)?.action === 'lie') throw unavailable(env, point);
    }
  };
  JournalEnvironment.prototype.commit = function (writes) {
    return wrapped(this, purposesOf(this, writes), () => commit.call(this, writes));
  };
  JournalEnvironment.prototype.takeLease = function (writes) {
    return wrapped(this, ['lease'], () => takeLease.call(this, writes));
  };
}

/** A disk that takes its time, and a process that does not live to see the end of it. */
async function heldUntilKilled(points: FaultPoints, order: Order): Promise<never> {
  await sleep(systemClock, order.delayUs / 1000);
  return points.kill({ ...order, delayUs: 0 });
}

/** A real panic: the module is asked for more input than it has. Once for an order. */
function patchTransport(points: FaultPoints): void {
  const { run } = QuinnModule.prototype;
  const done = new Set<number>();
  QuinnModule.prototype.run = function (length) {
    const order = points.at('transport.run');
    if (order?.action === 'panic' && !done.has(order.id)) {
      done.add(order.id);
      this.calls.credentials_add(0, 1 << 30);
    }
    return run.call(this, length);
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
  const realNow = Date.now;
  Date.now = () => realNow() + points.clockErrorMs;
  if (isMainThread) {
    patchJournal(points);
    patchTransport(points);
  }
}
