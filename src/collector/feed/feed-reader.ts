/**
 * One reader of the feed, as the collector sees it.
 *
 *     connected ──Start──► following ──► ended: a closing word, or the socket is gone
 *
 * The journal is the queue. A reader has a place in it, and its next slice is read when the socket
 * has taken the one before; so a slow reader costs one slice of memory, and a stopped one holds up
 * nobody. It falls out when the journal has let go of its next record, or when its socket has taken
 * nothing for too long. What is not a record (status, published files) goes out before the next
 * slice; of the status only the newest.
 */
import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { encodeFrame, FrameSplitter } from '../../codec/framing.ts';
import { decodeStart, encodeCollectorMessage } from '../../feed/feed-codec.ts';
import {
  type ClosingWord,
  FEED_VERSION,
  MAX_READER_FRAME_BYTES,
} from '../../feed/feed-contract.ts';
import type { JournalRecord, LogReader } from '../../journal/log-reader.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import { WakeUp } from '../../lib/wake-up.ts';
import { SentTables } from './sent-tables.ts';
import { type FeedPlace, goneMessage, startSeq } from './start-seq.ts';

/** One slice of the journal: small, so that readers take turns and a frame is soon whole. */
const SLICE_RECORDS = 1024;
const SLICE_BYTES = 256 * 1024;
/** Something pokes a reader whenever there is work; this is for what nobody foresaw. */
const IDLE_WAIT_MS = 1000;
const START_TIMEOUT_MS = 10_000;
/** How long the closing word may take to leave. */
const LINGER_MS = 1000;
/** Published files that wait for a reader; the warehouse grows by a few in an hour. */
const WAITING_FRAMES_MAX = 256;
const NAME_CHARACTERS_MAX = 64;

/** The journal, as far as the feed asks it. */
export type FeedJournal = Pick<LogReader, 'read' | 'table' | 'tail' | 'samplesUpTo'>;

/** What all readers share. */
export interface FeedState extends Omit<FeedPlace, 'tailSeq'> {
  readonly collectorId: string;
  readonly sharedUpTo: number;
  /** The newest status, framed. */
  readonly status: Uint8Array | undefined;
}

export interface FeedReaderDeps {
  readonly clock: Clock;
  readonly journal: FeedJournal;
  readonly state: FeedState;
  readonly maxQueueBytes: number;
  readonly stallMs: number;
  /** It asks for nothing more: what it was, and why it ended. */
  readonly onEnded: (word: ClosingWord | 'left', message: string) => void;
}

export class FeedReader {
  readonly #deps: FeedReaderDeps;
  readonly #socket: Socket;
  readonly #wakeUp: WakeUp;
  readonly #splitter = new FrameSplitter(MAX_READER_FRAME_BYTES);
  readonly #tables = new SentTables();
  readonly #connectedMs: number;
  #waiting: Uint8Array[] = [];
  #sentStatus: Uint8Array | undefined;
  #isFollowing = false;
  #isEnded = false;
  #name = '';
  #seq = 0;
  /** Samples of the journal up to `#seq`; undefined where nothing could tell. */
  #samples: number | undefined;
  /** When the socket last took something, or had nothing to take. */
  #takenMs: number;

