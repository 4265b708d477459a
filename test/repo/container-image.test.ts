/**
 * The image can be started with certificates, a data directory and a token, and nothing else.
 */
import fs from 'node:fs';
import { expect, test } from 'vitest';
import { readConfigFile } from '../../src/config/load-config.ts';
import { packageFile } from '../../src/lib/package-root.ts';

const dockerfile = fs.readFileSync(packageFile('Dockerfile'), 'utf8');

test('the configuration that the image starts with is in it, and is valid', () => {
  const [, started] = /^CMD \["([^"]+)"\]$/m.exec(dockerfile) ?? [];
  const [, copied, place] = /^COPY (deploy\/\S+\.yaml) (\S+)$/m.exec(dockerfile) ?? [];
  expect(place).toBe(started);
  const environment = { ...imageVariables(), INFLUXDB_TOKEN: 'your-token' };
  const result = readConfigFile(packageFile(copied ?? ''), environment);
  expect(result).toMatchObject({
    ok: true,
    config: {
      influxdb: { token: 'your-token' },
      observability: { metrics_addr: '0.0.0.0' },
      parquet: { output_dir: '/var/lib/horizon/telemetry' },
      security: { tls_ca_path: '/etc/horizon/certs/ca.pem' },
    },
  });
});

function imageVariables(): Record<string, string> {
  const found = [...dockerfile.matchAll(/^ENV (TELEMETRY_COLLECTOR_\w+)=(\S+)$/gm)];
  return Object.fromEntries(found.map(([, name, value]) => [name, value]));
}
