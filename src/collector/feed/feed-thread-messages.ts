/**
 * What the main thread and the feed's thread say to each other: events, none of them for a sample.
 */
import type { ClosingWord, PublishedMessage, StatusMessage } from '../../feed/feed-contract.ts';

/** The feed as it is configured, and where the collector is as its thread starts. */
export interface FeedSettings {
  readonly socketPath: string;
  readonly collectorId: string;
  readonly source: string;
  /** Whether the Parquet writer is on. */
  readonly hasFiles: boolean;
  /** Up to which record the journal is a copy of an older one; 0 where it is none. */
  readonly sharedUpTo: number;
  readonly headSeq: number;
  /** Up to here, records are in warehouse files; the tail of the journal where there are none. */
  readonly cursor: number;
  readonly maxReaders: number;
  readonly maxQueueBytes: number;
  readonly stallMs: number;
}

export interface FeedSetup extends FeedSettings {
  readonly journalDir: string;
  /** Undefined where readers on other hosts are not served. */
  readonly remote: RemoteSettings | undefined;
}

/** Where readers on other hosts connect, and the collector's own credentials. */
export interface RemoteSettings {
  readonly host: string;
  readonly port: number;
  readonly credentials: RemoteCredentials;
}

/** PEM texts: our chain, its key, and the authorities of the readers. */
export interface RemoteCredentials {
  readonly certPem: string;
  readonly keyPem: string;
  readonly caPem: string;
}

/** Whether a certificate may read, or why not. */
export type FeedVerdict = { readonly ok: true } | { readonly ok: false; readonly message: string };

export type ToFeed =
  /** Records up to `seq` are durable. */
  | { readonly type: 'head'; readonly seq: number }
  | { readonly type: 'published'; readonly message: Omit<PublishedMessage, 'kind'> }
  | { readonly type: 'status'; readonly message: Omit<StatusMessage, 'kind' | 'headSeq'> }
  | { readonly type: 'credentials'; readonly credentials: RemoteCredentials }
  /** The answer to `judge`. */
  | { readonly type: 'verdict'; readonly id: number; readonly verdict: FeedVerdict }
  | { readonly type: 'close' };

export type FeedLogLevel = 'info' | 'warn';

export type FeedLog = (
  level: FeedLogLevel,
  message: string,
  fields: Readonly<Record<string, string | number>>,
) => void;

/** What the metrics show. */
export interface FeedFigures {
  readonly readers: number;
  /** Bytes that the readers' sockets have not taken. */
  readonly queuedBytes: number;
  /** Durable records that the slowest reader has not been sent. */
  readonly lagRecords: number;
  /** Readers that the feed ended, since the thread began. */
  readonly dropped: Readonly<Partial<Record<ClosingWord, number>>>;
}

export type FromFeed =
  | { readonly type: 'listening'; readonly remotePort: number | undefined }
  /** May who showed this chain (DER, leaf first) read? */
  | { readonly type: 'judge'; readonly id: number; readonly chain: readonly Uint8Array[] }
  | { readonly type: 'figures'; readonly figures: FeedFigures }
  | {
      readonly type: 'log';
      readonly level: FeedLogLevel;
      readonly message: string;
      readonly fields: Readonly<Record<string, string | number>>;
    }
  /** The thread cannot go on and ends. */
  | { readonly type: 'fatal'; readonly code: string; readonly message: string };
