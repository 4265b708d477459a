#!/usr/bin/env node
/**
 * The process of the collector: arguments in, signals through, exit code out; nothing else.
 */

import { exitCode } from './cli/exit-codes.ts';
import type { SignalHandlers } from './cli/host.ts';
import { runCommandLine } from './cli/program.ts';
import { processEnvironment } from '../config/environment.ts';

function watchSignals(handlers: SignalHandlers): void {
  let stopping = false;
  const onStop = (signal: string, codeOfSecond: number) => {
    if (stopping) process.exit(codeOfSecond);
    stopping = true;
    handlers.stop(signal);
  };
  process.on('SIGTERM', () => onStop('SIGTERM', exitCode('terminated')));
  process.on('SIGINT', () => onStop('SIGINT', exitCode('interrupted')));
  process.on('SIGHUP', () => handlers.reload());
  const onFatal = (error: unknown) => {
    handlers.fatal(error);
    process.exit(exitCode('bug'));
  };
  process.on('uncaughtException', onFatal);
  process.on('unhandledRejection', onFatal);
}

async function main(): Promise<number> {
  try {
    return await runCommandLine(process.argv.slice(2), {
      out: (text) => process.stdout.write(text),
      err: (text) => process.stderr.write(text),
      environment: processEnvironment(),
      watchSignals,
    });
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    return exitCode('bug');
  }
}

// `… | head` closes the pipe when it has seen enough; that is no fault.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(exitCode(error.code === 'EPIPE' ? 'ok' : 'failed'));
});
const code = await main();
// Whatever is still open must not keep a stopped collector alive; what was printed must get out.
process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
