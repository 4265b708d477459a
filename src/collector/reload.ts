/**
 * A reload (SIGHUP) applies everything or nothing: the configuration, the certificates, the
 * denylist and the revocation lists are read and checked first, and only then does the first of
 * them take effect.
 */
import type { Logger } from 'pino';
import { changedSettings } from '../config/changed-settings.ts';
import type { Config } from '../config/schema.ts';
import type { ReloadMetrics } from './reload-metrics.ts';

export interface ReloadParts {
  readonly logger: Logger;
  readonly metrics: ReloadMetrics;
  /** The running configuration; replaced by a reload. */
  readonly live: { config: Config };
  /** Reads the configuration again. Rejects where it cannot be used. */
  readonly readConfig: () => Promise<Config>;
  /** Reads the listener's files; resolves to what takes them up, rejects where they are bad. */
  readonly prepareListener: () => Promise<() => void>;
  /** Makes live settings take effect; must not fail. */
  readonly apply: (config: Config) => void;
}

/** Never rejects: what cannot be used is logged and counted, and nothing changes. */
export async function reload(parts: ReloadParts): Promise<void> {
  const { logger, metrics, live } = parts;
  try {
    const wanted = await parts.readConfig();
    const takeListenerFiles = await parts.prepareListener();
    const changed = changedSettings(live.config, wanted);
    takeListenerFiles();
    live.config = changed.config;
    parts.apply(changed.config);
    logger.info({ live: changed.live, atRestart: changed.atRestart }, 'configuration reloaded');
    metrics.count('done');
  } catch (error) {
    logger.error({ err: error }, 'reload refused: nothing was changed');
    metrics.count('refused');
  }
}
