/**
 * Ends the process when its main thread hangs, so that a supervisor restarts it. Otherwise an
 * endless loop, in this program or in a library, would keep connections open and answer none of
 * them. Readiness cannot report that, because the same thread answers it.
 *
 *     main thread                       thread of its own
 *     every turn: beat ──► shared count ──► looks at it four times a second
 *                                            same count for too long ──► stack to the log, exit
 *
 * Three parts watch the daemon: `EventLoopWatch` measures stalls for readiness and metrics, this
 * one ends a process that hangs, and `startWatchdog` lets systemd end one that runs but can store
 * nothing. A step that may wait for another process before the loop turns has a watch of its own.
 */
import inspector from 'node:inspector';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import type { LoggerOptions } from './logger.ts';

/** What the process ends with; of EX_OSERR's kind, and used by nothing else here. */
export const HANG_EXIT_CODE = 71;
/** The thread looks at a number and sleeps: it needs next to nothing. */
const MAX_HEAP_MB = 32;

/** What the watching thread is started with. */
export interface HangWatchSetup {
  /** Of one Int32: the count of beats. */
  readonly beats: SharedArrayBuffer;
  readonly maxStillSecs: number;
  readonly exitCode: number;
  readonly logFormat: LoggerOptions['format'];
  /** What the main thread does meanwhile, for the log. */
  readonly doing: string;
}

export interface HangWatch {
  /** The main thread turns. */
  beat(): void;
  /** Stops watching. Idempotent. */
  close(): Promise<void>;
}

export interface HangWatchOptions {
  /** 0 = not watched. */
  readonly maxStillSecs: number;
  readonly logFormat: LoggerOptions['format'];
  readonly logger: Logger;
  /** What the main thread does meanwhile, for the log. */
  readonly doing: string;
}

/** Starts watching; `beat` must be called several times a second from then on. */
export function startHangWatch(options: HangWatchOptions): HangWatch {
  const { maxStillSecs, logFormat, logger, doing } = options;
  // Who stops at a breakpoint does not want the process ended.
  if (maxStillSecs === 0 || inspector.url() !== undefined) {
    return { beat() {}, async close() {} };
  }
  const beats = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const count = new Int32Array(beats);
  // The thread does not see whether standard output is a terminal.
  const isPretty = logFormat === 'auto' ? process.stdout.isTTY === true : logFormat === 'pretty';
  const setup: HangWatchSetup = {
    beats,
    maxStillSecs,
    exitCode: HANG_EXIT_CODE,
    logFormat: isPretty ? 'pretty' : 'json',
    doing,
  };
  const worker = new Worker(threadUrl(), {
    name: 'hang-watch',
    workerData: setup,
    resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
  });
  worker.unref();
  worker.on('error', (error) => {
    logger.error({ err: error }, 'the main thread is no longer watched for hangs');
  });
  return {
    beat: () => void Atomics.add(count, 0, 1),
    close: async () => void (await worker.terminate()),
  };
}

/** Runs a step that may never come back: the process ends if it takes over `maxStillSecs`. */
export async function watchStep<T>(options: HangWatchOptions, step: () => T): Promise<T> {
  const watch = startHangWatch(options);
  try {
    return step();
  } finally {
    await watch.close();
  }
}

/** The thread's entry is beside this file, compiled or not. */
function threadUrl(): URL {
  const extension = path.extname(fileURLToPath(import.meta.url));
  return new URL(`./hang-watch-thread${extension}`, import.meta.url);
}
