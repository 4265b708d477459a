/**
 * The messages of the feed as this program sees them. proto/feed.proto is the contract, and
 * docs/feed.md explains it; feed-codec.ts turns these types into bytes and back.
 */
import type { SampleColumns, SeriesTable } from '../domain/telemetry.ts';

export const FEED_VERSION = 1;
/** Names the protocol in the TLS handshake of a reader on another host. */
export const FEED_ALPN = 'horizon-feed/1';

/** A reader has little to say: one position for each source that it follows. */
export const MAX_READER_FRAME_BYTES = 64 * 1024;
/**
 * The largest frame of a collector: one record or one table may be as large as its limits allow.
 * Smaller records share frames of about 256 KiB.
 */
export const MAX_FEED_FRAME_BYTES = 512 * 1024 * 1024;

/** Why a collector ends a feed. */
export const CLOSING_WORDS = [
  'bad_message',
  'frame_too_large',
  'version',
  'unknown_source',
  'unknown_position',
  'position_gone',
  'too_many_readers',
  'denied',
  'stalled',
  'start_timeout',
  'stopping',
  'internal',
] as const;
export type ClosingWord = (typeof CLOSING_WORDS)[number];

/** Where a reader is in each source: everything up to the seq is behind it. */
export type FeedPosition = ReadonlyMap<string, number>;

/** Where a reader wants to start. */
export type FeedStart =
  | { readonly at: 'cursor' }
  | { readonly at: 'position'; readonly position: FeedPosition };

/** The reader's one message. */
export interface StartMessage {
  readonly version: number;
  readonly reader: string;
  readonly start: FeedStart;
}

/** The answer to it. */
export interface WelcomeMessage {
  readonly kind: 'welcome';
  readonly version: number;
  readonly collectorId: string;
  readonly source: string;
  /** The records after this one follow. */
  readonly seq: number;
  readonly headSeq: number;
  readonly cursor: number;
  /** Files of an older journal hold some of the records up to here; 0 where there is none. */
  readonly sharedUpTo: number;
  /** Whether there are warehouse files at all. */
  readonly hasFiles: boolean;
}

/** A series table that records will name. */
export interface TableMessage {
  readonly kind: 'table';
  readonly id: string;
  readonly bytes: Uint8Array;
}

/** A record as it travels; its table travels before it. */
export interface FeedRecordMessage {
  readonly seq: number;
  readonly nodeId: string;
  readonly epoch: number;
  readonly sequence: number;
  /** Unix ms. */
  readonly receivedAtMs: number;
  readonly tableId: string;
  readonly samples: SampleColumns;
}

export interface RecordsMessage<R = FeedRecordMessage> {
  readonly kind: 'records';
  /** The reader's position once it has taken them. */
  readonly seq: number;
  readonly headSeq: number;
  readonly records: readonly R[];
  /** Records that the collector cannot read. */
  readonly damaged: readonly number[];
  readonly droppedTables: readonly string[];
}

/** A file of the warehouse that readers can see since just now. */
export interface PublishedFile {
  /** Relative to the warehouse. */
  readonly path: string;
  readonly hourMs: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly bytes: number;
}

export interface PublishedMessage {
  readonly kind: 'published';
  /** All records up to here are in files whose last seq is not above it. */
  readonly cursor: number;
  readonly files: readonly PublishedFile[];
}

/** What the collector knows of a node. Times are Unix ms; 0 is never. */
export interface FeedNode {
  readonly nodeId: string;
  readonly connections: number;
  readonly connectedSinceMs: number;
  readonly transport: string;
  readonly remoteAddress: string;
  readonly epoch: number;
  readonly sequence: number;
  readonly receivedAtMs: number;
  readonly lastSampleAheadMs: number;
  readonly knownGaps: number;
  readonly series: number;
  readonly maxSeries: number;
  readonly seriesTextBytes: number;
  readonly maxSeriesTextBytes: number;
}

export interface FeedCheck {
  readonly name: string;
  readonly ok: boolean;
  /** '' where it is ok. */
  readonly reason: string;
}

export interface FeedWriter {
  readonly name: string;
  readonly state: string;
  readonly cursor: number;
  readonly lagMs: number;
  readonly written: number;
  readonly deadLettered: number;
  /** Samples. */
  readonly pending: number;
}

/** The books, in samples. */
export interface FeedLedger {
  readonly received: number;
  readonly accepted: number;
  readonly duplicate: number;
  readonly rejected: number;
  readonly throttled: number;
  readonly writers: readonly FeedWriter[];
}

export interface StatusMessage {
  readonly kind: 'status';
  readonly atMs: number;
  readonly headSeq: number;
  readonly nodes: readonly FeedNode[];
  readonly ready: boolean;
  readonly checks: readonly FeedCheck[];
  readonly ledger: FeedLedger;
}

export interface ClosingMessage {
  readonly kind: 'closing';
  /** One of `CLOSING_WORDS`, or a word that a newer collector has. */
  readonly word: string;
  readonly message: string;
}

/** Whatever a collector may say; `unknown` is a body of a newer version, to be passed over. */
export type CollectorMessage =
  | WelcomeMessage
  | TableMessage
  | RecordsMessage
  | PublishedMessage
  | StatusMessage
  | ClosingMessage
  | { readonly kind: 'unknown' };

/** A record with its series, as a reader gets it. */
export interface FeedRecord extends Omit<FeedRecordMessage, 'tableId'> {
  readonly table: SeriesTable;
}

/** The name of a source. */
export function sourceName(collectorId: string, journalId: string): string {
  return `${collectorId}/${journalId}`;
}
