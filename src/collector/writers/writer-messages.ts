/**
 * What the main thread and a writer's worker say to each other. Only the main thread writes to the
 * journal: a worker reports progress and sends the next report when the last one is committed.
 */

import type { DeadLetterBounds, DeadLetterCounts } from './dead-letters.ts';
import type { LogLevel, WriterProgress, WriterTask } from './writer.ts';
import type { LoopStatus } from './writer-loop.ts';

/** Where what cannot be written is kept, and how much of it. */
export interface DeadLetterSettings extends DeadLetterBounds {
  readonly dir: string;
}

/** Given to the worker at its start. */
export interface WorkerSetup {
  readonly task: WriterTask;
  readonly journalDir: string;
  readonly deadLetters: DeadLetterSettings;
  /** The journal's lease under which this process writes. */
  readonly incarnation: number;
  readonly startCursor: number;
}

export type ToWorker =
  /** Records up to `seq` are durable. */
  | { readonly type: 'head'; readonly seq: number }
  /** The last progress is committed. */
  | { readonly type: 'committed' }
  | { readonly type: 'drain'; readonly targetSeq: number; readonly budgetMs: number }
  | { readonly type: 'close' };

export type FromWorker =
  | { readonly type: 'progress'; readonly progress: WriterProgress }
  | { readonly type: 'status'; readonly status: WorkerStatus }
  | {
      readonly type: 'log';
      readonly level: LogLevel;
      readonly message: string;
      readonly fields: Readonly<Record<string, string | number | boolean>>;
    }
  /** Everything asked for is written and its progress committed, or the time for it is over. */
  | { readonly type: 'drained' }
  /** The worker cannot go on and ends. */
  | { readonly type: 'fatal'; readonly message: string };

export type WorkerStatus = LoopStatus & { readonly deadLetters: DeadLetterCounts };
