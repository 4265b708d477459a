/**
 * What the main thread knows of a writer: for readiness, metrics and the log.
 */
import type { DeadLetterCounts } from './dead-letters.ts';
import type { BreakerState } from './retry-policy.ts';
import type { WriteFaultReason } from './write-fault.ts';

export type WriterState = 'running' | 'backing_off' | 'broken' | 'stopped';

/** Totals go on over restarts of the worker. */
export interface WriterStatus {
  readonly state: WriterState;
  readonly breaker: BreakerState;
  readonly headSeq: number;
  readonly readSeq: number;
  /** As committed to the journal. */
  readonly cursor: number;
  /** Age of the oldest record that is not safe yet; 0 where there is none. */
  readonly lagMs: number;
  /** For how long nothing has succeeded although something waits; 0 while all is well. */
  readonly failingMs: number;
  /** For how long the worker has said nothing, though it should every second; 0 without one. */
  readonly silentMs: number;
  /** When something last became safe at the destination, Unix ms; 0 is never. */
  readonly lastSuccessMs: number;
  readonly lastError: string;
  readonly restarts: number;
  readonly writes: number;
  readonly failures: Readonly<Partial<Record<WriteFaultReason, number>>>;
  readonly deadLetters: DeadLetterCounts;
  readonly damagedRecords: number;
  readonly stats: Readonly<Record<string, number>>;
}
