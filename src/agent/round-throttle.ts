/**
 * Collects less often while the spool fills: a token bucket that every round would fill with one
 * token, and fills with less the deeper the spool is. A round that finds no token is left out. So a
 * collector that is away for long costs resolution evenly, instead of all that is newest.
 */

export interface ThrottleOptions {
  readonly isEnabled: boolean;
  /** Batches without an answer that count as a full spool. */
  readonly maxQueueDepth: number;
  /** Bytes of the spool. */
  readonly maxBytes: number;
  /** Of the rounds, when the spool is full. */
  readonly rate: number;
}

/** What waits for an answer. */
export interface QueueDepth {
  readonly batches: number;
  readonly bytes: number;
}

/** Up to here the spool only bridges an ordinary pause. */
const FREE_SHARE = 0.5;

export class RoundThrottle {
  readonly #options: ThrottleOptions;
  /** Under 1 after each round, so that none are saved up. */
  #tokens = 0;
  #rate = 1;
  /** Rounds that were left out. */
  throttledRounds = 0;

  constructor(options: ThrottleOptions) {
    this.#options = options;
  }

  /** The share of rounds that are made at present, up to 1. */
  get rate(): number {
    return this.#rate;
  }

  /** Whether the round that is due may be made. */
  admit(depth: QueueDepth): boolean {
    this.#rate = this.#options.isEnabled ? this.#rateAt(depth) : 1;
    this.#tokens += this.#rate;
    if (this.#tokens < 1 - ROUNDING) {
      this.throttledRounds += 1;
      return false;
    }
    this.#tokens -= 1;
    return true;
  }

  #rateAt({ batches, bytes }: QueueDepth): number {
    const { maxQueueDepth, maxBytes, rate } = this.#options;
    const full = Math.min(1, Math.max(batches / maxQueueDepth, bytes / maxBytes));
    const over = Math.max(0, (full - FREE_SHARE) / (1 - FREE_SHARE));
    return 1 - over * (1 - rate);
  }
}

/** Sums of tenths do not come out even. */
const ROUNDING = 1e-9;
