/**
 * The feed's socket and its readers: takes connections, up to a number, and tells all readers of
 * what is new. feed-reader.ts is what becomes of one of them.
 */
import fs from 'node:fs';
import net from 'node:net';
import { encodeFrame } from '../../codec/framing.ts';
import { encodeCollectorMessage } from '../../feed/feed-codec.ts';
import type { ClosingWord, PublishedMessage, StatusMessage } from '../../feed/feed-contract.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorCode, errorMessage, OperatingError } from '../../lib/errors.ts';
import { repeat } from '../../lib/repeat.ts';
import { type FeedJournal, FeedReader, type FeedState } from './feed-reader.ts';
import type { FeedFigures, FeedLog, FeedSettings } from './feed-thread-messages.ts';

const CHECK_INTERVAL_MS = 1000;
/** Connections that are there only to hear that there are too many. */
const REFUSALS_AT_ONCE = 16;
/** One line for each closing word in so much time: a reader may come back at once, for ever. */
const LOG_INTERVAL_MS = 10_000;
/** Only its owner and the group of the collector may read what the collector holds. */
const SOCKET_MODE = 0o660;

export interface FeedServerDeps {
  readonly clock: Clock;
  readonly journal: FeedJournal;
  readonly log: FeedLog;
}

export class FeedServer {
  readonly #deps: FeedServerDeps;
  readonly #settings: FeedSettings;
  readonly #server: net.Server;
  readonly #readers = new Set<FeedReader>();
  readonly #dropped: Partial<Record<ClosingWord, number>> = {};
  readonly #loggedMs = new Map<string, number>();
  readonly #state: { -readonly [K in keyof FeedState]: FeedState[K] };
  #stopChecks: () => void = () => {};
  #onReaders: () => void = () => {};

  constructor(deps: FeedServerDeps, settings: FeedSettings) {
    this.#deps = deps;
    this.#settings = settings;
    const { source, collectorId, hasFiles, sharedUpTo, headSeq, cursor } = settings;
    const place = { source, hasFiles, sharedUpTo, headSeq, cursor };
    this.#state = { ...place, collectorId, status: undefined };
    this.#server = net.createServer((socket) => void this.accept(socket));
    this.#server.maxConnections = settings.maxReaders + REFUSALS_AT_ONCE;
  }

  /** Takes the place of a socket that an earlier process left. Rejects with FEED_CANNOT_LISTEN. */
  async listen(): Promise<void> {
    const { socketPath } = this.#settings;
    try {
      removeSocket(socketPath);
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', reject);
        this.#server.listen(socketPath, resolve);
      });
      fs.chmodSync(socketPath, SOCKET_MODE);
    } catch (error) {
      const message = `cannot listen on ${socketPath}: ${errorMessage(error)}`;
      throw new OperatingError('FEED_CANNOT_LISTEN', message, { cause: error });
    }
    this.#stopChecks = repeat(this.#deps.clock, CHECK_INTERVAL_MS, () => {
      for (const reader of [...this.#readers]) reader.check();
    });
  }

  /** Calls `listener` when the first reader comes and when the last one goes. */
  onReaders(listener: () => void): void {
    this.#onReaders = listener;
  }

  /** Records up to `seq` are durable. */
  headMoved(seq: number): void {
    this.#state.headSeq = Math.max(this.#state.headSeq, seq);
    this.#pokeAll();
  }

  published(message: Omit<PublishedMessage, 'kind'>): void {
    this.#state.cursor = Math.max(this.#state.cursor, message.cursor);
    if (this.#readers.size === 0) return;
    const frame = encodeFrame(encodeCollectorMessage({ kind: 'published', ...message }));
    for (const reader of [...this.#readers]) reader.published(frame);
  }

  status(message: Omit<StatusMessage, 'kind' | 'headSeq'>): void {
    const { headSeq } = this.#state;
    const status = { kind: 'status', headSeq, ...message } as const;
    this.#state.status = encodeFrame(encodeCollectorMessage(status));
    this.#pokeAll();
  }

  figures(): FeedFigures {
    let queuedBytes = 0;
    let lagRecords = 0;
    for (const reader of this.#readers) {
      queuedBytes += reader.queuedBytes;
      const lag = this.#state.headSeq - (reader.seq ?? this.#state.headSeq);
      lagRecords = Math.max(lagRecords, lag);
    }
    return { readers: this.#readers.size, queuedBytes, lagRecords, dropped: this.#dropped };
  }

  /** Tells every reader and lets go of the socket. */
  close(): void {
    this.#stopChecks();
    this.#server.close();
    for (const reader of [...this.#readers]) reader.end('stopping', 'the collector is stopping');
  }

  /** Takes a connection; undefined where there are too many readers, which it is told. */
  accept(socket: net.Socket): FeedReader | undefined {
    const { clock, journal } = this.#deps;
    const { maxReaders, maxQueueBytes, stallMs } = this.#settings;
    const reader: FeedReader = new FeedReader(socket, {
      ...{ clock, journal, maxQueueBytes, stallMs, state: this.#state },
      onEnded: (word, message) => this.#ended(reader, word, message),
    });
    if (this.#readers.size >= maxReaders) {
      reader.end('too_many_readers', `feed.max_readers is ${maxReaders}`);
      return undefined;
    }
    this.#readers.add(reader);
    if (this.#readers.size === 1) this.#onReaders();
    return reader;
  }

  /** A connection was refused before it became a reader. */
  refused(word: ClosingWord, message: string): void {
    this.#count(word, message, { name: '', seq: undefined });
  }

  #ended(reader: FeedReader, word: ClosingWord | 'left', message: string): void {
    if (this.#readers.delete(reader) && this.#readers.size === 0) {
      // The next one must not get the state of an hour ago.
      this.#state.status = undefined;
      this.#onReaders();
    }
    this.#count(word, message, reader);
  }

  #count(
    word: ClosingWord | 'left',
    message: string,
    { name, seq = 0 }: Pick<FeedReader, 'name' | 'seq'>,
  ): void {
    if (word !== 'left') this.#dropped[word] = (this.#dropped[word] ?? 0) + 1;
    const nowMs = this.#deps.clock.monotonicMs();
    const loggedMs = this.#loggedMs.get(word) ?? Number.NEGATIVE_INFINITY;
    if (nowMs - loggedMs < LOG_INTERVAL_MS) return;
    this.#loggedMs.set(word, nowMs);
    const level = word === 'left' || word === 'stopping' ? 'info' : 'warn';
    this.#deps.log(level, 'feed reader gone', { reader: name, seq, word, why: message });
  }

  #pokeAll(): void {
    for (const reader of this.#readers) reader.poke();
  }
}

/** Nothing but a socket is removed: the setting may name a file by mistake. */
function removeSocket(socketPath: string): void {
  try {
    if (!fs.lstatSync(socketPath).isSocket()) throw new Error('there is a file that is no socket');
    fs.unlinkSync(socketPath);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
}
