/**
 * The reader's end of the feed: connects, follows the collector from a position, and comes back by
 * itself after a cut.
 *
 *     connecting ──welcome──► following ──cut, closing──► waiting (backoff) ──► connecting
 *
 * `events` is one endless iteration over all connections. A record is handed over once: where a
 * connection ends, the next one starts after the last record that the consumer took. Where the
 * collector no longer has that place, the next one starts at the warehouse's cursor, and its
 * `welcome` says so by a `seq` that is not the consumer's own.
 *
 * Backpressure: nothing is read from the socket while the consumer works. What waits is one chunk
 * of the socket and the kernel's buffers; beyond them the collector waits.
 */
import net from 'node:net';
import tls from 'node:tls';
import { encodeFrame, FrameSplitter } from '../codec/framing.ts';
import { Backoff } from '../lib/backoff.ts';
import { type Clock, sleep } from '../lib/clock.ts';
import { errorMessage, OperatingError } from '../lib/errors.ts';
import { badFeedMessage, decodeCollectorMessage, encodeStart } from './feed-codec.ts';
import {
  type CollectorMessage,
  FEED_ALPN,
  FEED_VERSION,
  type FeedPosition,
  type FeedRecord,
  type FeedStart,
  MAX_FEED_FRAME_BYTES,
  type PublishedMessage,
  type RecordsMessage,
  type StatusMessage,
  type WelcomeMessage,
} from './feed-contract.ts';
import { HeldTables } from './held-tables.ts';

/** A collector sends its status every second; one that is silent for so long is given up. */
const SILENCE_MAX_MS = 15_000;
const BACKOFF = { initialMs: 100, maxMs: 5000 };
/** The place that was asked for is not there any more: only the cursor is. */
const LOST_WORDS: readonly string[] = ['position_gone', 'unknown_source', 'unknown_position'];

/** Where a collector's feed is: its Unix socket, or its port for readers on other hosts. */
export type FeedAddress = { readonly socketPath: string } | { readonly tls: FeedTlsAddress };

/** The texts are PEM: our chain and key, and the authorities that may have signed the collector. */
export interface FeedTlsAddress {
  readonly host: string;
  readonly port: number;
  /** Must be among the names of the collector's certificate. */
  readonly serverName: string;
  readonly certPem: string;
  readonly keyPem: string;
  readonly caPem: string;
}

export type FeedClientOptions = FeedAddress & {
  /** Who reads, for the collector's log. */
  readonly reader: string;
  readonly start: FeedStart;
};

/** Records of `source`, with their series. */
export interface FeedRecords extends Omit<RecordsMessage<FeedRecord>, 'droppedTables'> {
  readonly source: string;
}

/** A connection is over, or none could be made. */
export interface FeedDisconnected {
  readonly kind: 'disconnected';
  /** The collector's closing word, or `cut` where it said none. */
  readonly word: string;
  readonly message: string;
  /** The next try comes so much later. */
  readonly waitMs: number;
}

export type FeedEvent =
  | WelcomeMessage
  | FeedRecords
  | PublishedMessage
  | StatusMessage
  | FeedDisconnected;

type Ending = Pick<FeedDisconnected, 'word' | 'message'>;

export class FeedClient {
  readonly #clock: Clock;
  readonly #options: FeedClientOptions;
  readonly #backoff = new Backoff(BACKOFF);
  readonly #position = new Map<string, number>();
  #start: FeedStart;

  constructor(clock: Clock, options: FeedClientOptions) {
    this.#clock = clock;
    this.#options = options;
    this.#start = options.start;
    if (options.start.at === 'position') {
      for (const [source, seq] of options.start.position) this.#position.set(source, seq);
    }
  }

  /** Behind everything that the consumer has taken. */
  get position(): FeedPosition {
    return this.#position;
  }

