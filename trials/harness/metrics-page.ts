/**
 * One scrape of /metrics, asked by name and labels.
 */
import type { PrometheusSample } from '../../src/agent/sources/prometheus-text.ts';

const PREFIX = 'telemetry_collector_';

export class MetricsPage {
  readonly #samples: readonly PrometheusSample[];

  constructor(samples: readonly PrometheusSample[]) {
    this.#samples = samples;
  }

  /**
   * Sum over all series of a metric that have the given labels; 0 where there is none. `name` is
   * without the `telemetry_collector_` prefix.
   */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.sumOf(PREFIX + name, labels);
  }

  /** The same for any name, for example those of the process. */
  sumOf(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.#samples
      .filter((sample) => sample.name === name)
      .filter((sample) =>
        Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
      )
      .reduce((total, sample) => total + sample.value, 0);
  }

  /** The ledger of promise 5, with both of its equations as differences that must be 0. */
  ledger(writers: readonly string[]) {
    const received = this.sum('samples_received_total');
    const accepted = this.sum('samples_accepted_total');
    const duplicate = this.sum('samples_duplicate_total');
    const rejected = this.sum('samples_rejected_total');
    const throttled = this.sum('samples_throttled_total');
    const unaccounted = writers.map((writer) => {
      const written = this.sum('samples_written_total', { writer });
      const deadLettered = this.sum('samples_dead_lettered_total', { writer });
      const skipped = this.sum('samples_skipped_total', { writer });
      const pending = this.sum('samples_pending', { writer });
      const requeued = this.sum('samples_requeued_total', { writer });
      return accepted + requeued - written - deadLettered - skipped - pending;
    });
    const admission = received - accepted - duplicate - rejected - throttled;
    return { received, accepted, duplicate, rejected, admission, unaccounted };
  }
}
