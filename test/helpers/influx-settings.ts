/**
 * The InfluxDB section of the configuration, defaults filled in.
 */
import { configSchema, type InfluxConfig } from '../../src/config/schema.ts';

/** Settings for the server at `url`, with `changes`. */
export function influxSettings(url: string, changes: Record<string, unknown> = {}): InfluxConfig {
  const influxdb = { url, org: 'fleet', bucket: 'gpu metrics', token: 'very-secret', ...changes };
  return configSchema.parse({ influxdb }).influxdb!;
}
