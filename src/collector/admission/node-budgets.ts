/**
 * What one node may ask of what all nodes share, beside its series: samples, bytes after expansion,
 * series tables to read and to look up, old hours. A batch that is over one of them is sent back to
 * come again later, so that an honest node loses nothing and a hostile one costs its neighbours
 * nothing.
 *
 * All budgets of an admission are asked before any is charged, so that a batch that has to come
 * again has not paid; what the journal then does not take is given back. A table is read before
 * that: its node pays then, and not again while the connection keeps it.
 */
import type { LimitsConfig } from '../../config/schema.ts';
import type { ThrottleReason } from '../../domain/telemetry.ts';
import type { Clock } from '../../lib/clock.ts';
import { HourBudget } from './hour-budget.ts';
import { RateLimiter, type UsedShare } from './rate-limiter.ts';

/** Rates are averaged over this: what an agent spooled in a short outage goes in one go. */
const RATE_BURST_SECONDS = 10;
/** Tables are new after a start and then seldom: a bucket holds the worth of a minute. */
const TABLE_BURST_SECONDS = 60;
/**
 * Reading holds up the main thread, up to a quarter of a second for a MiB, which is the default's
 * worth of this: the largest table there is. A node with more of them waits a few seconds.
 */
const READ_BURST_SECONDS = 4;
/** What a table costs beside its bytes, in the journal and in the caches, in bytes. */
const TABLE_OVERHEAD_BYTES = 1024;

/** What a batch asks for. */
export interface BatchDemand {
  readonly samples: number;
  /** Of its samples, each on a line of its own. */
  readonly expandedBytes: number;
  /** Of its table, where its series have to be looked up anew; else 0. */
  readonly newTableBytes: number;
  /** See `oldHoursOf`. */
  readonly oldHours: ReadonlySet<number>;
}

/** What a batch paid that is worth nothing where the journal does not take it. */
export type Payment = Pick<BatchDemand, 'samples' | 'expandedBytes'>;

/** A batch that is to come again, why, and when. */
export interface Postponed {
  readonly reason: ThrottleReason;
  readonly retryAfterMs: number;
}

export class NodeBudgets {
  readonly #samples: RateLimiter;
  readonly #expanded: RateLimiter;
  readonly #tables: RateLimiter;
  readonly #reading: RateLimiter;
  readonly #hours: HourBudget;

  constructor(clock: Clock, limits: LimitsConfig) {
    this.#samples = new RateLimiter(clock, limits.node_samples_per_second, RATE_BURST_SECONDS);
    this.#expanded = new RateLimiter(
      clock,
      limits.node_expanded_bytes_per_second,
      RATE_BURST_SECONDS,
    );
    this.#tables = new RateLimiter(clock, tableRate(limits), TABLE_BURST_SECONDS);
    this.#reading = new RateLimiter(clock, tableRate(limits), READ_BURST_SECONDS);
    this.#hours = new HourBudget(clock, limits.node_hours_per_minute);
  }

  /** Charges what the batch asks for, or says when it may come again and charges nothing. */
  charge(nodeId: string, demand: BatchDemand): Postponed | undefined {
    const { samples, expandedBytes, oldHours } = demand;
    const tableBytes = demand.newTableBytes > 0 ? demand.newTableBytes + TABLE_OVERHEAD_BYTES : 0;
    const postponed =
      after('node_rate', this.#samples.waitMs(nodeId, samples)) ??
      after('node_bytes', this.#expanded.waitMs(nodeId, expandedBytes)) ??
      after('node_tables', this.#tables.waitMs(nodeId, tableBytes)) ??
      after('node_hours', this.#hours.waitMs(nodeId, oldHours));
    if (postponed !== undefined) return postponed;
    this.#samples.take(nodeId, samples);
    this.#expanded.take(nodeId, expandedBytes);
    this.#tables.take(nodeId, tableBytes);
    this.#hours.take(nodeId, oldHours);
    return undefined;
  }

  /** Takes back the charge of a batch that was not stored; its tables and hours are paid for. */
  giveBack(nodeId: string, { samples, expandedBytes }: Payment): void {
    this.#samples.giveBack(nodeId, samples);
    this.#expanded.giveBack(nodeId, expandedBytes);
  }

  /**
   * Charges for reading so many bytes of series, and returns 0; or returns in how many ms to ask
   * again, and charges nothing.
   */
  chargeReading(nodeId: string, bytes: number): number {
    const cost = bytes + TABLE_OVERHEAD_BYTES;
    const waitMs = this.#reading.waitMs(nodeId, cost);
    if (waitMs === 0) this.#reading.take(nodeId, cost);
    return waitMs;
  }

  /** By budget: how much of it the node has used that has used most; over 1 is in debt. */
  mostUsedShares(): ReadonlyMap<string, number> {
    const most = (budget: Budget) => {
      let largest = 0;
      for (const { share } of budget.usedShares()) largest = Math.max(largest, share);
      return largest;
    };
    return new Map(this.#byName().map(([name, budget]) => [name, most(budget)]));
  }

  /** By budget: the nodes that have used most of it, most first. */
  topUsers(limit: number): Record<string, readonly UsedShare[]> {
    const top = (budget: Budget) =>
      [...budget.usedShares()].sort((a, b) => b.share - a.share).slice(0, limit);
    return Object.fromEntries(this.#byName().map(([name, budget]) => [name, top(budget)]));
  }

  /** Takes effect at once. */
  reconfigure(limits: LimitsConfig): void {
    this.#samples.reconfigure(limits.node_samples_per_second);
    this.#expanded.reconfigure(limits.node_expanded_bytes_per_second);
    this.#tables.reconfigure(tableRate(limits));
    this.#reading.reconfigure(tableRate(limits));
    this.#hours.reconfigure(limits.node_hours_per_minute);
  }

  #byName(): [name: string, budget: Budget][] {
    return [
      ['samples', this.#samples],
      ['expanded_bytes', this.#expanded],
      ['table_bytes', this.#tables],
      ['table_reading', this.#reading],
      ['hours', this.#hours],
    ];
  }
}

/** A budget of each node. */
interface Budget {
  usedShares(): Iterable<UsedShare>;
}

function tableRate(limits: LimitsConfig): number {
  return limits.node_table_bytes_per_minute / TABLE_BURST_SECONDS;
}

function after(reason: ThrottleReason, retryAfterMs: number): Postponed | undefined {
  return retryAfterMs === 0 ? undefined : { reason, retryAfterMs };
}
