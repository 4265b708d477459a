/**
 * What a reload can take up. Everything else needs a restart, and the daemon says so by name.
 */
import type { Config } from './schema.ts';

/** Settings that take effect while the daemon runs, without the connections noticing. */
const LIVE_SETTINGS: ReadonlySet<string> = new Set([
  'security.delegates',
  'limits.max_cardinality',
  'limits.max_cardinality_per_node',
  'limits.series_ttl_secs',
  'limits.max_timestamp_age_secs',
  'limits.max_timestamp_ahead_secs',
  'limits.node_samples_per_second',
  'observability.log_level',
  'observability.max_writer_lag_secs',
]);

export interface ChangedSettings {
  /** Names of changed settings that take effect at once. */
  readonly live: readonly string[];
  /** Names of changed settings that wait for a restart. */
  readonly atRestart: readonly string[];
}

/** Compares two configurations setting by setting. */
export function changedSettings(before: Config, after: Config): ChangedSettings {
  const old = flatten(before);
  const live: string[] = [];
  const atRestart: string[] = [];
  for (const [name, value] of flatten(after)) {
    if (old.get(name) !== value) (LIVE_SETTINGS.has(name) ? live : atRestart).push(name);
    old.delete(name);
  }
  return { live, atRestart: [...atRestart, ...old.keys()] };
}

/** `section.key` → its value as JSON. */
function flatten(config: Config): Map<string, string> {
  const flat = new Map<string, string>();
  for (const [section, values] of Object.entries(config)) {
    if (typeof values !== 'object') flat.set(section, JSON.stringify(values));
    else
      for (const [key, value] of Object.entries(values))
        flat.set(`${section}.${key}`, JSON.stringify(value));
  }
  return flat;
}
