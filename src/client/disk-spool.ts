/**
 * A spool that outlives the agent: batches lie in LMDB with their epoch and sequence, so that after
 * a crash they are sent again under the same numbers and the collector recognises what it has.
 *
 *     batches:  sequence → sample count (4 bytes, big-endian), then the frame as it is sent
 *     state:    'format', 'epoch', 'nodeId', 'lastSequence'
 *
 * A batch and `lastSequence` are one transaction, and a batch counts as stored once it is flushed:
 * a number that went out and was then forgotten would be given to other samples after a power cut,
 * and the collector would drop those as a duplicate. Removals need no flush; a batch that comes
 * back after a crash is answered DUPLICATE.
 */
import fs from 'node:fs';
import path from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { errorMessage, OperatingError } from '../lib/errors.ts';
import { lmdbFileFlaw } from '../lib/lmdb-file.ts';
import { type Spool, SpoolBudget, type SpooledBatch } from './spool.ts';
import { claimSpool } from './spool-owner.ts';

const FORMAT = 1;
const HEADER_BYTES = 4;

export interface DiskSpoolOptions {
  readonly dir: string;
  readonly maxBytes: number;
  /** For a directory that holds no epoch yet. */
  readonly newEpoch: number;
  /** As in every batch; a directory belongs to one node. */
  readonly nodeId: string;
}

type StateKey = 'format' | 'epoch' | 'nodeId' | 'lastSequence';

export class DiskSpool implements Spool {
  readonly epoch: number;
  readonly nextSequence: number;
  readonly recovered: readonly SpooledBatch[];
  readonly isPersistent = true;
  readonly #root: RootDatabase;
  readonly #batches: Database<Buffer, number>;
  readonly #state: Database<number | string, StateKey>;
  readonly #budget: SpoolBudget;
  readonly #release: () => void;
  #isClosed = false;

  /**
   * Creates the directory where there is none. Rejects with SPOOL_IN_USE, SPOOL_UNUSABLE or
   * SPOOL_OF_OTHER_NODE, and leaves the directory as it was.
   */
  static async open(options: DiskSpoolOptions): Promise<DiskSpool> {
    const release = claimDirectory(options.dir);
    let root: RootDatabase | undefined;
    try {
      root = openEnvironment(options.dir);
      return new DiskSpool(root, options, release);
    } catch (error) {
      await root?.close();
      release();
      if (error instanceof OperatingError) throw error;
      throw unusable(options.dir, error);
    }
  }

  private constructor(root: RootDatabase, options: DiskSpoolOptions, release: () => void) {
    this.#root = root;
    this.#release = release;
    this.#budget = new SpoolBudget(options.maxBytes);
    this.#batches = root.openDB({ name: 'batches', encoding: 'binary' });
    this.#state = root.openDB({ name: 'state', encoding: 'json' });
    this.epoch = this.#initialize(options);
    this.recovered = this.#readIndex();
    const last = Number(this.#state.get('lastSequence') ?? 0);
    this.nextSequence = Math.max(last, this.recovered.at(-1)?.sequence ?? 0) + 1;
  }

  get usedBytes(): number {
    return this.#budget.usedBytes;
  }

  hasRoomFor(frameBytes: number): boolean {
    return this.#budget.hasRoomFor(frameBytes);
  }

  put(batch: SpooledBatch, frame: Uint8Array): Promise<void> {
    const value = Buffer.allocUnsafe(HEADER_BYTES + frame.length);
    value.writeUInt32BE(batch.sampleCount, 0);
    value.set(frame, HEADER_BYTES);
    this.#budget.add(frame.length);
    return this.#store(batch, value);
  }

  frame(sequence: number): Uint8Array | undefined {
    return this.#batches.get(sequence)?.subarray(HEADER_BYTES);
  }

  remove(batch: SpooledBatch): void {
    this.#budget.subtract(batch.bytes);
    // Where the removal fails the batch is sent once more after a restart and found a duplicate.
    this.#batches.remove(batch.sequence).catch(() => {});
  }

  /** Waits until everything is on disk. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      await this.#root.flushed;
      await this.#root.close();
    } finally {
      this.#release();
    }
  }

  async #store(batch: SpooledBatch, value: Buffer): Promise<void> {
    try {
      await this.#root.transaction(() => {
        // Inside a transaction these only queue; the transaction's own promise reports failure.
        void this.#batches.put(batch.sequence, value);
        void this.#state.put('lastSequence', batch.sequence);
      });
      await this.#root.flushed;
    } catch (error) {
      this.#budget.subtract(batch.bytes);
      throw new OperatingError(
        'SPOOL_UNUSABLE',
        `cannot store batch ${batch.sequence}: ${errorMessage(error)}`,
        { cause: error },
      );
    }
  }

  /** Settles what the directory is, and returns its epoch. */
  #initialize(options: DiskSpoolOptions): number {
    const format = this.#state.get('format');
    if (format === undefined) {
      this.#root.transactionSync(() => {
        this.#state.putSync('format', FORMAT);
        this.#state.putSync('epoch', options.newEpoch);
        this.#state.putSync('nodeId', options.nodeId);
      });
      return options.newEpoch;
    }
    if (format !== FORMAT) {
      throw unusable(options.dir, `its format is ${format} and this agent knows ${FORMAT}`);
    }
    const nodeId = this.#state.get('nodeId');
    if (nodeId !== options.nodeId) throw otherNode(options, String(nodeId));
    return Number(this.#state.get('epoch'));
  }

  #readIndex(): SpooledBatch[] {
    const index: SpooledBatch[] = [];
    for (const { key: sequence, value } of this.#batches.getRange()) {
      const bytes = value.length - HEADER_BYTES;
      this.#budget.add(bytes);
      index.push({ sequence, bytes, sampleCount: value.readUInt32BE(0) });
    }
    return index;
  }
}

function claimDirectory(dir: string): () => void {
  try {
    fs.mkdirSync(dir, { recursive: true, mode: 0o750 });
  } catch (error) {
    throw unusable(dir, error);
  }
  return claimSpool(dir);
}

function openEnvironment(dir: string): RootDatabase {
  const file = path.join(dir, 'spool.lmdb');
  const flaw = lmdbFileFlaw(file);
  if (flaw !== undefined) throw unusable(dir, flaw);
  return open({ path: file, noSubdir: true, maxDbs: 4, compression: false });
}

function unusable(dir: string, why: unknown): OperatingError {
  return new OperatingError(
    'SPOOL_UNUSABLE',
    `cannot open spool ${dir}: ${errorMessage(why)}; to start with an empty one, move it away`,
    { cause: why },
  );
}

function otherNode(options: DiskSpoolOptions, nodeId: string): OperatingError {
  const name = (id: string) => (id === '' ? 'the certificate’s first identity' : `node ${id}`);
  return new OperatingError(
    'SPOOL_OF_OTHER_NODE',
    `cannot open spool ${options.dir}: it holds batches of ${name(nodeId)}, not of ` +
      `${name(options.nodeId)}; give each node a --spool-dir of its own`,
  );
}
