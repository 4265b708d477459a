/**
 * Progress on its way to the main thread: one report at a time, and what comes up meanwhile becomes
 * one report more. So however slow the commits are, what waits for them is a few numbers, and the
 * names of files that were published meanwhile.
 */
import { mergeProgress } from '../../journal/cursors.ts';
import type { WriterProgress } from './writer.ts';

export class ProgressReporter {
  readonly #send: (progress: WriterProgress) => void;
  #waiting: WriterProgress | undefined;
  #isUnderWay = false;
  #onIdle: (() => void)[] = [];

  constructor(send: (progress: WriterProgress) => void) {
    this.#send = send;
  }

  report(progress: WriterProgress): void {
    const files = [...(this.#waiting?.files ?? []), ...(progress.files ?? [])];
    this.#waiting = { ...mergeProgress(this.#waiting, progress), files };
    if (!this.#isUnderWay) this.#sendWaiting();
  }

  /** The last report is committed. */
  committed(): void {
    this.#isUnderWay = false;
    if (this.#waiting !== undefined) {
      this.#sendWaiting();
      return;
    }
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  /** Resolves when everything reported is committed. */
  idle(): Promise<void> {
    if (!this.#isUnderWay) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #sendWaiting(): void {
    const progress = this.#waiting!;
    this.#waiting = undefined;
    this.#isUnderWay = true;
    this.#send(progress);
  }
}
