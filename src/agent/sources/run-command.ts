/**
 * Runs a program for its output, bounded in time and bytes. A program that hangs in the kernel
 * survives even SIGKILL; the caller is answered at the deadline all the same.
 */
import { spawn } from 'node:child_process';
import type { Clock } from '../../lib/clock.ts';

export interface CommandOptions {
  readonly timeoutMs: number;
  /** Bytes of stdout and stderr together. */
  readonly maxBytes: number;
  /** Ends the program early. */
  readonly signal: AbortSignal;
}

export type CommandResult =
  | {
      readonly kind: 'exited';
      readonly code: number;
      readonly stdout: string;
      readonly stderr: string;
    }
  | { readonly kind: 'killed'; readonly signal: string; readonly stderr: string }
  | { readonly kind: 'not_started'; readonly error: unknown }
  | { readonly kind: 'timeout' | 'too_much_output' | 'stopped' };

export interface Command {
  /** Settles at the deadline at the latest; never rejects. */
  readonly result: Promise<CommandResult>;
  /** Whether the process is still there, as it may be after a timeout. */
  readonly isRunning: () => boolean;
}

/** Starts `file` with `args`, no shell between. */
export function runCommand(
  file: string,
  args: readonly string[],
  options: CommandOptions,
  clock: Clock,
): Command {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], windowsHide: true });
  let running = true;
  const result = new Promise<CommandResult>((resolve) => {
    const output = { stdout: [] as Buffer[], stderr: [] as Buffer[], bytes: 0 };
    const giveUp = (kind: 'timeout' | 'too_much_output' | 'stopped') => {
      child.kill('SIGKILL');
      child.stdout.destroy();
      child.stderr.destroy();
      child.unref();
      settle({ kind });
    };
    const cancelTimer = clock.after(options.timeoutMs, () => giveUp('timeout'));
    const stop = () => giveUp('stopped');
    const settle = (outcome: CommandResult) => {
      cancelTimer();
      options.signal.removeEventListener('abort', stop);
      resolve(outcome);
    };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].on('data', (chunk: Buffer) => {
        output.bytes += chunk.length;
        if (output.bytes > options.maxBytes) giveUp('too_much_output');
        else output[stream].push(chunk);
      });
    }
    child.on('error', (error) => {
      // A failed kill is also reported here; the child then still exits on its own.
      if (child.pid === undefined) running = false;
      settle({ kind: 'not_started', error });
    });
    child.on('exit', () => {
      running = false;
    });
    child.on('close', (code, signal) => {
      const stdout = Buffer.concat(output.stdout).toString('utf8');
      const stderr = Buffer.concat(output.stderr).toString('utf8');
      if (code === null) settle({ kind: 'killed', signal: String(signal), stderr });
      else settle({ kind: 'exited', code, stdout, stderr });
    });
    if (options.signal.aborted) stop();
    else options.signal.addEventListener('abort', stop, { once: true });
  });
  return { result, isRunning: () => running };
}
