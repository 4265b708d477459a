/**
 * Decides about batches. Looks at a decoded batch in a fixed order and gives one verdict; a verdict
 * has no effect on anything that is asked later, but for two: an accepted batch has used the
 * budgets of its node, and its series hold their slots.
 *
 *     identity → shape → duplicate → gate → values, hours, size → node's budgets → cardinality
 *
 * Before that, reading a table that is new to its connection is charged for: see `chargeReading`.
 *
 * Duplicates come before all that throttles, because their answer costs nothing and ends the
 * resending. Cardinality comes last, so that a batch of which nothing is kept takes no slots.
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
import { oldHoursOf } from './hour-budget.ts';
import { NodeBudgets, type Payment } from './node-budgets.ts';
import { type FilterResult, filterHours, filterSeries, filterValues } from './sample-filter.ts';
import { type SeriesCosts, TableCosts } from './series-costs.ts';
import type { UsedShare } from './rate-limiter.ts';
import type { SeriesLimiter } from './series-limiter.ts';

export type Verdict =
  /** `samples` is what is left of the batch, in its order; it may be empty. */
  | {
      readonly kind: 'accept';
      readonly nodeId: string;
      readonly samples: SampleColumns;
      readonly rejections: readonly Rejection[];
      /** For `giveBack`. */
      readonly paid: Payment;
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

/** How long a sender is to wait while too much is under way: the disk is done with it by then. */
const OVERLOAD_RETRY_AFTER_MS = 250;
/** And while the gate is held shut for another reason, which lasts longer. */
const SHUT_RETRY_AFTER_MS = 1000;

export class Admission {
  readonly #clock: Clock;
  readonly #producer: ProducerLookup;
  readonly #gate: BackpressureGate;
  readonly #series: SeriesLimiter;
  readonly #budgets: NodeBudgets;
  readonly #costs = new TableCosts();
  #limits: LimitsConfig;
  #delegates: ReadonlySet<string>;

  constructor(deps: AdmissionDeps) {
    this.#clock = deps.clock;
    this.#producer = deps.producer;
    this.#gate = deps.gate;
    this.#series = deps.series;
    this.#budgets = new NodeBudgets(deps.clock, deps.limits);
    this.#limits = deps.limits;
    this.#delegates = new Set(deps.delegates);
  }

  /** Those in force now. */
  get limits(): LimitsConfig {
    return this.#limits;
  }

  /** See `NodeBudgets`. */
  mostUsedShares(): ReadonlyMap<string, number> {
    return this.#budgets.mostUsedShares();
  }

  /** See `NodeBudgets`. */
  topUsers(limit: number): Record<string, readonly UsedShare[]> {
    return this.#budgets.topUsers(limit);
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
      this.#checkGate() ??
      this.#keepGoodSamples(nodeId, batch)
    );
  }

  /**
   * Asks for reading so many bytes of series that are new to a connection, of a batch that claims
   * to be `claimed`'s: 0 where that is paid for now, else in how many ms to ask again. A peer that
   * claims another's name pays itself.
   */
  chargeReading(peer: PeerIdentity, claimed: string, bytes: number): number {
    const identity = checkIdentity(peer, claimed, this.#delegates);
    return this.#budgets.chargeReading(identity.ok ? identity.nodeId : peer.nodeIds[0], bytes);
  }

  /** The journal did not take an accepted batch: it comes again, and pays then. */
  giveBack({ nodeId, paid }: Extract<Verdict, { kind: 'accept' }>): void {
    this.#budgets.giveBack(nodeId, paid);
  }

  /** Takes effect from the next batch on, here and in the gate and the series limiter. */
  reconfigure(limits: LimitsConfig, delegates: readonly string[]): void {
    this.#limits = limits;
    this.#delegates = new Set(delegates);
    this.#budgets.reconfigure(limits);
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

  #checkGate(): Verdict | undefined {
    const reason = this.#gate.shutReason();
    if (reason === undefined) return undefined;
    const retryAfterMs = reason === 'backpressure' ? OVERLOAD_RETRY_AFTER_MS : SHUT_RETRY_AFTER_MS;
    return { kind: 'throttle', reason, retryAfterMs };
  }

  #keepGoodSamples(nodeId: string, batch: Batch): Verdict {
    const { table } = batch;
    const nowMs = this.#clock.nowMs();
    const costs = this.#costs.of(table);
    const good = this.#filter(batch, costs, nowMs);
    const { samples } = good;
    const isTableUsed = samples.values.length > 0;
    const isTableNew = isTableUsed && !this.#series.knows(nodeId, table);
    const paid = {
      samples: batch.samples.values.length,
      expandedBytes: expandedBytes(samples, costs),
    };
    const postponed = this.#budgets.charge(nodeId, {
      ...paid,
      newTableBytes: isTableNew ? table.bytes.length : 0,
      oldHours: oldHoursOf(samples.timestampsMs, nowMs),
    });
    if (postponed !== undefined) return { kind: 'throttle', ...postponed };
    if (!isTableUsed) return { kind: 'accept', nodeId, paid, ...good };
    const { admitted, refusedBy } = this.#series.resolve(nodeId, table, costs.textBytes);
    if (refusedBy === undefined) return { kind: 'accept', nodeId, paid, ...good };
    const kept = filterSeries(table, samples, admitted, refusedBy);
    return { kind: 'accept', nodeId, paid, ...joined(good, kept) };
  }

  /** What needs no state to be judged: values, times, the hours of a batch, the size of a line. */
  #filter({ table, samples }: Batch, costs: SeriesCosts, nowMs: number): FilterResult {
    const limits = this.#limits;
    const good = filterValues(table, samples, {
      oldestMs: nowMs - limits.max_timestamp_age_secs * 1000,
      newestMs: nowMs + limits.max_timestamp_ahead_secs * 1000,
    });
    const timely = joined(good, filterHours(table, good.samples, limits.max_hours_per_batch));
    if (costs.largestLineBytes <= limits.max_expanded_bytes) return timely;
    const fits = Uint8Array.from(costs.lineBytes, (bytes) =>
      bytes <= limits.max_expanded_bytes ? 1 : 0,
    );
    return joined(timely, filterSeries(table, timely.samples, fits, 'expanded_bytes'));
  }
}

/** What is left after a second filter, and what both refused. */
function joined(first: FilterResult, second: FilterResult): FilterResult {
  if (second.rejections.length === 0) return first;
  return {
    samples: second.samples,
    rejections: [...first.rejections, ...second.rejections],
  };
}

function expandedBytes({ series }: SampleColumns, { lineBytes }: SeriesCosts): number {
  let bytes = 0;
  for (let index = 0; index < series.length; index += 1) bytes += lineBytes[series[index]!]!;
  return bytes;
}
