import fs from 'node:fs';
import path from 'node:path';
import { Registry } from 'prom-client';
import { afterEach, expect, test } from 'vitest';
import { reload } from '../../src/collector/reload.ts';
import { createReloadMetrics } from '../../src/collector/reload-metrics.ts';
import { loadConfig } from '../../src/config/load-config.ts';
import { configSchema } from '../../src/config/schema.ts';
import { FakeClock } from '../helpers/fake-clock.ts';
import { ListenerBed } from '../helpers/listener-bed.ts';
import { tempDir } from '../helpers/temp-dir.ts';
import { createTestAuthorities } from '../helpers/test-credentials.ts';

const bed = new ListenerBed();
afterEach(() => bed.close());

/** A listener whose files are not watched, and a configuration that a test can write. */
async function setUp() {
  const authorities = await createTestAuthorities();
  // Time stands still, so that nothing but a reload reads the files.
  const clock = new FakeClock(Date.now());
  const server = await bed.listener(authorities.server, { clock });
  const live = { config: configSchema.parse({}) };
  const registry = new Registry();
  const metrics = createReloadMetrics(registry);
  const applied: number[] = [];
  const file = path.join(tempDir(), 'c.yaml');
  const run = () =>
    reload({
      logger: server.log.logger,
      metrics,
      live,
      readConfig: async () => loadConfig(file, {}),
      prepareListener: () => server.listener.prepareReload(),
      apply: ({ limits }) => applied.push(limits.max_cardinality),
    });
  return {
    ...{ server, live, registry, applied, run },
    write: (text: string) => fs.writeFileSync(file, text),
    newCertificate: async () => (await createTestAuthorities()).server,
    reloads: () => server.metric('tls_reloads_total'),
  };
}

test('a bad configuration keeps a new certificate out, and the next good one takes both', async () => {
  const { server, live, registry, applied, run, write, newCertificate, reloads } = await setUp();
  const before = live.config;
  server.files.write(await newCertificate());
  write('limits: { max_cardinality: 7, max_batch_size: none }');
  await run();
  expect(await reloads()).toBe(0);
  expect(live.config).toBe(before);
  expect(applied).toEqual([]);
  expect(server.log.lines.at(-1)).toMatchObject({ msg: 'reload refused: nothing was changed' });
  expect(JSON.stringify(server.log.lines.at(-1))).toContain('max_batch_size');
  expect(await registry.metrics()).toContain('telemetry_collector_config_reload_refused 1');

  write('limits: { max_cardinality: 7 }');
  await run();
  expect(await reloads()).toBe(1);
  expect(applied).toEqual([7]);
  expect(server.log.lines.at(-1)).toMatchObject({
    msg: 'configuration reloaded',
    live: ['limits.max_cardinality'],
  });
  const page = await registry.metrics();
  expect(page).toContain('telemetry_collector_config_reload_refused 0');
  expect(page).toContain('telemetry_collector_config_reloads_total{result="refused"} 1');
  expect(page).toContain('telemetry_collector_config_reloads_total{result="done"} 1');
});

test('a bad certificate keeps new settings out', async () => {
  const { server, live, applied, run, write, reloads } = await setUp();
  const before = live.config;
  server.files.write({ keyPem: 'rubbish' });
  write('limits: { max_cardinality: 7 }');
  await run();
  expect(await reloads()).toBe(0);
  expect(live.config).toBe(before);
  expect(applied).toEqual([]);
  expect(server.log.lines.at(-1)).toMatchObject({ msg: 'reload refused: nothing was changed' });
});
