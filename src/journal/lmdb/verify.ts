/**
 * Whether a journal is what it should be, read from outside and beside a running daemon: every
 * record, and everything that refers to records.
 *
 * Records are read in slices, each from the latest commit, so that no page is held for long; what
 * the daemon removes meanwhile is passed over. State and cursors are those of one moment, the
 * start.
 */
import { createHash } from 'node:crypto';
import type { Cursor } from './cursors.ts';
import { diskBytes } from './disk-budget.ts';
import { JournalEnvironment, readJson } from './environment.ts';
import { loadCursors, STATE_KEY, type StoredState } from './journal-state.ts';
import type { ProducerWindow } from './producer-window.ts';
import { decodeProducer, keyOf } from './producers.ts';
import type { JournalRecord } from '../log-reader.ts';
import { decodeRecord, type Position, readPosition } from './record.ts';
import { SeriesLog } from './series-log.ts';

const SLICE_RECORDS = 256;
const FAULTS_TOLD_MAX = 100;

export interface JournalFault {
  /** `record 17`, `table 3f…`, `cursor influxdb`, `producer gpu-001/5`, `series row 3`, `log`. */
  readonly where: string;
  readonly what: string;
}

export interface JournalVerification {
  readonly records: number;
  readonly samples: number;
  readonly tables: number;
  readonly producers: number;
  readonly cursors: number;
  readonly faults: number;
  /** The first hundred of them. */
  readonly told: readonly JournalFault[];
}

export interface VerifyOptions {
  /** How many series an encoded table holds; throws where it is no table. */
  readonly seriesCount: (table: Uint8Array) => number;
  /** Called after each slice with the last seq looked at; the next one waits for it. */
  readonly onSlice?: (seq: number) => void | Promise<void>;
}

/** Throws OperatingError where the journal cannot be opened at all. */
export async function verifyJournal(
  dir: string,
  options: VerifyOptions,
): Promise<JournalVerification> {
  const env = JournalEnvironment.openForReading(dir);
  try {
    return await new Verification(env, options).run();
  } finally {
    await env.close();
  }
}

class Verification {
  readonly #env: JournalEnvironment;
  readonly #seriesCount: VerifyOptions['seriesCount'];
  readonly #onSlice: (seq: number) => void | Promise<void>;
  readonly #told: JournalFault[] = [];
  #faults = 0;
  #records = 0;
  #samples = 0;
  #producers = 0;
  /** The record before, where it is known. */
  #before: Position | undefined;
  /** By id: its series, or undefined where it was found wanting. */
  readonly #tables = new Map<string, { series: number; bytes: number } | undefined>();
  /** By node and epoch, the sequences in the log. */
  readonly #sequences = new Map<string, Set<number>>();

  constructor(env: JournalEnvironment, { seriesCount, onSlice }: VerifyOptions) {
    this.#env = env;
    this.#seriesCount = seriesCount;
    this.#onSlice = onSlice ?? (() => {});
  }

  async run(): Promise<JournalVerification> {
    this.#env.refresh();
    const state = this.#readState();
    const cursors = loadCursors(this.#env);
    const lastSeq = this.#env.lastLogSeq() ?? state.tail.seq;
    if (lastSeq !== state.head.seq) {
      this.#fault('log', `ends at ${lastSeq}, should end at ${state.head.seq}`);
    }
    for (const [writer, cursor] of cursors) this.#checkCursor(writer, cursor, state);
    await this.#checkRecords(state);
    this.#checkProducers();
    for (const { key, why } of new SeriesLog(this.#env.tables.series).damaged) {
      this.#fault(`series row ${key}`, why);
    }
    const { size: tables } = this.#tables;
    return {
      ...{ records: this.#records, samples: this.#samples, tables, cursors: cursors.size },
      ...{ producers: this.#producers, faults: this.#faults, told: this.#told },
    };
  }

  #fault(where: string, what: string): void {
    this.#faults += 1;
    if (this.#told.length < FAULTS_TOLD_MAX) this.#told.push({ where, what });
  }

  #readState(): StoredState {
    return readJson<StoredState>(this.#env.tables.meta, STATE_KEY)!;
  }

  async #checkRecords({ head, tail }: StoredState): Promise<void> {
    this.#before = tail;
    for (let seq = tail.seq + 1; seq <= head.seq; ) {
      this.#env.refresh();
      const end = Math.min(head.seq, seq + SLICE_RECORDS - 1);
      while (seq <= end) seq = this.#checkRecord(seq);
      await this.#onSlice(seq - 1);
    }
    const last = this.#before;
    if (last?.seq !== head.seq) return;
    for (const what of ['cumulativeSamples', 'cumulativeBytes'] as const) {
      if (last[what] !== head[what]) {
        this.#fault(
          'log',
          `${what} is ${last[what]} in the last record, ${head[what]} in the books`,
        );
      }
    }
  }

  /** Returns the next seq to look at. */
  #checkRecord(seq: number): number {
    const bytes = this.#env.logBytes(seq);
    if (bytes === undefined) return this.#skipMissing(seq);
    this.#records += 1;
    const position = readPosition(seq, bytes);
    const length = bytes.length;
    const record = decodeRecord(seq, bytes);
    if ('why' in record || position === undefined) {
      this.#fault(`record ${seq}`, 'why' in record ? record.why : 'no position');
      this.#before = undefined;
      return seq + 1;
    }
    this.#samples += record.samples.values.length;
    const table = this.#table(record.tableId, `record ${seq}`);
    this.#checkPosition(record, position, length, table?.bytes);
    this.#checkIndexes(record, table?.series);
    this.#checkWindow(record);
    this.#before = position;
    return seq + 1;
  }

  /** Removed by the daemon since the start, or never there. */
  #skipMissing(seq: number): number {
    this.#env.refresh();
    const { tail } = this.#readState();
    if (tail.seq >= seq) {
      this.#before = tail;
      return tail.seq + 1;
    }
    this.#fault(`record ${seq}`, 'missing');
    this.#before = undefined;
    return seq + 1;
  }

