/**
 * The half of a batch's life that an agent waits for: frame → codec → admission → journal → ack.
 * Each step belongs to a room of its own; this file only joins them and keeps the books, so that
 * the ledger's equations (journal/ledger.ts) hold after every answer.
 *
 * A frame is decoded before `receive` first yields; nothing afterwards refers to the frame's bytes.
 */
import type { Logger } from 'pino';
import type { Admission, Verdict } from '../admission/admission.ts';
import type { BackpressureGate } from '../admission/backpressure-gate.ts';
import { BatchDecoder, type DecodeLimits } from '../../codec/decode-batch.ts';
import { REMEMBERED_TABLES } from '../../codec/remembered-tables.ts';
import type { IngestMetrics } from './ingest-metrics.ts';
import type { NodeActivity } from './node-activity.ts';
import type { AppendLog } from '../../journal/append-log.ts';
import type { BatchOutcome } from '../../journal/ledger.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorCode, errorMessage } from '../../lib/errors.ts';
import {
  type Batch,
  type BatchAck,
  type BatchRejectReason,
  type Hello,
  type PeerIdentity,
  type Rejection,
  SCHEMA_VERSION,
  type ThrottleReason,
} from '../../domain/telemetry.ts';

const JOURNAL_RETRY_AFTER_MS = 1000;

export interface IngestDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: IngestMetrics;
  readonly admission: Admission;
  readonly gate: BackpressureGate;
  readonly journal: AppendLog;
  readonly activity: NodeActivity;
}

export interface IngestOptions {
  readonly collectorId: string;
  readonly maxBatchBytes: number;
  readonly decodeLimits: DecodeLimits;
  /** What the journal's duplicate filter remembers, for agents to keep within. */
  readonly sequenceWindow: number;
  readonly epochsPerNode: number;
}

/** One connection's way in. */
export interface IngestSession {
  readonly hello: Hello;
  /** Never rejects. The frame's bytes are used only until the first await. */
  receive(frame: Uint8Array): Promise<BatchAck>;
}

export class Ingest {
  readonly #deps: IngestDeps;
  readonly #options: IngestOptions;

  constructor(deps: IngestDeps, options: IngestOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Called once per authenticated connection. */
  open(peer: PeerIdentity): IngestSession {
    const { admission } = this.#deps;
    const decoder = new BatchDecoder(this.#options.decodeLimits, {
      charge: (nodeId, bytes) => admission.chargeReading(peer, nodeId, bytes),
    });
    return {
      hello: this.#hello(peer),
      receive: (frame) => this.#receive(peer, decoder, frame),
    };
  }

  /**
   * A way in for the daemon itself: the same steps for the frames of `peer`, which are not counted
   * among the agents' batches. Never rejects.
   */
  openInternal(peer: PeerIdentity): (frame: Uint8Array) => Promise<BatchAck> {
    const decoder = new BatchDecoder(this.#options.decodeLimits);
    return (frame) => this.#decide(peer, decoder, frame);
  }

  #hello(peer: PeerIdentity): Hello {
    const { collectorId, maxBatchBytes, decodeLimits, ...filter } = this.#options;
    // These can change while the collector runs.
    const { max_timestamp_age_secs, max_timestamp_ahead_secs, max_hours_per_batch } =
      this.#deps.admission.limits;
    return {
      schemaVersion: SCHEMA_VERSION,
      collectorId,
      nodeId: peer.nodeIds[0],
      maxBatchBytes,
      maxBatchSamples: decodeLimits.maxBatchSamples,
      acceptsSeriesTableId: true,
      maxNameBytes: decodeLimits.maxNameBytes,
      maxLabelsPerSeries: decodeLimits.maxLabelsPerSeries,
      maxLabelValueBytes: decodeLimits.maxLabelValueBytes,
      maxTableSeries: decodeLimits.maxSeries,
      maxTimestampAgeSecs: max_timestamp_age_secs,
      maxTimestampAheadSecs: max_timestamp_ahead_secs,
      maxHoursPerBatch: max_hours_per_batch,
      rememberedTables: REMEMBERED_TABLES.tables,
      rememberedTableBytes: REMEMBERED_TABLES.bytes,
      ...filter,
      timeMs: this.#deps.clock.nowMs(),
    };
  }

