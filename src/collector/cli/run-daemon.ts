/**
 * The daemon as a command: configuration in, signals through, exit code out.
 */
import type { Logger } from 'pino';
import { loadConfig } from '../../config/load-config.ts';
import { serviceEnvironment } from '../../config/service-environment.ts';
import { systemClock } from '../../lib/clock.ts';
import { programVersion } from '../../lib/program-version.ts';
import { letWorkerHeapsGrow } from '../../lib/worker-heaps.ts';
import { createLogger } from '../../observability/logger.ts';
import { createServiceNotifier } from '../../observability/service-notifier.ts';
import type { Daemon } from '../daemon.ts';
import { exitCode } from './exit-codes.ts';
import type { Host } from './host.ts';

/**
 * Runs until the daemon has stopped; the exit code. Throws OperatingError for a bad configuration.
 */
export async function runDaemon(configPath: string | undefined, host: Host): Promise<number> {
  const config = loadConfig(configPath, host.environment);
  const { log_level: level, log_format: format } = config.observability;
  const logger = createLogger({ level, format });
  const stopped = new AbortController();
  let running: Daemon | undefined;
  letWorkerHeapsGrow();
  host.watchSignals({
    stop(signal) {
      logger.info({ signal }, 'stopping; a second signal ends at once');
      stopped.abort();
    },
    reload() {
      const daemon = running;
      if (daemon !== undefined) runLogged(logger, 'reload', () => daemon.reload());
    },
    fatal: (error) => logger.fatal({ err: error }, 'uncaught exception'),
  });
  try {
    // Loaded here, because `--help` and the other commands do without the native parts.
    const { startDaemon } = await import('../daemon.ts');
    const daemon = await startDaemon(config, {
      logger,
      clock: systemClock,
      version: programVersion(),
      notifier: createServiceNotifier(serviceEnvironment(host.environment), logger),
      reloadConfig: async () => loadConfig(configPath, host.environment),
    });
    running = daemon;
    const stop = () => runLogged(logger, 'stop', () => daemon.stop());
    if (stopped.signal.aborted) stop();
    else stopped.signal.addEventListener('abort', stop, { once: true });
    await daemon.finished;
    return exitCode('ok');
  } catch (error) {
    logger.fatal({ err: error }, 'the daemon ends because of an error');
    return exitCode('failed');
  }
}

/** For what a signal starts: no caller waits for it, so a failure must be logged. */
function runLogged(logger: Logger, what: string, action: () => Promise<void>): void {
  action().catch((error: unknown) => logger.error({ err: error }, `cannot ${what} the daemon`));
}