  constructor(socket: Socket, deps: FeedReaderDeps) {
    this.#deps = deps;
    this.#socket = socket;
    this.#wakeUp = new WakeUp(deps.clock);
    this.#connectedMs = deps.clock.monotonicMs();
    this.#takenMs = this.#connectedMs;
    socket.on('data', (bytes) => this.#receive(bytes));
    socket.on('drain', () => this.#wakeUp.poke());
    // What went wrong with a socket is no more than its end; `close` follows.
    socket.on('error', () => {});
    socket.on('close', () => this.#finish('left', 'it closed the connection'));
  }

  /** As it calls itself. */
  get name(): string {
    return this.#name;
  }

  /** Its place in the journal; undefined before it has started. */
  get seq(): number | undefined {
    return this.#isFollowing ? this.#seq : undefined;
  }

  /** Bytes that its socket has not taken. */
  get queuedBytes(): number {
    return this.#socket.writableLength;
  }

  /** There is something new: records, or a status. */
  poke(): void {
    this.#wakeUp.poke();
  }

  /** A frame that must not be left out. */
  published(frame: Uint8Array): void {
    if (!this.#isFollowing || this.#isEnded) return;
    this.#waiting.push(frame);
    if (this.#waiting.length > WAITING_FRAMES_MAX) this.end('stalled', 'it takes nothing');
    this.#wakeUp.poke();
  }

  /** Ends it where it is overdue. Called every second or so. */
  check(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    if (!this.#isFollowing && nowMs - this.#connectedMs > START_TIMEOUT_MS) {
      this.end('start_timeout', `no start came within ${START_TIMEOUT_MS / 1000} s`);
    }
    if (this.queuedBytes === 0) this.#takenMs = nowMs;
    if (nowMs - this.#takenMs <= this.#deps.stallMs) return;
    this.end('stalled', `it has taken nothing for ${Math.round(this.#deps.stallMs / 1000)} s`);
  }

  /** Tells the reader why it is over, as far as it still reads. Idempotent. */
  end(word: ClosingWord, message: string): void {
    if (this.#isEnded) return;
    this.#socket.end(encodeFrame(encodeCollectorMessage({ kind: 'closing', word, message })));
    this.#deps.clock.after(LINGER_MS, () => this.#socket.destroy());
    this.#finish(word, message);
  }

  #finish(word: ClosingWord | 'left', message: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#waiting = [];
    this.#wakeUp.poke();
    this.#deps.onEnded(word, message);
  }

  #receive(bytes: Buffer): void {
    if (this.#isEnded) return;
    const isWhole = this.#splitter.push(bytes, (frame) => this.#receiveFrame(frame));
    if (!isWhole) this.end('frame_too_large', this.#splitter.brokenReason ?? 'bad frame length');
  }

  #receiveFrame(frame: Uint8Array): void {
    if (this.#isEnded) return;
    if (this.#isFollowing) {
      this.end('bad_message', 'a reader sends nothing after its start');
      return;
    }
    try {
      this.#begin(frame);
    } catch (error) {
      this.end('bad_message', errorMessage(error));
    }
  }

  #begin(frame: Uint8Array): void {
    const { version, reader, start } = decodeStart(frame);
    this.#name = reader.slice(0, NAME_CHARACTERS_MAX);
    if (version !== FEED_VERSION) {
      this.end('version', `this collector speaks version ${FEED_VERSION}, not ${version}`);
      return;
    }
    const { journal, state } = this.#deps;
    const verdict = startSeq(start, { ...state, tailSeq: journal.tail().seq });
    if (!verdict.ok) {
      this.end(verdict.word, verdict.message);
      return;
    }
    this.#seq = verdict.seq;
    this.#samples = journal.samplesUpTo(verdict.seq);
    this.#isFollowing = true;
    const { collectorId, source, headSeq, cursor, sharedUpTo, hasFiles } = state;
    const place = { source, headSeq, cursor, sharedUpTo, hasFiles };
    const welcome = { collectorId, ...place, version: FEED_VERSION, seq: this.#seq };
    this.#send(encodeFrame(encodeCollectorMessage({ kind: 'welcome', ...welcome })));
    void this.#follow();
  }

  async #follow(): Promise<void> {
    while (!this.#isEnded) {
      try {
        if (this.#turn()) await nextTurn();
        else await this.#wakeUp.wait(IDLE_WAIT_MS);
      } catch (error) {
        this.end('internal', errorMessage(error));
      }
    }
  }

  /** Sends what the socket has room for; false where there is nothing to send, or no room. */
  #turn(): boolean {
    if (!this.#hasRoom()) return false;
    const { status, headSeq } = this.#deps.state;
    for (const frame of this.#waiting.splice(0)) this.#send(frame);
    if (status !== undefined && status !== this.#sentStatus) {
      this.#sentStatus = status;
      this.#send(status);
    }
    return this.#seq < headSeq && this.#sendSlice(headSeq);
  }

  /** A reader can see a commit a moment before it is on disk: nothing beyond `durableSeq` goes. */
  #sendSlice(durableSeq: number): boolean {
    const slice = this.#deps.journal.read(this.#seq, SLICE_RECORDS, SLICE_BYTES);
    const firstSeq = Math.min(
      slice.records[0]?.seq ?? Number.POSITIVE_INFINITY,
      slice.damaged[0]?.seq ?? Number.POSITIVE_INFINITY,
    );
    if (firstSeq > this.#seq + 1 && this.#passTail()) return !this.#isEnded;
    if (firstSeq > durableSeq) return false;
    const durable = slice.records.filter(({ seq }) => seq <= durableSeq);
    const { records, unknown, seq } = this.#withTables(durable);
    const reached = seq ?? Math.min(slice.lastSeq, durableSeq);
    const damaged = [...slice.damaged.map((one) => one.seq), ...unknown]
      .filter((one) => one <= reached)
      .sort((a, b) => a - b);
    this.#seq = reached;
    this.#samples =
      durable.findLast((one) => one.seq <= reached)?.cumulativeSamples ?? this.#samples;
    const message = { seq: reached, headSeq: durableSeq, records, damaged };
    const droppedTables = this.#tables.takeDropped();
    this.#send(encodeFrame(encodeCollectorMessage({ kind: 'records', ...message, droppedTables })));
    return true;
  }

  /**
   * The next record is not the one after `#seq`. True where the journal has let go of some: where
   * none of them had samples the reader missed nothing and goes on behind them, otherwise it ends.
   * False where the journal never had them.
   */
  #passTail(): boolean {
    const tail = this.#deps.journal.tail();
    if (tail.seq <= this.#seq) return false;
    if (this.#samples === tail.cumulativeSamples) this.#seq = tail.seq;
    else this.end('position_gone', goneMessage(this.#seq, tail.seq));
    return true;
  }

  /**
   * Sends the tables that the reader lacks for `all`. Where the socket has no more room, `seq` says
   * up to which record it went. Records without samples are of no use to anybody.
   */
  #withTables(all: readonly JournalRecord[]) {
    const records: JournalRecord[] = [];
    const unknown: number[] = [];
    for (const record of all) {
      if (record.samples.values.length === 0) continue;
      if (!this.#tables.use(record.tableId)) {
        const bytes = this.#deps.journal.table(record.tableId);
        if (bytes === undefined) {
          unknown.push(record.seq);
          continue;
        }
        const table = { kind: 'table', id: record.tableId, bytes } as const;
        this.#send(encodeFrame(encodeCollectorMessage(table)));
        this.#tables.add(record.tableId, bytes.length);
      }
      records.push(record);
      if (!this.#hasRoom()) return { records, unknown, seq: record.seq };
    }
    return { records, unknown, seq: undefined };
  }

  #hasRoom(): boolean {
    return this.#socket.writableLength < this.#deps.maxQueueBytes;
  }

  #send(frame: Uint8Array): void {
    if (this.#isEnded) return;
    if (this.queuedBytes === 0) this.#takenMs = this.#deps.clock.monotonicMs();
    this.#socket.write(frame, () => {
      this.#takenMs = this.#deps.clock.monotonicMs();
    });
  }
}
