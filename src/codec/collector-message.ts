/**
 * What the collector says on a stream: its Hello and its verdicts. One message per batch, so
 * protobufjs does the work.
 */
import { errorMessage, OperatingError } from '../lib/errors.ts';
import {
  type AckStatus,
  BATCH_REJECT_REASONS,
  type BatchAck,
  type Hello,
  type Rejection,
  type RejectReason,
  SAMPLE_REJECT_REASONS,
} from '../domain/telemetry.ts';
import { contractType } from './messages.ts';

const messageType = contractType('CollectorMessage');

/** Index in this list = number in the contract's AckStatus. */
const STATUSES: readonly (AckStatus | undefined)[] = [
  undefined,
  'accepted',
  'duplicate',
  'partial',
  'rejected',
  'throttled',
];
const REASONS: readonly string[] = [...BATCH_REJECT_REASONS, ...SAMPLE_REJECT_REASONS];
const MAX_REJECTIONS = 8;
const MAX_TEXT_LENGTH = 1024;

/** An encoded CollectorMessage with a Hello, not yet framed. */
export function encodeHello(hello: Hello): Uint8Array {
  return encode({
    hello: {
      schema_version: hello.schemaVersion,
      collector_id: hello.collectorId,
      node_id: hello.nodeId,
      max_batch_bytes: hello.maxBatchBytes,
      max_batch_samples: hello.maxBatchSamples,
      accepts_series_table_id: hello.acceptsSeriesTableId,
      max_name_bytes: hello.maxNameBytes,
      max_labels_per_series: hello.maxLabelsPerSeries,
      max_label_value_bytes: hello.maxLabelValueBytes,
      max_table_series: hello.maxTableSeries,
      max_timestamp_age_secs: hello.maxTimestampAgeSecs,
      max_timestamp_ahead_secs: hello.maxTimestampAheadSecs,
      sequence_window: hello.sequenceWindow,
      epochs_per_node: hello.epochsPerNode,
      max_hours_per_batch: hello.maxHoursPerBatch,
      remembered_tables: hello.rememberedTables,
      remembered_table_bytes: hello.rememberedTableBytes,
      time_ms: hello.timeMs,
    },
  });
}

/**
 * An encoded CollectorMessage with a BatchAck, not yet framed. `frame` counts the frames of the
 * stream from 1; it is the only name of a batch whose numbers could not be read. Of the rejections
 * only the most frequent go along, and texts are cut, so that an answer stays small whatever was
 * asked.
 */
export function encodeAck(ack: BatchAck, frame: number): Uint8Array {
  return encode({
    ack: {
      epoch: ack.epoch,
      sequence: ack.sequence,
      status: STATUSES.indexOf(ack.status),
      accepted: ack.accepted,
      rejected: ack.rejected,
      rejections: mostFrequent(ack.rejections).map(({ reason, count, firstSeries }) => ({
        reason,
        count,
        first_series: clip(firstSeries),
      })),
      retry_after_ms: Math.ceil(ack.retryAfterMs),
      message: clip(ack.message),
      frame,
    },
  });
}

/** What the collector said. `frame` is 0 where a collector from before that field answers. */
export type CollectorMessage =
  | { readonly hello: Hello }
  | { readonly ack: BatchAck; readonly frame: number };

/**
 * Decodes one message of the collector. Throws OperatingError BAD_COLLECTOR_MESSAGE where it is not
 * one, or speaks of a status that this program does not know. Rejections for unknown reasons, which
 * a newer collector may have, are left out: the counts of the ack hold without them.
 */
export function decodeCollectorMessage(bytes: Uint8Array): CollectorMessage {
  const { hello, ack } = decode(bytes);
  if (hello !== undefined) return { hello: readHello(hello) };
  if (ack !== undefined) return { ack: readAck(ack), frame: ack.frame };
  throw badMessage('it holds neither a hello nor an ack');
}

