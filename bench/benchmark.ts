/**
 * What every benchmark is.
 */
import type { Measurement } from './figures.ts';

export interface BenchmarkOptions {
  /** Asked for on the command line; each benchmark has a length of its own otherwise. */
  readonly seconds: number | undefined;
  /** Where pictures go; undefined where none are wanted. */
  readonly picturesDir: string | undefined;
  /** A line for whoever watches. */
  readonly say: (text: string) => void;
}

export interface Benchmark {
  readonly name: string;
  /** The promise of the project that it holds to account, as a sentence. */
  readonly promise: string;
  /** How often it runs; the median counts. */
  readonly runs: number;
  /** One run. */
  readonly measure: (options: BenchmarkOptions) => Promise<readonly Measurement[]>;
}
