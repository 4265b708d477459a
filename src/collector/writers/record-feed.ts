/**
 * What a writer still has to read of the journal, and what of it cannot be read. A damaged record,
 * or one whose series table is missing, is noted as a dead letter and passed over; how many samples
 * that cost shows in the running total of the next good record.
 */
import { errorMessage } from '../../lib/errors.ts';
import type { SeriesTable } from '../../domain/telemetry.ts';
import type { DamagedRecord, JournalRecord, LogReader } from '../../journal/log-reader.ts';
import { WeightedCache } from './weighted-cache.ts';
import type { DeadLetter, WriterLog, WriterRecord } from './writer.ts';

export interface RecordFeedDeps {
  readonly source: Pick<LogReader, 'read' | 'samplesUpTo'>;
  /** Throws where the table is missing or damaged. */
  readonly table: (id: string) => SeriesTable;
  readonly deadLetter: (letters: readonly DeadLetter[]) => void;
  readonly log: WriterLog;
}

/** Ids of tables known to be readable; about 100 bytes each. */
const KNOWN_TABLES = 100_000;

export class RecordFeed {
  readonly #deps: RecordFeedDeps;
  readonly #knownTables = new WeightedCache<true>(KNOWN_TABLES);
  #readSeq: number;
  #takenSeq: number;
  /** Samples up to the last good record before the next slice; unknown after a move. */
  #samplesBefore: number | undefined;
  /** Samples lost in front of a good record, by its seq, until the cursor passes it. */
  readonly #lost = new Map<number, number>();
  #notedSeq = 0;
  #damagedRecords = 0;
  #pending: readonly JournalRecord[] = [];

  constructor(deps: RecordFeedDeps, startCursor: number) {
    this.#deps = deps;
    this.#readSeq = startCursor;
    this.#takenSeq = startCursor;
  }

  /** The last record that was handed over and taken. */
  get takenSeq(): number {
    return this.#takenSeq;
  }

  /** Everything up to here is taken or passed over. */
  get readSeq(): number {
    return this.#readSeq;
  }

  /** Damaged records passed over so far. */
  get damagedRecords(): number {
    return this.#damagedRecords;
  }

  /**
   * The next records up to `durableSeq`; the same again until `taken` is called. A reader can see a
   * commit a moment before it is on disk, and what a power cut takes back must not be in a file.
   * Throws what the journal throws.
   */
  next(maxRecords: number, maxBytes: number, durableSeq: number): readonly WriterRecord[] {
    const slice = this.#deps.source.read(this.#readSeq, maxRecords, maxBytes);
    const damaged = slice.damaged.filter(({ seq }) => seq <= durableSeq);
    const durable = slice.records.filter(({ seq }) => seq <= durableSeq);
    const records = durable.filter((record) => {
      const why = this.#tableFault(record.tableId);
      if (why !== undefined) damaged.push({ seq: record.seq, why });
      return why === undefined;
    });
    this.#note(damaged.sort((a, b) => a.seq - b.seq));
    this.#countLost(records, durable, damaged);
    this.#pending = records;
    const lastDamaged = damaged.at(-1);
    if (records.length === 0 && lastDamaged !== undefined) {
      this.#readSeq = Math.max(this.#readSeq, lastDamaged.seq);
    }
    return records;
  }

  /** The writer has taken the records up to `seq`. */
  taken(seq: number): void {
    // A writer may say of earlier records that they are safe: that is no news here.
    if (seq > this.#takenSeq) {
      const last = this.#pending.findLast((record) => record.seq <= seq);
      this.#samplesBefore = last?.cumulativeSamples ?? this.#samplesBefore;
    }
    this.#readSeq = Math.max(this.#readSeq, seq);
    this.#takenSeq = Math.max(this.#takenSeq, seq);
  }

  /** Reads again from after `seq`, or skips ahead to it. */
  moveTo(seq: number): void {
    this.#readSeq = seq;
    this.#takenSeq = seq;
    this.#samplesBefore = undefined;
    this.#pending = [];
  }

  /**
   * When the first readable record after `seq` was received, Unix ms; 0 where that is unknown.
   * What is wrong with the journal shows when the record itself is read.
   */
  receivedAfter(seq: number): number {
    try {
      return this.#deps.source.read(seq, 1, 1).records[0]?.receivedAtMs ?? 0;
    } catch {
      return 0;
    }
  }

  /** Samples lost to damage up to `cursor`, each reported once. */
  lostUpTo(cursor: number): number {
    let samples = 0;
    for (const [seq, lost] of this.#lost) {
      if (seq > cursor) continue;
      samples += lost;
      this.#lost.delete(seq);
    }
    return samples;
  }

  #tableFault(id: string): string | undefined {
    if (this.#knownTables.find(id) === true) return undefined;
    try {
      this.#deps.table(id);
    } catch (error) {
      return errorMessage(error);
    }
    this.#knownTables.add(id, true, 1);
    return undefined;
  }

  #note(damaged: readonly DamagedRecord[]): void {
    const fresh = damaged.filter(({ seq }) => seq > this.#notedSeq);
    if (fresh.length === 0) return;
    this.#deps.deadLetter(
      fresh.map(({ seq, why }) => ({
        ...{ reason: `damaged journal record: ${why}`, status: 0, nodeId: '', line: '' },
        ...{ seq, samples: 0 },
      })),
    );
    for (const { seq, why } of fresh)
      this.#deps.log('error', 'journal record is damaged', { seq, why });
    this.#damagedRecords += fresh.length;
    this.#notedSeq = fresh.at(-1)!.seq;
  }

  /** Books what is missing before each good record to that record. */
  #countLost(
    records: readonly JournalRecord[],
    all: readonly JournalRecord[],
    damaged: readonly Pick<DamagedRecord, 'seq'>[],
  ): void {
    let before = this.#samplesBefore ?? this.#deps.source.samplesUpTo(this.#takenSeq);
    for (const record of records) {
      const total = record.cumulativeSamples - record.samples.values.length;
      // Without a total to start from, what can be counted is the records whose table is missing.
      const lost = before === undefined ? samplesOf(all, damaged, record.seq) : total - before;
      if (lost > 0) this.#lost.set(record.seq, lost);
      before = record.cumulativeSamples;
    }
  }
}

function samplesOf(
  all: readonly JournalRecord[],
  damaged: readonly Pick<DamagedRecord, 'seq'>[],
  beforeSeq: number,
): number {
  const seqs = new Set(damaged.map(({ seq }) => seq));
  let samples = 0;
  for (const record of all) {
    if (record.seq < beforeSeq && seqs.has(record.seq)) samples += record.samples.values.length;
  }
  return samples;
}
