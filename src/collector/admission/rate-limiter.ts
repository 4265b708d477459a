/**
 * A token bucket for each node, for samples, or bytes of some kind. A full bucket holds the worth
 * of some seconds, so that an agent may send what it spooled in one go and still keeps to its rate
 * on average.
 *
 * A bucket may go into debt: a batch larger than a whole bucket passes when the bucket is full, and
 * the node then waits until the debt is paid. Otherwise such a batch could never pass.
 *
 * Full buckets say nothing and are forgotten; a node's bucket therefore lives for as long after its
 * last batch as it takes to fill.
 */
import type { Clock } from '../../lib/clock.ts';

/** An agent asks again after this at the latest, in case the rate was raised meanwhile. */
const MAX_RETRY_AFTER_MS = 60_000;
/** Past this the bucket that was longest unused is forgotten, full or not. */
const MAX_BUCKETS = 100_000;
const FORGOTTEN_PER_CALL = 2;
/**
 * Tokens are earned in fractions, whose sums are a little off; who waited long enough must pass.
 */
const TOLERANCE = 1e-6;

/** How much of a budget a node has used. */
export interface UsedShare {
  readonly nodeId: string;
  readonly share: number;
}

interface Bucket {
  readonly tokens: number;
  readonly updatedMs: number;
}

export class RateLimiter {
  readonly #clock: Clock;
  readonly #burstSeconds: number;
  #perSecond: number;
  /** Least recently used first. */
  readonly #buckets = new Map<string, Bucket>();

  /** `perSecond` 0 = no limit; a full bucket holds `burstSeconds` of it. */
  constructor(clock: Clock, perSecond: number, burstSeconds: number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#burstSeconds = burstSeconds;
  }

  /** Buckets in memory. */
  get size(): number {
    return this.#buckets.size;
  }

  /** How empty the buckets are that are not full: 0 is full, 1 is empty, more is in debt. */
  *usedShares(): Iterable<UsedShare> {
    const nowMs = this.#clock.monotonicMs();
    for (const [nodeId, bucket] of this.#buckets) {
      yield { nodeId, share: 1 - this.#tokensAt(bucket, nowMs) / this.#capacity };
    }
  }

  /** Takes effect at once; buckets start again. */
  reconfigure(perSecond: number): void {
    if (perSecond === this.#perSecond) return;
    this.#perSecond = perSecond;
    this.#buckets.clear();
  }

  /**
   * 0 where the node may take `amount` now; otherwise in how many ms (at least 1) it is worth
   * asking again. Takes nothing.
   */
  waitMs(nodeId: string, amount: number): number {
    const bucket = this.#buckets.get(nodeId);
    if (this.#perSecond === 0 || bucket === undefined) return 0;
    const needed = Math.min(amount, this.#capacity) - TOLERANCE;
    const tokens = this.#tokensAt(bucket, this.#clock.monotonicMs());
    if (tokens >= needed) return 0;
    const waitMs = Math.ceil(((needed - tokens) / this.#perSecond) * 1000);
    return Math.min(Math.max(waitMs, 1), MAX_RETRY_AFTER_MS);
  }

  /** Takes `amount`, into debt if need be: `waitMs` was asked before. */
  take(nodeId: string, amount: number): void {
    if (this.#perSecond === 0 || amount === 0) return;
    const nowMs = this.#clock.monotonicMs();
    this.#forgetFullBuckets(nowMs);
    const known = this.#buckets.get(nodeId);
    const tokens = known === undefined ? this.#capacity : this.#tokensAt(known, nowMs);
    this.#buckets.delete(nodeId);
    this.#buckets.set(nodeId, { tokens: tokens - amount, updatedMs: nowMs });
    if (this.#buckets.size > MAX_BUCKETS) this.#forgetFirst();
  }

  /** Gives back what was taken for nothing. */
  giveBack(nodeId: string, amount: number): void {
    const bucket = this.#buckets.get(nodeId);
    if (bucket === undefined) return;
    this.#buckets.set(nodeId, { ...bucket, tokens: bucket.tokens + amount });
  }

  get #capacity(): number {
    return this.#perSecond * this.#burstSeconds;
  }

  /** A little at every call, so that no call does much. */
  #forgetFullBuckets(nowMs: number): void {
    for (let count = 0; count < FORGOTTEN_PER_CALL; count += 1) {
      const [first] = this.#buckets.values();
      if (first === undefined || this.#tokensAt(first, nowMs) < this.#capacity) return;
      this.#forgetFirst();
    }
  }

  #forgetFirst(): void {
    const [first] = this.#buckets.keys();
    if (first !== undefined) this.#buckets.delete(first);
  }

  #tokensAt(bucket: Bucket, nowMs: number): number {
    const earned = ((nowMs - bucket.updatedMs) / 1000) * this.#perSecond;
    return Math.min(this.#capacity, bucket.tokens + earned);
  }
}
