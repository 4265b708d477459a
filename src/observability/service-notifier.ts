/**
 * Telling systemd how the service is (sd_notify protocol). Node cannot open a unix datagram socket,
 * so the messages go through the `systemd-notify` program that every systemd machine has; the unit
 * sets NotifyAccess=all for that. Outside systemd nothing happens.
 */
import { execFile } from 'node:child_process';
import type { Logger } from 'pino';

const NOTIFY_TIMEOUT_MS = 5000;

export interface ServiceNotifier {
  /** The service is up: start-up is over. */
  ready(): void;
  stopping(): void;
  /** Feeds the watchdog: call it only when the service is known to work. */
  alive(): void;
  /**
   * How often `alive` must be called, in ms: half of systemd's limit; 0 where there is no watchdog.
   */
  readonly watchdogIntervalMs: number;
}

/** What systemd puts into the environment; undefined outside a notify service. */
export interface ServiceEnvironment {
  readonly notifySocket: string | undefined;
  readonly watchdogUsec: number;
}

/** A notifier for this environment; `program` speaks to systemd for us. */
export function createServiceNotifier(
  environment: ServiceEnvironment,
  logger: Logger,
  program = 'systemd-notify',
): ServiceNotifier {
  const notify = (...messages: string[]) => {
    if (environment.notifySocket === undefined) return;
    const env = { NOTIFY_SOCKET: environment.notifySocket, PATH: '/usr/bin:/bin' };
    execFile(program, messages, { env, timeout: NOTIFY_TIMEOUT_MS }, (error) => {
      if (error !== null) logger.warn({ err: error }, 'cannot notify systemd');
    });
  };
  const watched = environment.notifySocket !== undefined;
  return {
    ready: () => notify('--ready', `MAINPID=${process.pid}`),
    stopping: () => notify('STOPPING=1'),
    alive: () => notify('WATCHDOG=1'),
    watchdogIntervalMs: watched ? environment.watchdogUsec / 2000 : 0,
  };
}
