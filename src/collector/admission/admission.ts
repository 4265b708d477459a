/**
 * What may come in. Looks at a decoded batch in a fixed order and gives one verdict; a verdict has
 * no effect on anything that is asked later, but for two: an accepted batch has used its node's
 * rate and its series hold their slots.
 *
 *     identity → shape → duplicate → throttle (gate, node's rate) → values → cardinality
 *
 * Duplicates come before the throttle, because their answer costs nothing and ends the resending.
 * The throttle comes before values and cardinality, so that a batch of which nothing is kept takes
 * no slots.
 */
import type { LimitsConfig } from '../../config/schema.ts';
import type { Clock } from '../../lib/clock.ts';
import {
  type Batch,
  type BatchRejectReason,
  type PeerIdentity,
  type Rejection,
  type SampleColumns,
  SCHEMA_VERSION,
  type ThrottleReason,
} from '../../domain/telemetry.ts';
import type { BackpressureGate } from './backpressure-gate.ts';
import { checkIdentity } from './identity-check.ts';
import { RateLimiter } from './rate-limiter.ts';
import { filterSeries, filterValues } from './sample-filter.ts';
import type { SeriesLimiter } from './series-limiter.ts';

export type Verdict =
  /** `samples` is what is left of the batch, in its order; it may be empty. */
  | {
      readonly kind: 'accept';
      readonly nodeId: string;
      readonly samples: SampleColumns;
      readonly rejections: readonly Rejection[];
    }
  /** Durable, or about to be: to be acknowledged once the journal is durable. */
  | { readonly kind: 'duplicate'; readonly nodeId: string }
  | { readonly kind: 'reject'; readonly reason: BatchRejectReason; readonly message: string }
  | { readonly kind: 'throttle'; readonly reason: ThrottleReason; readonly retryAfterMs: number };

/** What is known of a batch's number. Never asked about sequence 0. */
export type ProducerLookup = (
  nodeId: string,
  epoch: number,
  sequence: number,
) => 'new' | 'pending' | 'durable' | 'out_of_window';

export interface AdmissionDeps {
  readonly clock: Clock;
  readonly limits: LimitsConfig;
  readonly delegates: readonly string[];
  readonly producer: ProducerLookup;
  readonly gate: BackpressureGate;
  readonly series: SeriesLimiter;
}

/** What is asked of a sender while the gate is shut for a reason. */
const RETRY_AFTER_MS: Readonly<Record<ThrottleReason, number>> = {
  backpressure: 250,
  node_rate: 250,
  journal_full: 1000,
  stopping: 1000,
};

export class Admission {
  readonly #clock: Clock;
  readonly #producer: ProducerLookup;
  readonly #gate: BackpressureGate;
  readonly #series: SeriesLimiter;
  readonly #rates: RateLimiter;
  #limits: LimitsConfig;
  #delegates: ReadonlySet<string>;

  constructor(deps: AdmissionDeps) {
    this.#clock = deps.clock;
    this.#producer = deps.producer;
    this.#gate = deps.gate;
    this.#series = deps.series;
    this.#rates = new RateLimiter(deps.clock, deps.limits.node_samples_per_second);
    this.#limits = deps.limits;
    this.#delegates = new Set(deps.delegates);
  }

  /** Those in force now. */
  get limits(): LimitsConfig {
    return this.#limits;
  }

  /** Nodes whose rate is being held; 0 while there is no limit. */
  get rateLimitedNodes(): number {
    return this.#rates.size;
  }

  /**
   * Decides about one batch of an authenticated peer. Synchronous; the caller does what it says.
   */
  admit(peer: PeerIdentity, batch: Batch): Verdict {
    const identity = checkIdentity(peer, batch.nodeId, this.#delegates);
    if (!identity.ok) return { kind: 'reject', reason: 'identity', message: identity.message };
    const { nodeId } = identity;
    return (
      this.#checkShape(batch) ??
      this.#checkDuplicate(nodeId, batch) ??
      this.#checkThrottle(nodeId, batch.samples.values.length) ??
      this.#keepGoodSamples(nodeId, batch)
    );
  }

  /** Takes effect from the next batch on, here and in the gate and the series limiter. */
  reconfigure(limits: LimitsConfig, delegates: readonly string[]): void {
    this.#limits = limits;
    this.#delegates = new Set(delegates);
    this.#rates.reconfigure(limits.node_samples_per_second);
    this.#series.reconfigure(limits);
    this.#gate.reconfigure({
      maxBatches: limits.backpressure_threshold,
      maxBytes: limits.backpressure_bytes,
    });
  }

  /** The codec has checked all this; its limits are those of when the connection opened. */
  #checkShape(batch: Batch): Verdict | undefined {
    if (batch.schemaVersion !== SCHEMA_VERSION) {
      const message = `schema_version is ${batch.schemaVersion}, not ${SCHEMA_VERSION}`;
      return { kind: 'reject', reason: 'schema_version', message };
    }
    const samples = batch.samples.values.length;
    const limit = this.#limits.max_batch_size;
    if (samples <= limit) return undefined;
    const message = `batch has ${samples} samples, over the limit of ${limit}`;
    return { kind: 'reject', reason: 'too_large', message };
  }

  #checkDuplicate(nodeId: string, batch: Batch): Verdict | undefined {
    if (batch.sequence === 0) return undefined;
    const { epoch, sequence } = batch;
    const known = this.#producer(nodeId, epoch, sequence);
    if (known === 'new') return undefined;
    if (known !== 'out_of_window') return { kind: 'duplicate', nodeId };
    const message = `sequence ${sequence} of epoch ${epoch} is too old to tell whether it is stored`;
    return { kind: 'reject', reason: 'out_of_window', message };
  }

  #checkThrottle(nodeId: string, samples: number): Verdict | undefined {
    const reason = this.#gate.shutReason();
    if (reason !== undefined) {
      return { kind: 'throttle', reason, retryAfterMs: RETRY_AFTER_MS[reason] };
    }
    const retryAfterMs = this.#rates.take(nodeId, samples);
    return retryAfterMs === 0 ? undefined : { kind: 'throttle', reason: 'node_rate', retryAfterMs };
  }

  #keepGoodSamples(nodeId: string, batch: Batch): Verdict {
    const { table } = batch;
    const nowMs = this.#clock.nowMs();
    const good = filterValues(table, batch.samples, {
      oldestMs: nowMs - this.#limits.max_timestamp_age_secs * 1000,
      newestMs: nowMs + this.#limits.max_timestamp_ahead_secs * 1000,
    });
    if (good.samples.values.length === 0) return { kind: 'accept', nodeId, ...good };
    const { admitted, refusedBy } = this.#series.resolve(nodeId, table);
    if (refusedBy === undefined) return { kind: 'accept', nodeId, ...good };
    const kept = filterSeries(table, good.samples, admitted, refusedBy);
    return {
      kind: 'accept',
      nodeId,
      samples: kept.samples,
      rejections: [...good.rejections, ...kept.rejections],
    };
  }
}
