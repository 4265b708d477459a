import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { describeConfig } from '../../src/config/describe-config.ts';
import { configSchema } from '../../src/config/schema.ts';
import { expectGenerated } from '../helpers/generated-file.ts';
import { renderConfigurationPage, renderExampleYaml } from '../helpers/render-config-docs.ts';

describe('the configuration pages', () => {
  it('config.example.yaml has every key at its default', () => {
    const example = renderExampleYaml();
    expectGenerated('config.example.yaml', example);
    const values = parse(example);
    for (const key of describeConfig()) {
      const value = key.section === '' ? values[key.name] : values[key.section][key.name];
      if (key.section !== 'influxdb') expect(value, key.path).toEqual(key.defaultValue);
      else expect(value, key.path).toBeDefined();
    }
    expect(configSchema.safeParse(values).success).toBe(true);
  });

  it('docs/configuration.md has every key', () => {
    expectGenerated('docs/configuration.md', renderConfigurationPage());
  });

  it('every key has a description that is a sentence and fits the example', () => {
    for (const key of describeConfig()) {
      expect(key.description, key.path).toMatch(/^[A-Za-z].*\.$/);
      expect(key.allowed, key.path).not.toMatch(/undefined|NaN/);
    }
  });
});
