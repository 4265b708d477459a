/**
 * Tells the agent's operator what the collector refuses, and why: a line a minute with the samples
 * by reason, since a clock that is off, or a new label, is refused with every batch.
 */
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.ts';
import type { BatchAck, Hello, RejectReason } from '../domain/telemetry.ts';

const LOG_INTERVAL_MS = 60_000;

/** What a reason stands for where a newer collector gives one that this program does not know. */
export type RefusalReason = RejectReason | 'other';

const ABOUT_TIME: readonly RefusalReason[] = ['too_old', 'too_far_ahead'];

export class RejectionLog {
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** Samples since the start, by reason. */
  readonly #totals = new Map<RefusalReason, number>();
  /** Since the last line. */
  #recent = new Map<RefusalReason, { samples: number; firstSeries: string }>();
  #message = '';
  #clockAheadMs: number | undefined;
  #cancelLine: (() => void) | undefined;
  #nextLineMs = 0;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Samples refused since the start, by reason. */
  get totals(): ReadonlyMap<RefusalReason, number> {
    return this.#totals;
  }

  /** How far this machine's clock is ahead of the collector's; undefined where it did not say. */
  get clockAheadMs(): number | undefined {
    return this.#clockAheadMs;
  }

  /** Compares the clocks: a Hello arrives half a round trip after it was made. */
  greeted({ timeMs }: Hello): void {
    this.#clockAheadMs = timeMs === 0 ? undefined : this.#clock.nowMs() - timeMs;
  }

  /** Notes an answer that refused `samples` of a batch, or all of it. */
  refused(ack: BatchAck, samples: number): void {
    let unexplained = samples;
    for (const { reason, count, firstSeries } of ack.rejections) {
      const known = Math.min(count, unexplained);
      unexplained -= known;
      this.#count(reason, known, firstSeries);
    }
    if (unexplained > 0) this.#count('other', unexplained, '');
    if (ack.message !== '') this.#message = ack.message;
    this.#planLine();
  }

  /** Says what is left to say. */
  close(): void {
    this.#cancelLine?.();
    this.#cancelLine = undefined;
    this.#line();
  }

  #count(reason: RefusalReason, samples: number, series: string): void {
    if (samples === 0) return;
    this.#totals.set(reason, (this.#totals.get(reason) ?? 0) + samples);
    const recent = this.#recent.get(reason);
    const firstSeries = recent?.firstSeries || series;
    this.#recent.set(reason, { samples: samples + (recent?.samples ?? 0), firstSeries });
  }

  /** The first refusal is logged at once; those that follow wait until the minute is over. */
  #planLine(): void {
    const waitMs = this.#nextLineMs - this.#clock.monotonicMs();
    if (waitMs <= 0) this.#line();
    else this.#cancelLine ??= this.#clock.after(waitMs, () => this.#line());
  }

  #line(): void {
    this.#cancelLine = undefined;
    if (this.#recent.size === 0) return;
    this.#nextLineMs = this.#clock.monotonicMs() + LOG_INTERVAL_MS;
    const reasons = [...this.#recent].map(([reason, recent]) => ({ reason, ...recent }));
    const isAboutTime = reasons.some(({ reason }) => ABOUT_TIME.includes(reason));
    const fields = {
      reasons,
      ...(this.#message === '' ? {} : { collectorSays: this.#message }),
      ...(isAboutTime ? { clockAheadMs: this.#clockAheadMs ?? 'unknown' } : {}),
    };
    this.#recent = new Map();
    this.#message = '';
    this.#logger.warn(fields, 'the collector refused samples');
  }
}
