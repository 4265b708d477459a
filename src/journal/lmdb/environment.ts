/**
 * The LMDB environment and the one way to write to it: a list of writes that becomes one
 * transaction or nothing.
 *
 * - `overlappingSync` is off: a commit is then LMDB's own (pages, sync, meta page, sync), resolved
 *   only when it is on disk and invisible until then, so there is nothing half done to settle. With
 *   one transaction in flight it is also no slower. `eventTurnBatching` is off because its hidden
 *   promises surface as unhandled rejections when a commit fails.
 * - Each transaction is conditional on the lease in `meta`: opening takes a new one, so a daemon
 *   whose directory was opened by another can write no more (JOURNAL_TAKEN).
 * - After a failed commit the environment is tried with an empty transaction: where even that fails
 *   (LMDB could not restore a meta page), only a new process can go on, and `broken` says so.
 */
import fs from 'node:fs';
import path from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { assert, errorMessage, OperatingError } from '../../lib/errors.ts';
import { lmdbFileFlaw } from '../../lib/lmdb-file.ts';
import type { ProducerKey } from './producers.ts';

export const FORMAT_VERSION = 3;
/** Format 2 differs in the rows of producers only, which tell by themselves. */
const READABLE_FORMATS: readonly unknown[] = [2, FORMAT_VERSION];

const DATA_FILE = 'data.mdb';
const PAGE_BYTES = 4096;
const LEASE_KEY = 'lease';
const FORMAT_KEY = 'format';
const TIB = 2 ** 40;
const MAX_MAP_BYTES = 32 * TIB;
const MAX_KEY_BYTES = 1024;

export type JournalKey = number | string | ProducerKey;
export type Table<K extends JournalKey> = Database<Uint8Array, K>;

/** The named databases; docs/format/journal.md says what is in them. */
export interface JournalTables {
  readonly log: Table<number>;
  readonly tables: Table<string>;
  readonly producers: Table<ProducerKey>;
  readonly series: Table<number>;
  readonly cursors: Table<string>;
  readonly meta: Table<string>;
}

interface Write {
  readonly table: Database<Uint8Array, JournalKey>;
  readonly key: JournalKey;
  /** Undefined removes. */
  readonly value: Uint8Array | undefined;
}

/**
 * What one transaction is to write, checked before it begins: an exception inside would commit
 * half.
 */
export class WriteList {
  readonly writes: Write[] = [];
  bytes = 0;

  put<K extends JournalKey>(table: Table<K>, key: K, value: Uint8Array): void {
    checkKey(key);
    this.writes.push({ table: table as Database<Uint8Array, JournalKey>, key, value });
    this.bytes += value.length;
  }

  putJson<K extends JournalKey>(table: Table<K>, key: K, value: unknown): void {
    this.put(table, key, Buffer.from(JSON.stringify(value), 'utf8'));
  }

  remove<K extends JournalKey>(table: Table<K>, key: K): void {
    checkKey(key);
    this.writes.push({ table: table as Database<Uint8Array, JournalKey>, key, value: undefined });
  }
}

/** The LMDB environment of a journal and its tables; see the head of this file. */
export class JournalEnvironment {
  readonly dir: string;
  readonly tables: JournalTables;
  readonly #root: RootDatabase<Uint8Array, string>;
  #lease = 0;
  #brokenReason: string | undefined;

  private constructor(dir: string, root: RootDatabase<Uint8Array, string>) {
    this.dir = dir;
    this.#root = root;
    this.tables = openTables(dir, root);
  }

  /** Opens the directory for writing, creating what is missing. Throws OperatingError. */
  static openForWriting(dir: string, maxBytes: number): JournalEnvironment {
    const mapBytes = Math.min(MAX_MAP_BYTES, Math.max(TIB, 4 * maxBytes));
    return JournalEnvironment.#open(dir, mapBytes, false);
  }

  /**
   * Opens an existing journal for reading, beside a daemon or without one. Throws OperatingError.
   */
  static openForReading(dir: string): JournalEnvironment {
    if (!fs.existsSync(path.join(dir, DATA_FILE))) {
      throw new OperatingError('JOURNAL_MISSING', `cannot open journal ${dir}: there is none`);
    }
    return JournalEnvironment.#open(dir, TIB, true);
  }

