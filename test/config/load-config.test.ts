import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load-config.ts';
import { deadLetterDir, journalDir, stagingDir, warehouseDir } from '../../src/config/paths.ts';
import { packageFile } from '../../src/lib/package-root.ts';

describe('loadConfig', () => {
  let folder: string;
  beforeAll(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'config-'));
  });
  afterAll(() => fs.rmSync(folder, { recursive: true }));

  it('reads a file from disk', () => {
    const file = path.join(folder, 'good.yaml');
    fs.writeFileSync(file, 'collector_id: c1\n');
    expect(loadConfig(file, {}).collector_id).toBe('c1');
  });

  it('throws one error with every problem', () => {
    const file = path.join(folder, 'bad.yaml');
    fs.writeFileSync(file, 'a: 1\nb: 2\n');
    expect(() => loadConfig(file, {})).toThrow(/bad\.yaml:1: a is not.*\n.*bad\.yaml:2: b is not/);
    expect(() => loadConfig(file, {})).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });

  it('says why a file cannot be read', () => {
    const unreadable = expect.objectContaining({ code: 'CONFIG_UNREADABLE' });
    expect(() => loadConfig(path.join(folder, 'none.yaml'), {})).toThrow(/ENOENT/);
    expect(() => loadConfig(folder, {})).toThrow(unreadable);
    const huge = path.join(folder, 'huge.yaml');
    fs.writeFileSync(huge, Buffer.alloc(2 * 1024 * 1024, '#'));
    expect(() => loadConfig(huge, {})).toThrow(unreadable);
  });

  it('accepts the example file', () => {
    const config = loadConfig(packageFile('config.example.yaml'), { INFLUXDB_TOKEN: 'abc' });
    const { influxdb, ...defaults } = config;
    expect(influxdb).toMatchObject({ org: 'horizon', bucket: 'telemetry', token: 'abc' });
    expect(defaults).toEqual(loadConfig(undefined, {}));
  });
});

describe('directories', () => {
  it('follow from parquet.output_dir, relative to the working directory', () => {
    const config = loadConfig(undefined, { TELEMETRY_COLLECTOR_PARQUET__OUTPUT_DIR: 'data' });
    expect(warehouseDir(config)).toBe(path.resolve('data/metrics'));
    expect(stagingDir(config)).toBe(path.resolve('data/.staging'));
    expect(journalDir(config)).toBe(path.resolve('data/journal'));
    expect(deadLetterDir(config)).toBe(path.resolve('data/dead-letter'));
  });

  it('put the dead letters beside a journal of its own', () => {
    const config = loadConfig(undefined, { TELEMETRY_COLLECTOR_JOURNAL__DIR: '/fast/journal' });
    expect(journalDir(config)).toBe('/fast/journal');
    expect(deadLetterDir(config)).toBe('/fast/dead-letter');
  });
});
