/**
 * What sources yield and the agent sends: the seam between the two.
 */
import type { MetricKind } from '../domain/telemetry.ts';

/** One value as a source read it, before it is given a place in a series table. */
export interface Reading {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly kind: MetricKind;
  /** UCUM or the source's own spelling; empty where unknown. */
  readonly unit: string;
  /** Unix milliseconds, UTC. */
  readonly timestampMs: number;
  readonly value: number;
}

/** Something a source saw and did not turn into a reading. */
export interface SkippedReading {
  /** What was skipped: a metric, a column, a line. */
  readonly what: string;
  /** The reason, for a person; one of few, so that it can be counted by. */
  readonly why: string;
  readonly count: number;
}

/** What one collection brought. */
export interface SourceReport {
  readonly readings: readonly Reading[];
  readonly skipped: readonly SkippedReading[];
  /** Whether the source has nothing more to give, as at the end of a file. */
  readonly done: boolean;
}

/** Where readings come from. `collect` is never called while an earlier call is under way. */
export interface Source {
  /** Short and stable: the value of the label `source`. */
  readonly name: string;
  /** Rejects when the source as a whole could not be read. */
  collect(): Promise<SourceReport>;
  /** Gives up files, sockets and children. Idempotent. */
  close(): Promise<void>;
}
