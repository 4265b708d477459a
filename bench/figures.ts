/**
 * What a benchmark says: figures, most of them against a bar. Several runs make one figure by their
 * median, run by run the same names.
 */

export interface Bar {
  readonly relation: '≥' | '≤';
  readonly value: number;
}

export interface Measurement {
  /** What was measured, in a few words. */
  readonly figure: string;
  readonly value: number;
  readonly unit: string;
  readonly bar?: Bar;
}

export interface Figure extends Measurement {
  readonly bench: string;
  /** The least and the greatest of the runs. */
  readonly least: number;
  readonly greatest: number;
  readonly runs: number;
}

export const atLeast = (value: number): Bar => ({ relation: '≥', value });
export const atMost = (value: number): Bar => ({ relation: '≤', value });

/** Undefined where there is no bar. */
export function passes({ value, bar }: Measurement): boolean | undefined {
  if (bar === undefined) return undefined;
  return bar.relation === '≥' ? value >= bar.value : value <= bar.value;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}

/** One figure for each name, in the order of the first run. */
export function medians(bench: string, runs: readonly (readonly Measurement[])[]): Figure[] {
  return (runs[0] ?? []).map((first) => {
    const values = runs.flatMap((run) =>
      run.filter(({ figure }) => figure === first.figure).map(({ value }) => value),
    );
    return {
      ...first,
      bench,
      value: median(values),
      least: Math.min(...values),
      greatest: Math.max(...values),
      runs: values.length,
    };
  });
}

/** Three significant digits, thousands set apart. */
export function formatValue(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const magnitude = Math.abs(value);
  if (magnitude >= 1000) return Math.round(value).toLocaleString('en-US');
  return magnitude === 0 ? '0' : String(Number(value.toPrecision(3)));
}
