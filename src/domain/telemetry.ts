/**
 * The domain types that the stages share: what a batch is once its bytes are understood, and what
 * can become of it. Pure data; every stage may import this file, and no other stage's types.
 */

export const SCHEMA_VERSION = 1;
export const ALPN_PROTOCOL = 'horizon-telemetry/1';

export type MetricKind = 'unspecified' | 'gauge' | 'counter';

/** Sorted by key, keys unique, values never empty. */
export type Labels = readonly (readonly [key: string, value: string])[];

/** One time series of a node. */
export interface Series {
  readonly name: string;
  /** One array for all series of a decoded table that have these: what follows is made once. */
  readonly labels: Labels;
  readonly kind: MetricKind;
  /** As the agent spells it; '' is unknown. */
  readonly unit: string;
}

/** The identities a batch's samples point into. Shared by all batches with the same series. */
export interface SeriesTable {
  /** First 16 bytes of the SHA-256 of `bytes`, as 32 hex digits. */
  readonly id: string;
  /** The `SeriesTable` message as our own encoder writes these series; owned by this object. */
  readonly bytes: Uint8Array;
  readonly series: readonly Series[];
}

/** Samples in columns of equal length; entry i of each column is one sample. */
export interface SampleColumns {
  /** Index into `SeriesTable.series`. */
  readonly series: Uint32Array;
  /** Unix time in ms, UTC. */
  readonly timestampsMs: Float64Array;
  /** In the series' unit. */
  readonly values: Float64Array;
}

/** A decoded batch, not yet believed. `nodeId` is what the sender claims; '' claims nothing. */
export interface Batch {
  readonly schemaVersion: number;
  readonly nodeId: string;
  readonly epoch: number;
  /** 0 = no deduplication. */
  readonly sequence: number;
  readonly table: SeriesTable;
  readonly samples: SampleColumns;
}

/** Why a whole batch was refused for good. Metrics label and ack reason. */
export const BATCH_REJECT_REASONS = [
  'bad_frame',
  'identity',
  'schema_version',
  'too_large',
  'bad_series',
  'out_of_window',
] as const;
export type BatchRejectReason = (typeof BATCH_REJECT_REASONS)[number];

/** Why a sample was refused for good while its batch went on. Metrics label and ack reason. */
export const SAMPLE_REJECT_REASONS = [
  'not_a_number',
  'infinite',
  'sentinel',
  'too_old',
  'too_far_ahead',
  'cardinality_node',
  'cardinality_global',
  'text_node',
  'expanded_bytes',
  'too_many_hours',
] as const;
export type SampleRejectReason = (typeof SAMPLE_REJECT_REASONS)[number];

export type RejectReason = BatchRejectReason | SampleRejectReason;

/** Why a batch was sent back to be resent later; nothing of it was kept. */
export const THROTTLE_REASONS = [
  'backpressure',
  'node_rate',
  'node_bytes',
  'node_tables',
  'node_hours',
  'journal_full',
  'journal_unavailable',
] as const;
export type ThrottleReason = (typeof THROTTLE_REASONS)[number];

/** Samples of one batch refused for one reason. */
export interface Rejection {
  readonly reason: RejectReason;
  readonly count: number;
  /** The first series concerned, for a person; '' where there is none. */
  readonly firstSeries: string;
}

/** The answer to one batch, in the order of the wire contract's AckStatus. */
export type AckStatus = 'accepted' | 'duplicate' | 'partial' | 'rejected' | 'throttled';

export interface BatchAck {
  readonly epoch: number;
  readonly sequence: number;
  readonly status: AckStatus;
  readonly accepted: number;
  readonly rejected: number;
  readonly rejections: readonly Rejection[];
  /** 0 unless throttled. */
  readonly retryAfterMs: number;
  readonly message: string;
}

/** The collector's first message on a stream. */
export interface Hello {
  readonly schemaVersion: number;
  readonly collectorId: string;
  readonly nodeId: string;
  readonly maxBatchBytes: number;
  readonly maxBatchSamples: number;
  /** Whether a batch may name its series table instead of repeating it. */
  readonly acceptsSeriesTableId: boolean;
  /** From here on 0 means: a collector from before these fields, which does not say. */
  readonly maxNameBytes: number;
  readonly maxLabelsPerSeries: number;
  readonly maxLabelValueBytes: number;
  /** Series of one table. */
  readonly maxTableSeries: number;
  readonly maxTimestampAgeSecs: number;
  readonly maxTimestampAheadSecs: number;
  /** Sequences from the lowest without a final answer to the highest sent must be fewer. */
  readonly sequenceWindow: number;
  /** Epochs of a node that are remembered; older ones are `out_of_window`. */
  readonly epochsPerNode: number;
  /** UTC hours that the samples of one batch may fall into. */
  readonly maxHoursPerBatch: number;
  /** Series tables of a connection that it may name, those used last: so many, */
  readonly rememberedTables: number;
  /** and no more than come to so many bytes. */
  readonly rememberedTableBytes: number;
  /** The collector's clock as the connection began, Unix ms. */
  readonly timeMs: number;
}

/**
 * A change of the membership that the journal remembers: which series hold a slot of the
 * cardinality limit. `hashes` are integers of 53 bits; `seenSecs` is Unix time in whole seconds.
 */
export type SeriesChange =
  | {
      readonly kind: 'put';
      readonly nodeId: string;
      readonly seenSecs: number;
      readonly hashes: Float64Array;
    }
  | { readonly kind: 'remove'; readonly hashes: Float64Array };

/** Who is at the other end of a connection, as proven by its certificate. Never empty. */
export interface PeerIdentity {
  /** DNS SANs, then SPIFFE node ids, in certificate order; the CN only where there is no SAN. */
  readonly nodeIds: readonly [string, ...string[]];
  /** For logs and deny lists: upper-case hex with colons, as OpenSSL prints it. */
  readonly fingerprint256: string;
  readonly serialNumber: string;
  readonly validToMs: number;
}

/** How a series is written for a person: `name{key="value",…}`. */
export function describeSeries(series: Series): string {
  if (series.labels.length === 0) return series.name;
  const labels = series.labels.map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  return `${series.name}{${labels.join(',')}}`;
}
