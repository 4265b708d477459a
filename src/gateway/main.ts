#!/usr/bin/env node
/**
 * The process of the gateway: arguments in, signals through, exit code out; nothing else.
 */
import type { Logger } from 'pino';
import { processEnvironment } from '../config/environment.ts';
import type { Config } from '../config/schema.ts';
import { serviceEnvironment } from '../config/service-environment.ts';
import { systemClock } from '../lib/clock.ts';
import { programVersion } from '../lib/program-version.ts';
import { createLogger } from '../observability/logger.ts';
import { createServiceNotifier } from '../observability/service-notifier.ts';
import { runGatewayCommand } from './cli/gateway-program.ts';

const EXIT_BUG = 70;
const EXIT_INTERRUPTED = 130;
const EXIT_TERMINATED = 143;

const environment = processEnvironment();

/** Until the first SIGTERM or SIGINT; a second one ends the process at once. */
function untilStopped(logger: Logger, reload: () => void): Promise<string> {
  return new Promise((resolve) => {
    let isStopping = false;
    const onStop = (signal: string, codeOfSecond: number) => {
      if (isStopping) process.exit(codeOfSecond);
      isStopping = true;
      resolve(signal);
    };
    process.on('SIGTERM', () => onStop('SIGTERM', EXIT_TERMINATED));
    process.on('SIGINT', () => onStop('SIGINT', EXIT_INTERRUPTED));
    process.on('SIGHUP', reload);
    const onFatal = (error: unknown) => {
      logger.fatal({ err: error }, 'uncaught exception');
      process.exit(EXIT_BUG);
    };
    process.on('uncaughtException', onFatal);
    process.on('unhandledRejection', onFatal);
  });
}

async function run(config: Config): Promise<void> {
  const { log_level: level, log_format: format } = config.observability;
  const logger = createLogger({ level, format });
  let reload = () => {};
  const stopped = untilStopped(logger, () => reload());
  // Loaded here, because help and the other commands do without the server.
  const { startGateway } = await import('./gateway.ts');
  const gateway = await startGateway(config, {
    clock: systemClock,
    logger,
    version: programVersion(),
    notifier: createServiceNotifier(serviceEnvironment(environment), logger),
  });
  reload = () => gateway.reload();
  const signal = await stopped;
  logger.info({ signal }, 'stopping; a second signal ends at once');
  await gateway.stop();
}

async function main(): Promise<number> {
  try {
    return await runGatewayCommand(process.argv.slice(2), {
      out: (text) => process.stdout.write(text),
      err: (text) => process.stderr.write(text),
      environment,
      run,
    });
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    return EXIT_BUG;
  }
}

const code = await main();
process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