  static #open(dir: string, mapSize: number, readOnly: boolean): JournalEnvironment {
    const flaw = lmdbFileFlaw(path.join(dir, DATA_FILE));
    if (flaw !== undefined) {
      throw new OperatingError('JOURNAL_DAMAGED', `cannot open journal ${dir}: ${flaw}`);
    }
    let root: RootDatabase<Uint8Array, string> | undefined;
    try {
      root = open<Uint8Array, string>({
        path: dir,
        mapSize,
        readOnly,
        maxDbs: 16,
        encoding: 'binary',
        pageSize: PAGE_BYTES,
        overlappingSync: false,
        eventTurnBatching: false,
      });
      const environment = new JournalEnvironment(dir, root);
      environment.#checkFormat();
      return environment;
    } catch (error) {
      void root?.close();
      if (error instanceof OperatingError) throw error;
      throw new OperatingError(
        'JOURNAL_UNAVAILABLE',
        `cannot open journal ${dir}: ${errorMessage(error)}`,
        { cause: error },
      );
    }
  }

  /** Why nothing can be written until the process restarts. */
  get brokenReason(): string | undefined {
    return this.#brokenReason;
  }

  /** How often the journal has been opened for writing, this time included. */
  get lease(): number {
    return this.#lease;
  }

  /** The lease on disk, of this process or another; 0 before the first. */
  storedLease(): number {
    return this.tables.meta.getEntry(LEASE_KEY)?.version ?? 0;
  }

  /** Bytes of the data file, free pages included. */
  get fileBytes(): number {
    return fs.statSync(path.join(this.dir, DATA_FILE)).size;
  }

  /** Takes over the directory: from now on no earlier opener can commit. */
  async takeLease(writes: WriteList): Promise<void> {
    const { meta } = this.tables;
    const lease = this.storedLease() + 1;
    writes.putJson(meta, FORMAT_KEY, FORMAT_VERSION);
    try {
      await this.#root.batch(() => {
        void meta.put(LEASE_KEY, Buffer.from([1]), lease);
        perform(writes);
      });
    } catch (error) {
      throw await this.#failure(error);
    }
    this.#lease = lease;
    this.refresh();
  }

  /** Makes all of `writes` durable, or none. Throws OperatingError, see `#failure`. */
  async commit(writes: WriteList): Promise<void> {
    this.#assertUsable();
    let leaseHolds: boolean;
    try {
      leaseHolds = await this.tables.meta.ifVersion(LEASE_KEY, this.#lease, () => perform(writes));
    } catch (error) {
      throw await this.#failure(error);
    }
    if (!leaseHolds) {
      this.#brokenReason = 'another daemon has taken the directory over';
      this.#assertUsable();
    }
  }

  /** Ends the snapshot that reads of this thread see; the next read sees the latest commit. */
  refresh(): void {
    this.#root.resetReadTxn();
  }

  /**
   * The bytes of a record, valid until the next read of this thread; undefined where there is none.
   */
  logBytes(seq: number): Uint8Array | undefined {
    const bytes = this.tables.log.getBinaryFast(seq);
    // LMDB's binding lends one long buffer whose `length` it overrides; a view makes it honest.
    return bytes && new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  lastLogSeq(): number | undefined {
    for (const seq of this.tables.log.getKeys({ reverse: true, limit: 1 })) return seq;
    return undefined;
  }

  /**
   * After a failed commit: the log must end where memory says. Should a commit that was reported as
   * failed be there after all, its batches would be taken twice; only a new opening can settle
   * that.
   */
  verifyLastSeq(headSeq: number, tailSeq: number): void {
    this.refresh();
    const found = this.lastLogSeq() ?? tailSeq;
    if (found === headSeq) return;
    this.#brokenReason ??= `the log ends at ${found}, should end at ${headSeq}`;
  }

  /** Pages used by `table`, in bytes. */
  usedBytes<K extends JournalKey>(table: Table<K>): number {
    const stats = table.getStats() as Record<string, number>;
    const pages = ['treeBranchPageCount', 'treeLeafPageCount', 'overflowPages'];
    return pages.reduce((sum, name) => sum + (stats[name] ?? 0), 0) * (stats.pageSize ?? 0);
  }

  entries<K extends JournalKey>(table: Table<K>): number {
    return (table.getStats() as { entryCount: number }).entryCount;
  }

  async close(): Promise<void> {
    await this.#root.close();
  }

  #checkFormat(): void {
    const found = readJson<number>(this.tables.meta, FORMAT_KEY);
    if (READABLE_FORMATS.includes(found)) return;
    if (found === undefined && this.lastLogSeq() === undefined) return;
    throw new OperatingError(
      'JOURNAL_FORMAT',
      `cannot open journal ${this.dir}: it has format ${found ?? 'unknown'}, this program knows ` +
        `${READABLE_FORMATS.join(' and ')}; drain it with the program that wrote it, or start with an empty directory`,
    );
  }

  #assertUsable(): void {
    if (this.#brokenReason === undefined) return;
    throw new OperatingError(
      'JOURNAL_UNAVAILABLE',
      `cannot write journal ${this.dir}: ${this.#brokenReason}`,
    );
  }

  /**
   * JOURNAL_FULL where the disk is full, else JOURNAL_UNAVAILABLE. LMDB reports a full disk as EIO
   * where the last write came out short, so the caller compares with the free space as well.
   */
  async #failure(error: unknown): Promise<OperatingError> {
    const cause = await commitError(error);
    const code = (cause as { code?: number }).code ?? 0;
    try {
      this.#root.transactionSync(() => {});
    } catch (unusable) {
      this.#brokenReason = `LMDB cannot go on after a failed commit (${errorMessage(unusable)})`;
    }
    return new OperatingError(
      FULL_CODES.includes(code) ? 'JOURNAL_FULL' : 'JOURNAL_UNAVAILABLE',
      `cannot write journal ${this.dir}: ${errorMessage(cause)}`,
      { cause },
    );
  }
}

