import { expect, test } from 'vitest';
import { changedSettings } from '../../src/config/changed-settings.ts';
import { configSchema } from '../../src/config/schema.ts';

const defaults = configSchema.parse({});
const influxdb = { url: 'http://localhost:8086', org: 'o', bucket: 'b', token: 't' };

test('equal configurations have nothing to take up', () => {
  expect(changedSettings(defaults, configSchema.parse({}))).toEqual({
    config: defaults,
    live: [],
    atRestart: [],
  });
});

test('live settings are taken up, the others are named and stay as they were', () => {
  const wanted = configSchema.parse({
    limits: { max_cardinality: 5, max_batch_size: 7 },
    security: { delegates: ['gateway'] },
    observability: { log_level: 'debug' },
    collector_id: 'other',
  });
  const { config, live, atRestart } = changedSettings(defaults, wanted);
  expect(live.toSorted()).toEqual([
    'limits.max_cardinality',
    'observability.log_level',
    'security.delegates',
  ]);
  expect(atRestart.toSorted()).toEqual(['collector_id', 'limits.max_batch_size']);
  expect(config.limits).toEqual({ ...defaults.limits, max_cardinality: 5 });
  expect(config.security.delegates).toEqual(['gateway']);
  expect(config.collector_id).toBe('collector');
});

test('a section that comes or goes waits for a restart', () => {
  const withInflux = configSchema.parse({ influxdb });
  expect(changedSettings(defaults, withInflux).atRestart).toContain('influxdb.url');
  expect(changedSettings(withInflux, defaults).atRestart).toContain('influxdb.url');
});
