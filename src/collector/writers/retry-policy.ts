/**
 * How a writer behaves towards a destination that fails: growing, jittered waits; after several
 * failures in a row a breaker that opens for longer and then lets one small write through.
 *
 *     closed ──failures──► open ──wait over──► probing ──success──► closed
 *                            ▲                    │
 *                            └─────failure────────┘
 *
 * It never gives up: what waits in the journal is safe there.
 */
import { Backoff } from '../../lib/backoff.ts';
import type { WriteFault, WriteFaultReason } from './write-fault.ts';

export type BreakerState = 'closed' | 'open' | 'probing';

/** Failures in a row that open the breaker. */
export const BREAKER_FAILURES = 5;
const OPEN_MS = 5000;
/** An operator has to act first: asking more often only fills logs. */
const OPERATOR_WAIT_MS = 10_000;
const FOR_THE_OPERATOR: ReadonlySet<WriteFaultReason> = new Set([
  'operator',
  'refused',
  'dead_letter',
]);

export class RetryPolicy {
  readonly #backoff: Backoff;
  #breaker: BreakerState = 'closed';

  constructor(random: () => number) {
    this.#backoff = new Backoff({ initialMs: 250, maxMs: 15_000 }, random);
  }

  get breaker(): BreakerState {
    return this.#breaker;
  }

  /** Failures since the last success. */
  get failures(): number {
    return this.#backoff.failures;
  }

  /** Takes note of a failure; returns how long to wait before the next try, in ms. */
  failed(fault: Pick<WriteFault, 'reason' | 'retryAfterMs'>): number {
    let floorMs = fault.retryAfterMs;
    if (FOR_THE_OPERATOR.has(fault.reason)) floorMs = Math.max(floorMs, OPERATOR_WAIT_MS);
    if (this.#breaker !== 'closed' || this.failures + 1 >= BREAKER_FAILURES) {
      this.#breaker = 'open';
      floorMs = Math.max(floorMs, OPEN_MS);
    }
    return this.#backoff.nextDelayMs(floorMs);
  }

  /** The wait is over; an open breaker now lets one small write through. */
  trying(): void {
    if (this.#breaker === 'open') this.#breaker = 'probing';
  }

  succeeded(): void {
    this.#backoff.reset();
    this.#breaker = 'closed';
  }
}