interface WireHello {
  schema_version: number;
  collector_id: string;
  node_id: string;
  max_batch_bytes: number;
  max_batch_samples: number;
  accepts_series_table_id: boolean;
  max_name_bytes: number;
  max_labels_per_series: number;
  max_label_value_bytes: number;
  max_table_series: number;
  max_timestamp_age_secs: number;
  max_timestamp_ahead_secs: number;
  sequence_window: number;
  epochs_per_node: number;
  max_hours_per_batch: number;
  remembered_tables: number;
  remembered_table_bytes: number;
  time_ms: number;
}

interface WireAck {
  epoch: number;
  sequence: number;
  status: number;
  accepted: number;
  rejected: number;
  rejections: { reason: string; count: number; first_series: string }[];
  retry_after_ms: number;
  message: string;
  frame: number;
}

interface WireMessage {
  hello?: WireHello;
  ack?: WireAck;
}

function encode(message: object): Uint8Array {
  // Copied, because the encoder's buffers are cut from a shared pool.
  return new Uint8Array(messageType.encode(message).finish());
}

function decode(bytes: Uint8Array): WireMessage {
  try {
    const message = messageType.decode(bytes);
    // `longs: Number` rounds past 2^53, which readAck then refuses.
    return messageType.toObject(message, { longs: Number, defaults: true, arrays: true });
  } catch (error) {
    throw badMessage(errorMessage(error), error);
  }
}

function readHello(hello: WireHello): Hello {
  return {
    schemaVersion: hello.schema_version,
    collectorId: hello.collector_id,
    nodeId: hello.node_id,
    maxBatchBytes: hello.max_batch_bytes,
    maxBatchSamples: hello.max_batch_samples,
    acceptsSeriesTableId: hello.accepts_series_table_id,
    maxNameBytes: hello.max_name_bytes,
    maxLabelsPerSeries: hello.max_labels_per_series,
    maxLabelValueBytes: hello.max_label_value_bytes,
    maxTableSeries: hello.max_table_series,
    maxTimestampAgeSecs: hello.max_timestamp_age_secs,
    maxTimestampAheadSecs: hello.max_timestamp_ahead_secs,
    sequenceWindow: hello.sequence_window,
    epochsPerNode: hello.epochs_per_node,
    maxHoursPerBatch: hello.max_hours_per_batch,
    rememberedTables: hello.remembered_tables,
    rememberedTableBytes: hello.remembered_table_bytes,
    timeMs: hello.time_ms,
  };
}

function readAck(ack: WireAck): BatchAck {
  const { epoch, sequence } = ack;
  if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(sequence)) {
    throw badMessage('the epoch or sequence of an ack is 2^53 or more');
  }
  const status = STATUSES[ack.status];
  if (status === undefined) throw badMessage(`ack status ${ack.status} is unknown`);
  return {
    epoch,
    sequence,
    status,
    accepted: ack.accepted,
    rejected: ack.rejected,
    rejections: ack.rejections.filter(hasKnownReason).map(({ reason, count, first_series }) => ({
      reason,
      count,
      firstSeries: first_series,
    })),
    retryAfterMs: ack.retry_after_ms,
    message: ack.message,
  };
}

function hasKnownReason<T extends { reason: string }>(
  rejection: T,
): rejection is T & { reason: RejectReason } {
  return REASONS.includes(rejection.reason);
}

function mostFrequent(rejections: readonly Rejection[]): readonly Rejection[] {
  if (rejections.length < 2) return rejections;
  return rejections.toSorted((a, b) => b.count - a.count).slice(0, MAX_REJECTIONS);
}

function clip(text: string): string {
  if (text.length <= MAX_TEXT_LENGTH) return text;
  return `${text.slice(0, MAX_TEXT_LENGTH - 1)}…`;
}

function badMessage(why: string, cause?: unknown): OperatingError {
  return new OperatingError(
    'BAD_COLLECTOR_MESSAGE',
    `cannot read message of collector: ${why}`,
    cause === undefined ? undefined : { cause },
  );
}