  async #receive(peer: PeerIdentity, decoder: BatchDecoder, frame: Uint8Array): Promise<BatchAck> {
    const startedMs = this.#deps.clock.monotonicMs();
    const ack = await this.#decide(peer, decoder, frame);
    this.#deps.metrics.observeBatch(ack.status, this.#deps.clock.monotonicMs() - startedMs);
    return ack;
  }

  async #decide(peer: PeerIdentity, decoder: BatchDecoder, frame: Uint8Array): Promise<BatchAck> {
    const decoded = decoder.decode(frame);
    const received = decoded.ok ? decoded.batch.samples.series.length : decoded.sampleCount;
    const { ledger } = this.#deps.journal;
    ledger.arrive(received);
    try {
      if (decoded.ok) return await this.#answer(peer, decoded.batch, received, frame.length);
      if (decoded.reason === 'node_tables') {
        const { reason, retryAfterMs, message } = decoded;
        return this.#throttle(decoded, received, reason, retryAfterMs, message);
      }
      return await this.#reject(peer, decoded, received, decoded.reason, decoded.message);
    } finally {
      ledger.leave(received);
    }
  }

  #answer(
    peer: PeerIdentity,
    batch: Batch,
    received: number,
    frameBytes: number,
  ): Promise<BatchAck> | BatchAck {
    const verdict = this.#deps.admission.admit(peer, batch);
    switch (verdict.kind) {
      case 'accept':
        return this.#append(batch, verdict, received, frameBytes);
      case 'duplicate':
        return this.#acknowledgeDuplicate(batch, received);
      case 'reject':
        return this.#reject(peer, batch, received, verdict.reason, verdict.message);
      case 'throttle':
        return this.#throttle(batch, received, verdict.reason, verdict.retryAfterMs);
    }
  }

  /** Makes what admission left of the batch durable, with its books; only then is it answered. */
  async #append(
    batch: Batch,
    verdict: Extract<Verdict, { kind: 'accept' }>,
    received: number,
    frameBytes: number,
  ): Promise<BatchAck> {
    const { journal, gate, clock, admission } = this.#deps;
    const { nodeId, samples, rejections } = verdict;
    const receivedAtMs = clock.nowMs();
    gate.enter(frameBytes);
    try {
      await journal.append({
        nodeId,
        epoch: batch.epoch,
        sequence: batch.sequence,
        receivedAtMs,
        table: batch.table,
        samples,
        outcome: { received, rejections },
      });
    } catch (error) {
      this.#deps.logger.debug({ err: error, nodeId }, 'batch sent back: journal append failed');
      admission.giveBack(verdict);
      return this.#sendBack(batch, received, error);
    } finally {
      gate.leave(frameBytes);
    }
    this.#deps.activity.note(nodeId, batch.epoch, batch.sequence, receivedAtMs, samples);
    const rejected = received - samples.series.length;
    return {
      ...answerTo(batch),
      status: rejections.length === 0 ? 'accepted' : 'partial',
      accepted: samples.series.length,
      rejected,
      rejections,
    };
  }

  /** A duplicate may still be on its way to the disk, sent over another connection a moment ago. */
  async #acknowledgeDuplicate(batch: Batch, received: number): Promise<BatchAck> {
    try {
      await this.#deps.journal.durable();
    } catch (error) {
      return this.#sendBack(batch, received, error);
    }
    await this.#book({ received, duplicate: batch.samples.series.length });
    return { ...answerTo(batch), status: 'duplicate' };
  }

  async #reject(
    peer: PeerIdentity,
    batch: { readonly epoch: number; readonly sequence: number },
    received: number,
    reason: BatchRejectReason,
    message: string,
  ): Promise<BatchAck> {
    const rejections: Rejection[] = [{ reason, count: received, firstSeries: '' }];
    await this.#book({ received, rejections });
    this.#deps.metrics.countRejectedBatch(reason);
    this.#deps.logger.debug({ nodeId: peer.nodeIds[0], reason, message }, 'batch rejected');
    return { ...answerTo(batch), status: 'rejected', rejected: received, rejections, message };
  }

  /**
   * Books a final answer and waits for the books to be on disk, so that no kill takes back what an
   * agent has read. If they cannot be stored, the answer goes out all the same: it is still right.
   */
  async #book(outcome: BatchOutcome): Promise<void> {
    const { journal } = this.#deps;
    journal.ledger.book(outcome);
    await journal.booked().catch(() => {});
  }

  /** The journal did not take the batch: it comes again. */
  #sendBack(batch: Batch, received: number, error: unknown): BatchAck {
    const isFull = errorCode(error) === 'JOURNAL_FULL';
    const reason = isFull ? 'journal_full' : 'journal_unavailable';
    return this.#throttle(batch, received, reason, JOURNAL_RETRY_AFTER_MS, errorMessage(error));
  }

  #throttle(
    batch: { readonly epoch: number; readonly sequence: number },
    received: number,
    reason: ThrottleReason,
    retryAfterMs: number,
    message = `throttled: ${reason}`,
  ): BatchAck {
    this.#deps.journal.ledger.book({ received, throttled: { reason, count: received } });
    return { ...answerTo(batch), status: 'throttled', retryAfterMs, message };
  }
}

function answerTo(batch: { readonly epoch: number; readonly sequence: number }): BatchAck {
  return {
    epoch: batch.epoch,
    sequence: batch.sequence,
    status: 'accepted',
    accepted: 0,
    rejected: 0,
    rejections: [],
    retryAfterMs: 0,
    message: '',
  };
}