  /**
   * What the collector says, until `signal` aborts. One iteration at a time. Throws OperatingError
   * FEED_VERSION where the collector does not speak this version.
   */
  async *events(signal: AbortSignal): AsyncGenerator<FeedEvent, void> {
    while (!signal.aborted) {
      const { word, message } = yield* this.#follow(signal);
      if (signal.aborted) return;
      if (word === 'version') throw new OperatingError('FEED_VERSION', message);
      this.#start = LOST_WORDS.includes(word) ? { at: 'cursor' } : this.#nextStart();
      const waitMs = this.#backoff.nextDelayMs();
      yield { kind: 'disconnected', word, message, waitMs };
      await sleep(this.#clock, waitMs, signal);
    }
  }

  #nextStart(): FeedStart {
    const isKnown = this.#position.size > 0;
    return isKnown ? { at: 'position', position: this.#position } : this.#start;
  }

  /** One connection, from the first byte to the last. */
  async *#follow(signal: AbortSignal): AsyncGenerator<FeedEvent, Ending> {
    const socket = connect(this.#options);
    const stop = () => socket.destroy();
    signal.addEventListener('abort', stop, { once: true });
    const { reader } = this.#options;
    const start = { version: FEED_VERSION, reader, start: this.#start };
    socket.write(encodeFrame(encodeStart(start)));
    try {
      return yield* this.#read(socket);
    } catch (error) {
      return { word: 'cut', message: errorMessage(error) };
    } finally {
      signal.removeEventListener('abort', stop);
      socket.destroy();
    }
  }

  async *#read(socket: net.Socket): AsyncGenerator<FeedEvent, Ending> {
    const splitter = new FrameSplitter(MAX_FEED_FRAME_BYTES);
    const connection = { source: '', tables: new HeldTables() };
    for await (const chunk of whileNotSilent(socket)) {
      const messages: CollectorMessage[] = [];
      const isWhole = splitter.push(chunk, (frame) => messages.push(decodeCollectorMessage(frame)));
      for (const message of messages) {
        if (message.kind === 'closing') return message;
        const event = this.#take(message, connection);
        if (event === undefined) continue;
        yield event;
        if (event.kind === 'records') this.#position.set(event.source, event.seq);
      }
      if (!isWhole) throw badFeedMessage(splitter.brokenReason ?? 'it is broken');
    }
    return { word: 'cut', message: 'the collector closed the connection without a word' };
  }

  /** What the consumer gets of a message; undefined where that is nothing. */
  #take(
    message: Exclude<CollectorMessage, { kind: 'closing' }>,
    connection: { source: string; readonly tables: HeldTables },
  ): Exclude<FeedEvent, FeedDisconnected> | undefined {
    switch (message.kind) {
      case 'unknown':
        return undefined;
      case 'table':
        connection.tables.add(message.id, message.bytes);
        return undefined;
      case 'records':
        return this.#takeRecords(message, connection);
      case 'welcome':
        connection.source = message.source;
        this.#position.set(message.source, message.seq);
        this.#backoff.reset();
        return message;
      default:
        return message;
    }
  }

  #takeRecords(
    { droppedTables, ...message }: RecordsMessage,
    { source, tables }: { readonly source: string; readonly tables: HeldTables },
  ): FeedRecords {
    let before = this.#position.get(source) ?? Number.POSITIVE_INFINITY;
    const records = message.records.map((record): FeedRecord => {
      const { seq, nodeId, epoch, sequence, receivedAtMs, samples } = record;
      if (seq <= before) throw badFeedMessage(`record ${seq} after ${before}`);
      before = seq;
      const table = tables.table(record.tableId);
      return { seq, nodeId, epoch, sequence, receivedAtMs, samples, table };
    });
    tables.drop(droppedTables);
    return { ...message, source, records };
  }
}

function connect(address: FeedAddress): net.Socket {
  if ('socketPath' in address) return net.connect({ path: address.socketPath });
  const { host, port, serverName, certPem, keyPem, caPem } = address.tls;
  const credentials = { cert: certPem, key: keyPem, ca: caPem };
  const handshake = { servername: serverName, ALPNProtocols: [FEED_ALPN] };
  return tls.connect({ host, port, ...credentials, ...handshake, minVersion: 'TLSv1.3' });
}

/**
 * The socket's chunks. Ends it where it waited too long for one; a consumer may take as long as it
 * likes.
 */
async function* whileNotSilent(socket: net.Socket): AsyncGenerator<Buffer, void> {
  let isWaiting = true;
  socket.setTimeout(SILENCE_MAX_MS, () => {
    if (isWaiting) socket.destroy(new Error(`nothing came for ${SILENCE_MAX_MS / 1000} s`));
  });
  for await (const chunk of socket) {
    isWaiting = false;
    yield chunk as Buffer;
    isWaiting = true;
  }
}
