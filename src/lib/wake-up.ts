/**
 * A wait that can be cut short: the pause of a loop that has nothing to do until poked.
 */
import type { Clock } from './clock.ts';

export class WakeUp {
  readonly #clock: Clock;
  #poked = false;
  #wake: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Ends the wait under way, or the next one at once. */
  poke(): void {
    this.#poked = true;
    this.#wake?.();
  }

  /** Resolves after `ms` or a poke, whichever is first. One waiter at a time. */
  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = () => {
        cancel();
        this.#wake = undefined;
        this.#poked = false;
        resolve();
      };
      const cancel = this.#clock.after(ms, finish);
      this.#wake = finish;
      if (this.#poked) finish();
    });
  }
}
