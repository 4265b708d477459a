/**
 * The gate in front of the journal: how much has been received and is not yet durable, and whether
 * more may come in.
 *
 *     open ──batches or bytes reach their maximum──► overloaded ──both at half or less──► open
 *
 * Shutting late and opening early would make it flap at every batch; between the two watermarks it
 * stays what it is. Apart from that it can be held shut for other reasons (the journal has no room,
 * the daemon stops), each of which is taken back by itself. Those may last: agents must then hear
 * why, so only overload is a reason to stop reading.
 */
import { assert } from '../../lib/errors.ts';
import type { ThrottleReason } from '../../domain/telemetry.ts';

export interface GateLimits {
  /** Batches in flight at which the gate shuts. */
  readonly maxBatches: number;
  /** Bytes in flight at which the gate shuts. */
  readonly maxBytes: number;
}

export class BackpressureGate {
  #limits: GateLimits;
  #batches = 0;
  #bytes = 0;
  #isOverloaded = false;
  readonly #heldShutFor = new Set<ThrottleReason>();
  readonly #listeners: ((isOverloaded: boolean) => void)[] = [];

  constructor(limits: GateLimits) {
    this.#limits = limits;
  }

  /** Batches received and not yet durable. */
  get batches(): number {
    return this.#batches;
  }

  /** Bytes received and not yet durable. */
  get bytes(): number {
    return this.#bytes;
  }

  isOpen(): boolean {
    return !this.#isOverloaded && this.#heldShutFor.size === 0;
  }

  /** What to tell a sender while the gate is shut: held shut before overload. */
  shutReason(): ThrottleReason | undefined {
    const [heldShutFor] = this.#heldShutFor;
    return heldShutFor ?? (this.#isOverloaded ? 'backpressure' : undefined);
  }

  /** Calls `listener` each time too much is in flight, or no more, synchronously. */
  onOverload(listener: (isOverloaded: boolean) => void): void {
    this.#listeners.push(listener);
  }

  /** A batch is on its way to the journal. Never refuses: the caller has asked `isOpen`. */
  enter(bytes: number): void {
    this.#change(() => {
      this.#batches += 1;
      this.#bytes += bytes;
    });
  }

  /** The batch that entered with these bytes is durable, or has failed. */
  leave(bytes: number): void {
    assert(this.#batches > 0, 'a batch leaves the gate once, after it entered');
    assert(this.#bytes >= bytes, 'a batch leaves the gate with the bytes it entered with');
    this.#change(() => {
      this.#batches -= 1;
      this.#bytes -= bytes;
    });
  }

  /** Holds the gate shut until `reopen` with the same reason. Idempotent. */
  close(reason: ThrottleReason): void {
    this.#change(() => this.#heldShutFor.add(reason));
  }

  /** Takes back a `close`. Idempotent. */
  reopen(reason: ThrottleReason): void {
    this.#change(() => this.#heldShutFor.delete(reason));
  }

  /** Takes effect at once. */
  reconfigure(limits: GateLimits): void {
    this.#change(() => {
      this.#limits = limits;
    });
  }

  #change(step: () => void): void {
    const wasOverloaded = this.#isOverloaded;
    step();
    this.#updateOverload();
    if (this.#isOverloaded === wasOverloaded) return;
    for (const listener of this.#listeners) listener(this.#isOverloaded);
  }

  #updateOverload(): void {
    const { maxBatches, maxBytes } = this.#limits;
    if (this.#batches >= maxBatches || this.#bytes >= maxBytes) {
      this.#isOverloaded = true;
    } else if (this.#batches <= maxBatches / 2 && this.#bytes <= maxBytes / 2) {
      this.#isOverloaded = false;
    }
  }
}
