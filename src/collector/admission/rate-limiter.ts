/**
 * A token bucket of samples for each node. A full bucket holds ten seconds' worth, so that an agent
 * may send what it spooled in one go and still keeps to its rate on average.
 *
 * A bucket may go into debt: a batch larger than a whole bucket passes when the bucket is full, and
 * the node then waits until the debt is paid. Otherwise such a batch could never pass.
 *
 * Full buckets say nothing and are forgotten; a node's bucket therefore lives for ten seconds after
 * its last batch, plus its debt.
 */
import type { Clock } from '../../lib/clock.ts';

const BURST_SECONDS = 10;
/** An agent asks again after this at the latest, in case the rate was raised meanwhile. */
const MAX_RETRY_AFTER_MS = 60_000;
/** Past this the bucket that was longest unused is forgotten, full or not. */
const MAX_BUCKETS = 100_000;
const FORGOTTEN_PER_CALL = 2;
/**
 * Tokens are earned in fractions, whose sums are a little off; who waited long enough must pass.
 */
const TOLERANCE = 1e-6;

interface Bucket {
  tokens: number;
  updatedMs: number;
}

export class RateLimiter {
  readonly #clock: Clock;
  #samplesPerSecond: number;
  /** Least recently used first. */
  readonly #buckets = new Map<string, Bucket>();

  /** `samplesPerSecond` 0 = no limit. */
  constructor(clock: Clock, samplesPerSecond: number) {
    this.#clock = clock;
    this.#samplesPerSecond = samplesPerSecond;
  }

  /** Buckets in memory. */
  get size(): number {
    return this.#buckets.size;
  }

  /** Takes effect at once; buckets start anew. */
  reconfigure(samplesPerSecond: number): void {
    if (samplesPerSecond === this.#samplesPerSecond) return;
    this.#samplesPerSecond = samplesPerSecond;
    this.#buckets.clear();
  }

  /**
   * Takes `samples` tokens of a node and returns 0, or takes nothing and returns in how many ms (at
   * least 1) it is worth asking again.
   */
  take(nodeId: string, samples: number): number {
    const rate = this.#samplesPerSecond;
    if (rate === 0) return 0;
    const nowMs = this.#clock.monotonicMs();
    this.#forgetFullBuckets(nowMs);
    const capacity = rate * BURST_SECONDS;
    const bucket = this.#bucket(nodeId, nowMs, capacity);
    const needed = Math.min(samples, capacity) - TOLERANCE;
    if (bucket.tokens >= needed) {
      bucket.tokens -= samples;
      return 0;
    }
    const waitMs = Math.ceil(((needed - bucket.tokens) / rate) * 1000);
    return Math.min(Math.max(waitMs, 1), MAX_RETRY_AFTER_MS);
  }

  /** The node's bucket as of now, moved to the end of the line. */
  #bucket(nodeId: string, nowMs: number, capacity: number): Bucket {
    const bucket = this.#buckets.get(nodeId) ?? { tokens: capacity, updatedMs: nowMs };
    this.#buckets.delete(nodeId);
    this.#buckets.set(nodeId, bucket);
    bucket.tokens = this.#tokensAt(bucket, nowMs, capacity);
    bucket.updatedMs = nowMs;
    if (this.#buckets.size > MAX_BUCKETS) this.#forgetFirst();
    return bucket;
  }

  /** A little at every call, so that no call does much. */
  #forgetFullBuckets(nowMs: number): void {
    const capacity = this.#samplesPerSecond * BURST_SECONDS;
    for (let count = 0; count < FORGOTTEN_PER_CALL; count += 1) {
      const [first] = this.#buckets.values();
      if (first === undefined || this.#tokensAt(first, nowMs, capacity) < capacity) return;
      this.#forgetFirst();
    }
  }

  #forgetFirst(): void {
    const [first] = this.#buckets.keys();
    if (first !== undefined) this.#buckets.delete(first);
  }

  #tokensAt(bucket: Bucket, nowMs: number, capacity: number): number {
    const earned = ((nowMs - bucket.updatedMs) / 1000) * this.#samplesPerSecond;
    return Math.min(capacity, bucket.tokens + earned);
  }
}
