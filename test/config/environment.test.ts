import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { withCredentials } from '../../src/config/environment.ts';
import { tempDir } from '../helpers/temp-dir.ts';

test('a credential that systemd handed over is a variable of the same name', () => {
  const dir = tempDir();
  fs.writeFileSync(path.join(dir, 'INFLUXDB_TOKEN'), 'from-the-file\n');
  fs.writeFileSync(path.join(dir, 'HUGE'), 'x'.repeat(100_000));
  const environment = withCredentials({ CREDENTIALS_DIRECTORY: dir, HOME: '/root' });
  expect(environment.INFLUXDB_TOKEN).toBe('from-the-file');
  expect(environment.HOME).toBe('/root');
  expect(environment.HUGE).toBeUndefined();
});

test('a variable that is set wins over a credential', () => {
  const dir = tempDir();
  fs.writeFileSync(path.join(dir, 'INFLUXDB_TOKEN'), 'from-the-file');
  const environment = withCredentials({ CREDENTIALS_DIRECTORY: dir, INFLUXDB_TOKEN: 'set' });
  expect(environment.INFLUXDB_TOKEN).toBe('set');
});

test('without a credentials directory the environment is as it was', () => {
  const environment = { HOME: '/root' };
  expect(withCredentials(environment)).toBe(environment);
});