const ENOSPC = 28;
const EDQUOT = 122;
const MDB_MAP_FULL = -30792;
const FULL_CODES: readonly number[] = [ENOSPC, EDQUOT, MDB_MAP_FULL];

/** The parsed value; undefined where there is none. */
export function readJson<T>(table: Table<string>, key: string): T | undefined {
  const value = table.getBinary(key);
  return value === undefined ? undefined : (JSON.parse(value.toString('utf8')) as T);
}

function openTables(dir: string, root: RootDatabase<Uint8Array, string>): JournalTables {
  const table = <K extends JournalKey>(name: string, useVersions = false): Table<K> => {
    const database = root.openDB<Uint8Array, K>({ name, encoding: 'binary', useVersions });
    // In a read-only environment a missing database comes back as undefined, whatever the types
    // say.
    if ((database as unknown) === undefined) {
      throw new OperatingError('JOURNAL_MISSING', `cannot open journal ${dir}: it has no ${name}`);
    }
    return database;
  };
  return {
    log: table('log'),
    tables: table('tables'),
    producers: table('producers'),
    series: table('series'),
    cursors: table('cursors'),
    meta: table('meta', true),
  };
}

function perform(list: WriteList): void {
  for (const { table, key, value } of list.writes) {
    if (value === undefined) void table.remove(key);
    else void table.put(key, value);
  }
}

function checkKey(key: JournalKey): void {
  for (const part of Array.isArray(key) ? key : [key]) {
    const usable = typeof part === 'string' ? part.length > 0 : Number.isFinite(part);
    assert(usable, `${String(part)} cannot be a key`);
  }
  if (typeof key !== 'number') {
    assert(Buffer.byteLength(String(key)) <= MAX_KEY_BYTES, 'key too long');
  }
}

/** A failed commit carries its cause as a promise that rejects. */
async function commitError(error: unknown): Promise<unknown> {
  try {
    await (error as { commitError?: Promise<never> }).commitError;
    return error;
  } catch (cause) {
    return cause;
  }
}
