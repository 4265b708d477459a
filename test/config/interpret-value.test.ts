import { describe, expect, it } from 'vitest';
import { type ConfigKey, describeConfig } from '../../src/config/describe-config.ts';
import { interpretFileValue, interpretOverride } from '../../src/config/interpret-value.ts';
import { parseYamlValue } from '../../src/config/yaml-source.ts';

function key(path: string): ConfigKey {
  const found = describeConfig().find((candidate) => candidate.path === path);
  if (found === undefined) throw new Error(`no key ${path}`);
  return found;
}

const interpret = (path: string, yaml: string, environment: Record<string, string> = {}) =>
  interpretFileValue(key(path), parseYamlValue(yaml), environment);

describe('interpretFileValue', () => {
  it('takes what stands at a text key as text', () => {
    expect(interpret('influxdb.org', '42')).toMatchObject({ ok: true, value: '42' });
    expect(interpret('influxdb.org', '0x10')).toMatchObject({ ok: true, value: '0x10' });
    expect(interpret('influxdb.org', 'true')).toMatchObject({ ok: true, value: 'true' });
    expect(interpret('server.max_connections', '42')).toMatchObject({ ok: true, value: 42 });
    expect(interpret('server.max_connections', '"42"')).toMatchObject({ ok: true, value: '42' });
  });

  it('spells a value as the operator wrote it, and a secret not at all', () => {
    const environment = { WHERE: 'secret-place' };
    expect(interpret('journal.dir', `"/data/\${WHERE}"`, environment)).toEqual({
      ok: true,
      value: '/data/secret-place',
      spelling: `"/data/\${WHERE}"`,
    });
    for (const token of ['s3cret', '"s3cret"', '12345']) {
      expect(interpret('influxdb.token', token)).toMatchObject({ spelling: '(hidden)' });
      expect(interpretOverride(key('influxdb.token'), token)).toMatchObject({
        spelling: '(hidden)',
      });
    }
  });

  it('shortens what is too long to read', () => {
    const interpreted = interpret('journal.dir', 'x'.repeat(10_000));
    expect(interpreted.ok && interpreted.spelling.length).toBeLessThan(200);
  });

  it('hides the password of a URL', () => {
    expect(interpret('influxdb.url', 'http://me:s3cret@host:1/x')).toMatchObject({
      value: 'http://me:s3cret@host:1/x',
      spelling: '"http://(hidden)@host:1/x"',
    });
  });
});
