/**
 * A journal with the feed's server over it, both real, and readers of the feed.
 */
import net from 'node:net';
import path from 'node:path';
import { onTestFinished } from 'vitest';
import { encodeSeriesTable } from '../../src/codec/series-table.ts';
import { encodeFrame, FrameSplitter } from '../../src/codec/framing.ts';
import { FeedServer } from '../../src/collector/feed/feed-server.ts';
import type { FeedSettings } from '../../src/collector/feed/feed-thread-messages.ts';
import type { SeriesTable } from '../../src/domain/telemetry.ts';
import { FeedClient, type FeedEvent } from '../../src/feed/feed-client.ts';
import { decodeCollectorMessage, encodeStart } from '../../src/feed/feed-codec.ts';
import {
  type CollectorMessage,
  FEED_VERSION,
  type FeedStart,
  MAX_FEED_FRAME_BYTES,
  sourceName,
} from '../../src/feed/feed-contract.ts';
import type { Journal } from '../../src/journal/lmdb/journal.ts';
import { JournalReader } from '../../src/journal/lmdb/journal-reader.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { entryOf, openJournal, passTo } from './journal-bench.ts';
import { tempDir } from './temp-dir.ts';

export const WRITER = 'parquet';
const CURSOR: FeedStart = { at: 'cursor' };

/** A table of `size` series, another one for each name. */
export function tableOf(name: string, size = 10): SeriesTable {
  return encodeSeriesTable(
    Array.from({ length: size }, (_, index) => {
      const labels = [['gpu_index', String(index)]] as const;
      return { name: `${name}_${index}`, labels, kind: 'gauge' as const, unit: '' };
    }),
  );
}

export class FeedBed {
  readonly journal: Journal;
  readonly reader: JournalReader;
  readonly socketPath: string;
  readonly logged: { readonly message: string; readonly word: unknown }[] = [];
  readonly #settings: Partial<FeedSettings>;
  server: FeedServer;
  /** The feed hears of no records, as where its thread does not get to run. */
  isDeaf = false;

  private constructor(journal: Journal, dir: string, settings: Partial<FeedSettings>) {
    this.journal = journal;
    this.reader = JournalReader.open(path.join(dir, 'journal'));
    this.socketPath = path.join(dir, 'feed.sock');
    this.#settings = settings;
    this.server = this.#makeServer();
    journal.onAppended((seq) => {
      if (!this.isDeaf) this.server.headMoved(seq);
    });
  }

  static async open(settings: Partial<FeedSettings> = {}): Promise<FeedBed> {
    const dir = tempDir();
    const journal = await openJournal(path.join(dir, 'journal'), { writers: [WRITER] });
    const bed = new FeedBed(journal, dir, settings);
    await bed.server.listen();
    onTestFinished(async () => {
      bed.server.close();
      await bed.reader.close();
    });
    return bed;
  }

  get source(): string {
    return sourceName('collector', this.journal.id);
  }

  /** Ends the server, with all its readers, and starts another one. */
  async restart(): Promise<void> {
    this.server.close();
    this.server = this.#makeServer();
    await this.server.listen();
  }

  /** Appends records with the sequences from `from` to `to`, both included. */
  async append(
    from: number,
    to: number,
    options: { readonly table?: SeriesTable; readonly size?: number } = {},
  ): Promise<void> {
    const { table = TABLE, size = 10 } = options;
    const sequences = Array.from({ length: to - from + 1 }, (_, index) => from + index);
    await Promise.all(
      sequences.map((sequence) => this.journal.append(entryOf(sequence, { table, size }))),
    );
  }

  /** The warehouse holds everything up to `cursor`, of records with ten samples each. */
  async publish(cursor: number, size = 10): Promise<void> {
    await passTo(this.journal, WRITER, cursor, { size });
    const file = { path: `metrics/${cursor}.parquet`, hourMs: 0, firstSeq: 1, bytes: 1 };
    const files = [{ ...file, lastSeq: cursor }];
    this.server.published({ cursor, files });
  }

  /** A client that is closed when the test ends. */
  client(start: FeedStart = CURSOR): { client: FeedClient; events: AsyncGenerator<FeedEvent> } {
    const closing = new AbortController();
    onTestFinished(() => closing.abort());
    const options = { socketPath: this.socketPath, reader: 'test', start };
    const client = new FeedClient(systemClock, options);
    return { client, events: client.events(closing.signal) };
  }

  #makeServer(): FeedServer {
    return new FeedServer(
      {
        clock: systemClock,
        journal: this.reader,
        log: (_level, message, { word }) => void this.logged.push({ message, word }),
      },
      {
        ...{ socketPath: this.socketPath, collectorId: 'collector', source: this.source },
        ...{
          hasFiles: true,
          sharedUpTo: 0,
          maxReaders: 4,
          maxQueueBytes: 1 << 20,
          stallMs: 30_000,
        },
        headSeq: this.journal.headSeq,
        cursor: this.journal.cursor(WRITER),
        ...this.#settings,
      },
    );
  }
}

const TABLE = tableOf('metric');

/** Speaks to a feed's socket byte by byte. */
export class RawReader {
  readonly socket: net.Socket;
  readonly messages: CollectorMessage[] = [];
  isClosed = false;

  constructor(socketPath: string) {
    this.socket = net.connect({ path: socketPath });
    const splitter = new FrameSplitter(MAX_FEED_FRAME_BYTES);
    this.socket.on('data', (bytes) => {
      splitter.push(bytes, (frame) => void this.messages.push(decodeCollectorMessage(frame)));
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.isClosed = true;
    });
    onTestFinished(() => void this.socket.destroy());
  }

  start(start: FeedStart = CURSOR, version = FEED_VERSION): void {
    this.socket.write(encodeFrame(encodeStart({ version, reader: 'raw', start })));
  }

  /** The word that the collector closed with; undefined while it has not. */
  get closingWord(): string | undefined {
    const closing = this.messages.find((message) => message.kind === 'closing');
    return closing?.kind === 'closing' ? closing.word : undefined;
  }
}
