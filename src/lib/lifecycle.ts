/**
 * Closing in reverse order of opening. Node 20 has no AsyncDisposableStack; this is the part of it
 * that the daemon needs, plus a report of how long each step took.
 */

export interface ClosedStep {
  readonly name: string;
  readonly seconds: number;
  /** What the step threw; undefined where it closed well. */
  readonly error: unknown;
}

export class Lifecycle {
  readonly #monotonicMs: () => number;
  readonly #steps: { name: string; close: () => void | Promise<void> }[] = [];
  #closing: Promise<ClosedStep[]> | undefined;

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  /** Registers how to close what was just opened. */
  defer(name: string, close: () => void | Promise<void>): void {
    this.#steps.push({ name, close });
  }

  /** Closes everything, last opened first; a failing step does not stop the others. Idempotent. */
  close(onStep: (step: ClosedStep) => void = () => {}): Promise<ClosedStep[]> {
    this.#closing ??= this.#closeAll(onStep);
    return this.#closing;
  }

  async #closeAll(onStep: (step: ClosedStep) => void): Promise<ClosedStep[]> {
    const closed: ClosedStep[] = [];
    for (const { name, close } of this.#steps.toReversed()) {
      const startedMs = this.#monotonicMs();
      let error: unknown;
      try {
        await close();
      } catch (thrown) {
        error = thrown;
      }
      const step = { name, seconds: (this.#monotonicMs() - startedMs) / 1000, error };
      closed.push(step);
      onStep(step);
    }
    return closed;
  }
}
