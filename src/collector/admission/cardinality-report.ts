/**
 * What an operator needs when series are refused: how full it is, and who fills it.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../lib/clock.ts';
import { SERIES_REFUSALS, type SeriesLimiter } from './series-limiter.ts';

const OFFENDERS_SHOWN = 10;
const OFFENDERS_LOGGED = 3;
const LOG_INTERVAL_MS = 60_000;

/**
 * The page `/cardinality`: series, limits, refusals and the top offenders by node, metric and
 * label.
 */
export function cardinalityReport(series: SeriesLimiter) {
  return {
    series: series.size,
    nodes: series.nodes(),
    limits: {
      max_cardinality: series.limits.max_cardinality,
      max_cardinality_per_node: series.limits.max_cardinality_per_node,
      max_series_text_per_node: series.limits.max_series_text_per_node,
      series_ttl_secs: series.limits.series_ttl_secs,
    },
    refusedNow: series.refusedNow,
    refusedTotal: refusedTotal(series),
    topOffenders: series.topOffenders(OFFENDERS_SHOWN),
  };
}

/** Says in the log, once a minute at most, that series are being refused and whose they are. */
export class RefusalLog {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #series: SeriesLimiter;
  #loggedTotal = 0;
  #nextLogMs = 0;

  constructor(clock: Clock, logger: Logger, series: SeriesLimiter) {
    this.#clock = clock;
    this.#logger = logger;
    this.#series = series;
  }

  /** Called every second or so. */
  log(): void {
    const total = refusedTotal(this.#series);
    const nowMs = this.#clock.monotonicMs();
    if (total === this.#loggedTotal || nowMs < this.#nextLogMs) return;
    this.#logger.warn(
      {
        refused: total - this.#loggedTotal,
        series: this.#series.size,
        ...this.#series.topOffenders(OFFENDERS_LOGGED),
      },
      'new series refused: a cardinality limit is reached',
    );
    this.#loggedTotal = total;
    this.#nextLogMs = nowMs + LOG_INTERVAL_MS;
  }
}

function refusedTotal(series: SeriesLimiter): number {
  return SERIES_REFUSALS.reduce((sum, reason) => sum + series.refusedTotal(reason), 0);
}
