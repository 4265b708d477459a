/**
 * The books, in samples. Two equations hold at every instant and across crashes:
 *
 *     received = accepted + duplicate + rejected
 *     accepted = skipped + written + dead-lettered + pending        for each writer
 *
 * `received` is the sum, so the first cannot fail. `accepted` moves only when a record has become
 * durable, `written` and `deadLettered` only when a cursor has: the journal writes them in the same
 * transaction. `skipped` is what was accepted and gone before the writer was first enabled.
 * `throttled` was sent back and will come again; it is in neither equation.
 */
import type { RejectReason, ThrottleReason } from '../../domain/telemetry.ts';

export interface WriterLedger {
  readonly written: number;
  readonly deadLettered: number;
  readonly skipped: number;
}

/**
 * What the journal keeps of the ledger in each transaction; `accepted` is kept by the log itself.
 */
export interface LedgerSnapshot {
  readonly duplicate: number;
  readonly rejected: Readonly<Record<string, number>>;
  readonly throttled: Readonly<Record<string, number>>;
}

export class Ledger {
  readonly #acceptedSamples: () => number;
  readonly #rejected = new Map<RejectReason, number>();
  readonly #throttled = new Map<ThrottleReason, number>();
  readonly #writers = new Map<string, WriterLedger>();
  #rejectedTotal = 0;
  #duplicate = 0;
  #onChange = () => {};

  /** Accepted samples are those of the log's head; they are asked for, not kept twice. */
  constructor(acceptedSamples: () => number) {
    this.#acceptedSamples = acceptedSamples;
  }

  /** For the journal only: tells of changes that no other transaction would store. */
  onChange(listener: () => void): void {
    this.#onChange = listener;
  }

  get received(): number {
    return this.accepted + this.#duplicate + this.#rejectedTotal;
  }

  get accepted(): number {
    return this.#acceptedSamples();
  }

  get duplicate(): number {
    return this.#duplicate;
  }

  get rejected(): ReadonlyMap<RejectReason, number> {
    return this.#rejected;
  }

  get throttled(): ReadonlyMap<ThrottleReason, number> {
    return this.#throttled;
  }

  get writers(): ReadonlyMap<string, WriterLedger> {
    return this.#writers;
  }

  countDuplicate(samples: number): void {
    if (samples === 0) return;
    this.#duplicate += samples;
    this.#onChange();
  }

  countRejected(reason: RejectReason, samples: number): void {
    if (samples === 0) return;
    this.#rejected.set(reason, (this.#rejected.get(reason) ?? 0) + samples);
    this.#rejectedTotal += samples;
    this.#onChange();
  }

  countThrottled(reason: ThrottleReason, samples: number): void {
    if (samples === 0) return;
    this.#throttled.set(reason, (this.#throttled.get(reason) ?? 0) + samples);
    this.#onChange();
  }

  /** For the journal only: what a cursor's transaction has made durable. */
  setWriter(name: string, figures: WriterLedger): void {
    this.#writers.set(name, figures);
  }

  snapshot(): LedgerSnapshot {
    return {
      duplicate: this.#duplicate,
      rejected: Object.fromEntries(this.#rejected),
      throttled: Object.fromEntries(this.#throttled),
    };
  }

  /** For the journal only: continues from a snapshot. */
  restore(snapshot: LedgerSnapshot): void {
    this.#duplicate = snapshot.duplicate;
    this.#rejectedTotal = 0;
    for (const [reason, samples] of Object.entries(snapshot.rejected)) {
      this.#rejected.set(reason as RejectReason, samples);
      this.#rejectedTotal += samples;
    }
    for (const [reason, samples] of Object.entries(snapshot.throttled)) {
      this.#throttled.set(reason as ThrottleReason, samples);
    }
  }
}
