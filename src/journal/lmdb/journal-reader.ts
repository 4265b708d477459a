/**
 * The journal as a writer's worker thread sees it: read-only, beside the main thread that appends.
 * Each call reads the latest commit and lets go of its snapshot before it returns; a snapshot that
 * stayed open would keep every page freed since from being used again.
 */
import type { Cursor } from './cursors.ts';
import { JournalEnvironment, readJson } from './environment.ts';
import { STATE_KEY, type StoredState } from './journal-state.ts';
import type { DamagedRecord, JournalRecord, JournalSlice, LogReader } from '../log-reader.ts';
import { decodeRecord, ORIGIN, readPosition } from './record.ts';

export class JournalReader implements LogReader {
  readonly #env: JournalEnvironment;
  #closing: Promise<void> | undefined;

  private constructor(env: JournalEnvironment) {
    this.#env = env;
  }

  /** Throws OperatingError where there is no journal or one of another format. */
  static open(dir: string): JournalReader {
    return new JournalReader(JournalEnvironment.openForReading(dir));
  }

  /**
   * The records after `afterSeq`: up to `maxRecords`, and no further once they hold `maxBytes`; at
   * least one where there is one. Empty at the head. The columns are copies and the caller's.
   */
  read(afterSeq: number, maxRecords: number, maxBytes: number): JournalSlice {
    const records: JournalRecord[] = [];
    const damaged: DamagedRecord[] = [];
    let seq = afterSeq;
    let bytes = 0;
    this.#env.refresh();
    try {
      while (records.length + damaged.length < maxRecords && bytes < maxBytes) {
        const next = this.#nextSeq(seq, seq === afterSeq);
        const value = next === undefined ? undefined : this.#env.logBytes(next);
        if (next === undefined || value === undefined) break;
        const record = decodeRecord(next, value);
        if ('why' in record) damaged.push(record);
        else records.push(record);
        bytes += value.length;
        seq = next;
      }
      return { records, damaged, lastSeq: seq };
    } finally {
      this.#env.refresh();
    }
  }

  /**
   * Samples of the journal up to and including the record `seq`; undefined where that record is
   * damaged, or gone and not the last one that is.
   */
  samplesUpTo(seq: number): number | undefined {
    if (seq === 0) return 0;
    return this.#fresh(() => {
      const bytes = this.#env.logBytes(seq);
      if (bytes !== undefined) return readPosition(seq, bytes)?.cumulativeSamples;
      const tail = readJson<StoredState>(this.#env.tables.meta, STATE_KEY)?.tail;
      return tail?.seq === seq ? tail.cumulativeSamples : undefined;
    });
  }

  /** A copy of the encoded series table; undefined where it is not stored. */
  table(id: string): Uint8Array | undefined {
    return this.#fresh(() => {
      const bytes = this.#env.tables.tables.getBinary(id);
      return bytes === undefined ? undefined : new Uint8Array(bytes);
    });
  }

  /** How often the journal has been opened for writing: whose it is now. */
  lease(): number {
    return this.#fresh(() => this.#env.storedLease());
  }

  /** The newest durable record; 0 before the first. */
  headSeq(): number {
    return this.#fresh(() => {
      return readJson<StoredState>(this.#env.tables.meta, STATE_KEY)?.head.seq ?? 0;
    });
  }

  /** The newest record that has been removed, with the sums up to it. */
  tail(): { readonly seq: number; readonly cumulativeSamples: number } {
    return this.#fresh(() => {
      return readJson<StoredState>(this.#env.tables.meta, STATE_KEY)?.tail ?? ORIGIN;
    });
  }

  /** The committed cursor of `writer`; 0 where it has none. */
  cursor(writer: string): number {
    return this.#fresh(() => readJson<Cursor>(this.#env.tables.cursors, writer)?.position.seq ?? 0);
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#env.close();
    return this.#closing;
  }

  /** Seqs have no holes, except that a reader behind the tail has to find the tail first. */
  #nextSeq(seq: number, first: boolean): number | undefined {
    if (!first) return seq + 1;
    for (const found of this.#env.tables.log.getKeys({ start: seq + 1, limit: 1 })) return found;
    return undefined;
  }

  #fresh<T>(read: () => T): T {
    this.#env.refresh();
    try {
      return read();
    } finally {
      this.#env.refresh();
    }
  }
}