  #checkPosition(
    record: JournalRecord,
    position: Position,
    length: number,
    tableBytes: number | undefined,
  ): void {
    if (this.#before === undefined) return;
    const where = `record ${record.seq}`;
    const samples = position.cumulativeSamples - this.#before.cumulativeSamples;
    if (samples !== record.samples.values.length) {
      const { length: own } = record.samples.values;
      this.#fault(where, `the running total of samples rises by ${samples}, it has ${own}`);
    }
    const bytes = position.cumulativeBytes - this.#before.cumulativeBytes;
    const alone = diskBytes(length);
    // The first record that uses a table pays for it.
    if (bytes === alone || bytes === alone + diskBytes(tableBytes ?? -1)) return;
    this.#fault(where, `the running total of bytes rises by ${bytes}, it takes ${alone}`);
  }

  #table(id: string, where: string): { series: number; bytes: number } | undefined {
    if (this.#tables.has(id)) return this.#tables.get(id);
    const bytes = this.#env.tables.tables.getBinary(id);
    let known: { series: number; bytes: number } | undefined;
    if (bytes === undefined) this.#fault(`table ${id}`, `missing, ${where} needs it`);
    else if (createHash('sha256').update(bytes).digest('hex').slice(0, id.length) !== id) {
      this.#fault(`table ${id}`, 'its bytes are not those of its id');
    } else {
      try {
        known = { series: this.#seriesCount(bytes), bytes: bytes.length };
      } catch (error) {
        this.#fault(`table ${id}`, error instanceof Error ? error.message : String(error));
      }
    }
    this.#tables.set(id, known);
    return known;
  }

  #checkIndexes({ seq, samples }: JournalRecord, series: number | undefined): void {
    if (series === undefined) return;
    const beyond = samples.series.find((index) => index >= series);
    if (beyond === undefined) return;
    this.#fault(`record ${seq}`, `points to series ${beyond} of a table of ${series}`);
  }

  /** The duplicate filter must know what the log holds, but for epochs that it has forgotten. */
  #checkWindow({ seq, nodeId, epoch, sequence }: JournalRecord): void {
    if (sequence === 0) return;
    const name = `${nodeId}/${epoch}`;
    const seen = this.#sequences.get(name) ?? new Set();
    this.#sequences.set(name, seen);
    if (seen.has(sequence)) this.#fault(`record ${seq}`, `holds ${name}/${sequence} again`);
    seen.add(sequence);
    const window = this.#window(nodeId, epoch);
    if (window === undefined || window.state(sequence) !== 'new') return;
    this.#fault(`record ${seq}`, `the duplicate filter does not know ${name}/${sequence}`);
  }

  #window(nodeId: string, epoch: number): ProducerWindow | undefined {
    const value = this.#env.tables.producers.getBinary(keyOf(nodeId, epoch));
    return value === undefined ? undefined : decodeProducer(value).window;
  }

  #checkProducers(): void {
    this.#env.refresh();
    for (const { key, value } of this.#env.tables.producers.getRange()) {
      this.#producers += 1;
      const where = `producer ${key.join('/')}`;
      try {
        const { nodeId, epoch, window } = decodeProducer(value);
        const [node, ownEpoch] = keyOf(nodeId, epoch);
        if (node !== key[0] || ownEpoch !== key[1]) {
          this.#fault(where, `is a row of ${nodeId}/${epoch}`);
        }
        if (window.flaw !== undefined) this.#fault(where, window.flaw);
      } catch {
        this.#fault(where, `cannot be read: ${value.length} bytes`);
      }
    }
  }

  #checkCursor(writer: string, cursor: Cursor, { head, tail }: StoredState): void {
    const where = `cursor ${writer}`;
    const { position, written, deadLettered, skipped, requeued } = cursor;
    if (position.seq < tail.seq || position.seq > head.seq) {
      this.#fault(where, `is at ${position.seq}, outside ${tail.seq} to ${head.seq}`);
      return;
    }
    const passed = skipped + written + deadLettered - requeued;
    if (passed !== position.cumulativeSamples) {
      this.#fault(where, `accounts for ${passed} of ${position.cumulativeSamples} samples`);
    }
    const expected = position.seq === tail.seq ? tail : this.#positionAt(position.seq);
    if (expected !== undefined && expected.cumulativeSamples !== position.cumulativeSamples) {
      const { cumulativeSamples } = position;
      const own = expected.cumulativeSamples;
      this.#fault(where, `${cumulativeSamples} samples lie before it, by the record itself ${own}`);
    }
  }

  #positionAt(seq: number): Position | undefined {
    const bytes = this.#env.logBytes(seq);
    return bytes === undefined ? undefined : readPosition(seq, bytes);
  }
}
