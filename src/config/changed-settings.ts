/**
 * What a reload changes: the keys that the schema marks as `live`. All others need a restart, and
 * the daemon names them.
 */
import { describeConfig } from './describe-config.ts';
import type { Config } from './schema.ts';

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
  const liveKeys = new Set(describeConfig().flatMap((key) => (key.live ? [key.path] : [])));
  const live: string[] = [];
  const atRestart: string[] = [];
  for (const name of new Set([...settingNames(running), ...settingNames(wanted)])) {
    const value = readSetting(wanted, name);
    if (JSON.stringify(value) === JSON.stringify(readSetting(running, name))) continue;
    if (liveKeys.has(name)) {
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
