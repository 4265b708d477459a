/**
 * A source that does what a test tells it.
 */
import type { Reading, Source, SourceReport } from '../../src/client/reading.ts';

export class ScriptedSource implements Source {
  readonly name: string;
  collections = 0;
  closed = 0;
  readonly #collect: (collection: number) => Promise<SourceReport>;

  constructor(name: string, collect: (collection: number) => Promise<SourceReport>) {
    this.name = name;
    this.#collect = collect;
  }

  collect(): Promise<SourceReport> {
    this.collections += 1;
    return this.#collect(this.collections);
  }

  async close(): Promise<void> {
    this.closed += 1;
  }
}

/** A report of `names`, one reading each. */
export function reportOf(names: readonly string[], rest: Partial<SourceReport> = {}): SourceReport {
  const readings = names.map(
    (name, value): Reading => ({
      name,
      labels: {},
      kind: 'gauge',
      unit: '1',
      timestampMs: 1_700_000_000_000,
      value,
    }),
  );
  return { readings, skipped: [], done: false, ...rest };
}
