/**
 * The feed's figures over restarts of its thread: counters go on, gauges are those of the thread
 * that lives.
 */
import { CLOSING_WORDS, type ClosingWord } from '../../feed/feed-contract.ts';
import type { FeedFigures } from './feed-thread-messages.ts';

export type FeedTotalsFigures = FeedFigures & { readonly restarts: number };

export class FeedTotals {
  #ended: FeedFigures['dropped'] = {};
  #current: FeedFigures = NOTHING;
  #restarts = 0;

  get figures(): FeedTotalsFigures {
    const dropped = sums(this.#ended, this.#current.dropped);
    return { ...this.#current, dropped, restarts: this.#restarts };
  }

  /** Whether a reader has come where there was none. */
  take(figures: FeedFigures): boolean {
    const isFirst = this.#current.readers === 0 && figures.readers > 0;
    this.#current = figures;
    return isFirst;
  }

  workerEnded(): void {
    this.#ended = sums(this.#ended, this.#current.dropped);
    this.#current = NOTHING;
    this.#restarts += 1;
  }
}

const NOTHING: FeedFigures = { readers: 0, queuedBytes: 0, lagRecords: 0, dropped: {} };

function sums(a: FeedFigures['dropped'], b: FeedFigures['dropped']): FeedFigures['dropped'] {
  const sum: Partial<Record<ClosingWord, number>> = {};
  for (const word of CLOSING_WORDS) sum[word] = (a[word] ?? 0) + (b[word] ?? 0);
  return sum;
}
