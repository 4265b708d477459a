/**
 * How a room declares its metrics.
 *
 * Most figures exist anyway, as the size of a map or as a count that a part keeps. Such a figure
 * is declared with a function that reads it, and the function runs once for each scrape. The hot
 * path then pays for a plain number and not for a metric. Only what happens once per batch, per
 * connection or less often is counted here directly: `counter` and `histogram`.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** One value of a metric that has labels. */
export type LabelledValue = readonly [labels: Readonly<Record<string, string>>, value: number];

/** Declares the metrics of one room. All their names begin with `prefix`. */
export class RoomMetrics {
  readonly #registry: Registry;
  readonly #prefix: string;

  constructor(registry: Registry, prefix: string) {
    this.#registry = registry;
    this.#prefix = prefix;
  }

  /** A gauge that is read at each scrape. */
  gauge(name: string, help: string, read: () => number): void {
    this.gaugeBy([], name, help, () => [[{}, read()]]);
  }

  /** A gauge with labels. A label that `read` no longer names disappears from the page. */
  gaugeBy(
    labelNames: readonly string[],
    name: string,
    help: string,
    read: () => Iterable<LabelledValue>,
  ): void {
    new Gauge({
      ...this.#definition(name, help, labelNames),
      collect() {
        this.reset();
        for (const [labels, value] of read()) this.set(labels, value);
      },
    });
  }

  /** A counter that is kept elsewhere and read at each scrape. It must never go down. */
  total(name: string, help: string, read: () => number): void {
    this.totalBy([], name, help, () => [[{}, read()]]);
  }

  /** A counter with labels that is kept elsewhere and read at each scrape. */
  totalBy(
    labelNames: readonly string[],
    name: string,
    help: string,
    read: () => Iterable<LabelledValue>,
  ): void {
    new Counter({
      ...this.#definition(name, help, labelNames),
      collect() {
        this.reset();
        for (const [labels, value] of read()) this.inc(labels, value);
      },
    });
  }

  /** A counter that its owner increments. */
  counter(name: string, help: string, labelNames: readonly string[] = []): Counter {
    return new Counter(this.#definition(name, help, labelNames));
  }

  /** A histogram that its owner feeds. */
  histogram(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly string[] = [],
  ): Histogram {
    return new Histogram({ ...this.#definition(name, help, labelNames), buckets: [...buckets] });
  }

  #definition(name: string, help: string, labelNames: readonly string[]) {
    return {
      name: this.#prefix + name,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
    };
  }
}
