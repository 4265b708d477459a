/**
 * What a reload can take up. Everything else needs a restart, and the daemon says so by name.
 */
import type { Config } from './schema.ts';

/** Settings that take effect while the daemon runs, without the connections noticing. */
const LIVE_SETTINGS: ReadonlySet<string> = new Set([
  'security.delegates',
  'limits.max_cardinality',
  'limits.max_cardinality_per_node',
  'limits.max_series_text_per_node',
  'limits.series_ttl_secs',
  'limits.max_timestamp_age_secs',
  'limits.max_timestamp_ahead_secs',
  'limits.backpressure_threshold',
  'limits.backpressure_bytes',
  'limits.node_samples_per_second',
  'limits.max_expanded_bytes',
  'limits.node_expanded_bytes_per_second',
  'limits.node_table_bytes_per_minute',
  'limits.max_hours_per_batch',
  'limits.node_hours_per_minute',
  'observability.log_level',
  'observability.max_writer_lag_secs',
  'observability.max_sink_failing_secs',
]);

export interface ChangedSettings {
  /** The running configuration with the live settings of the new one. */
  readonly config: Config;
  /** Names of changed settings that take effect at once. */
  readonly live: readonly string[];
  /** Names of changed settings that wait for a restart. */
  readonly atRestart: readonly string[];
}

type Sections = Record<string, Record<string, unknown>>;

/** Compares the running configuration with a new one, setting by setting. */
export function changedSettings(running: Config, wanted: Config): ChangedSettings {
  const config = structuredClone(running);
  const live: string[] = [];
  const atRestart: string[] = [];
  for (const name of new Set([...settingNames(running), ...settingNames(wanted)])) {
    const value = readSetting(wanted, name);
    if (JSON.stringify(value) === JSON.stringify(readSetting(running, name))) continue;
    if (LIVE_SETTINGS.has(name)) {
      live.push(name);
      writeSetting(config, name, value);
    } else {
      atRestart.push(name);
    }
  }
  return { config, live, atRestart };
}

/** `section.key`, and the bare key at the top level. */
function settingNames(config: Config): string[] {
  return Object.entries(config).flatMap(([section, values]) =>
    typeof values === 'object' ? Object.keys(values).map((key) => `${section}.${key}`) : [section],
  );
}

function readSetting(config: Config, name: string): unknown {
  const [section = '', key] = name.split('.');
  const values = (config as unknown as Sections)[section];
  return key === undefined ? values : values?.[key];
}

function writeSetting(config: Config, name: string, value: unknown): void {
  const [section = '', key = ''] = name.split('.');
  const values = (config as unknown as Sections)[section];
  if (values !== undefined) values[key] = value;
}
