/**
 * Feeds systemd's watchdog, but only while the journal commits: a daemon that answers and can make
 * nothing durable is better restarted. One whose main thread hangs ends by itself, with its stack
 * in the log, and needs no systemd for it: hang-watch.ts.
 *
 *     interval over ──► probe ──succeeds──► fed
 *                         ├─fails─────────► not fed; the next interval tries again
 *                         └─never returns─► not fed, and no second probe is begun
 */
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.ts';
import { repeat } from '../lib/repeat.ts';
import type { ServiceNotifier } from './service-notifier.ts';

export interface WatchdogDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly notifier: Pick<ServiceNotifier, 'alive' | 'watchdogIntervalMs'>;
}

/** Starts feeding, where there is a watchdog; returns how to stop. */
export function startWatchdog(
  { clock, logger, notifier }: WatchdogDeps,
  probe: () => Promise<void>,
): () => void {
  const { watchdogIntervalMs } = notifier;
  if (watchdogIntervalMs === 0) return () => {};
  return repeat(clock, watchdogIntervalMs, async () => {
    const cancel = clock.after(watchdogIntervalMs, () => {
      logger.error('watchdog not fed: the journal does not answer');
    });
    try {
      await probe();
      notifier.alive();
    } catch (error) {
      logger.error({ err: error }, 'watchdog not fed: the journal cannot commit');
    } finally {
      cancel();
    }
  });
}
