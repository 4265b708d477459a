/**
 * What systemd tells a notify service about itself.
 */

/**
 * Reads NOTIFY_SOCKET and WATCHDOG_USEC; absent ones mean "not under systemd" and "no watchdog".
 */
export function serviceEnvironment(env: NodeJS.ProcessEnv): {
  readonly notifySocket: string | undefined;
  readonly watchdogUsec: number;
} {
  return {
    notifySocket: env.NOTIFY_SOCKET === '' ? undefined : env.NOTIFY_SOCKET,
    watchdogUsec: Number.parseInt(env.WATCHDOG_USEC ?? '0', 10) || 0,
  };
}
