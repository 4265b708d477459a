/**
 * What one caller may cost the others: requests in a minute, and requests at once. The rate is a
 * bucket that holds one minute's worth and fills evenly.
 */
import type { Clock } from '../../lib/clock.ts';

const WINDOW_MS = 60_000;

export type BudgetVerdict =
  | { readonly kind: 'granted' /** Call once, when the request has ended. */; release: () => void }
  | { readonly kind: 'rate'; readonly retryAfterSecs: number }
  | { readonly kind: 'concurrency'; readonly limit: number };

/** The budget of one caller. */
export class RequestBudget {
  readonly #clock: Clock;
  readonly #perMinute: number;
  readonly #atOnceMax: number;
  #left: number;
  #filledAtMs: number;
  #atOnce = 0;

  /** `perMinute` 0 = no limit of the rate. */
  constructor(clock: Clock, perMinute: number, atOnceMax: number) {
    this.#clock = clock;
    this.#perMinute = perMinute;
    this.#atOnceMax = atOnceMax;
    this.#left = perMinute;
    this.#filledAtMs = clock.monotonicMs();
  }

  /** Takes one request from the budget, or says why not. */
  take(): BudgetVerdict {
    if (this.#atOnce >= this.#atOnceMax) return { kind: 'concurrency', limit: this.#atOnceMax };
    if (this.#perMinute > 0) {
      this.#fill();
      if (this.#left < 1) return { kind: 'rate', retryAfterSecs: this.#secondsUntil(1) };
      this.#left -= 1;
    }
    this.#atOnce += 1;
    let isReleased = false;
    const release = () => {
      if (!isReleased) this.#atOnce -= 1;
      isReleased = true;
    };
    return { kind: 'granted', release };
  }

  /**
   * `RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers-11; {} where the
   * rate has no limit.
   */
  headers(): Record<string, string> {
    if (this.#perMinute === 0) return {};
    this.#fill();
    const left = Math.floor(this.#left);
    return {
      'ratelimit-policy': `"requests";q=${this.#perMinute};w=${WINDOW_MS / 1000}`,
      ratelimit: `"requests";r=${left};t=${this.#secondsUntil(this.#perMinute)}`,
    };
  }

  #fill(): void {
    const nowMs = this.#clock.monotonicMs();
    const gained = ((nowMs - this.#filledAtMs) / WINDOW_MS) * this.#perMinute;
    this.#left = Math.min(this.#perMinute, this.#left + gained);
    this.#filledAtMs = nowMs;
  }

  /** Whole seconds until the bucket holds `requests`. */
  #secondsUntil(requests: number): number {
    const missing = Math.max(0, requests - this.#left);
    return Math.ceil(((missing / this.#perMinute) * WINDOW_MS) / 1000);
  }
}
