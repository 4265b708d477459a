/**
 * A write that did not succeed, with what the loop needs to know to go on well: why, how long to
 * wait at least, and what was safe before it went wrong.
 */
import { OperatingError } from '../../lib/errors.ts';
import type { WriterProgress } from './writer.ts';

/** Metrics label `reason` of failed writes. */
export const WRITE_FAULT_REASONS = [
  /** No connection, a connection lost, an answer cut short. */
  'network',
  /** No answer in time. */
  'timeout',
  /** The destination asked for patience (429, 503). */
  'throttled',
  /** The destination failed (5xx). */
  'server_error',
  /** The destination does not let us in, or does not know the bucket (401, 403, 404 …). */
  'operator',
  /** The destination refuses every line: more likely its or our configuration than the data. */
  'refused',
  /** Dead letters cannot be kept. */
  'dead_letter',
  /** Anything else: a disk, a bug. */
  'local',
] as const;
export type WriteFaultReason = (typeof WRITE_FAULT_REASONS)[number];

export interface WriteFaultOptions {
  readonly reason: WriteFaultReason;
  /** HTTP status; 0 where there was none. */
  readonly status?: number;
  /** The destination's own wish, 0 where it has none. */
  readonly retryAfterMs?: number;
  /** What of the same call is safe all the same. */
  readonly progress?: WriterProgress | undefined;
  /** Something was achieved before it, even if no record became safe: this is no standstill. */
  readonly isAdvanced?: boolean;
  readonly cause?: unknown;
}

/** Thrown by writers. Messages hold no secrets. */
export class WriteFault extends OperatingError {
  readonly reason: WriteFaultReason;
  readonly status: number;
  readonly retryAfterMs: number;
  readonly progress: WriterProgress | undefined;
  readonly isAdvanced: boolean;

  constructor(message: string, options: WriteFaultOptions) {
    super(`WRITE_${options.reason.toUpperCase()}`, message, { cause: options.cause });
    this.name = 'WriteFault';
    this.reason = options.reason;
    this.status = options.status ?? 0;
    this.retryAfterMs = options.retryAfterMs ?? 0;
    this.progress = options.progress;
    this.isAdvanced = options.isAdvanced ?? options.progress !== undefined;
  }
}
