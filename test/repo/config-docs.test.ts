import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { describeConfig } from '../../src/config/describe-config.ts';
import { configSchema } from '../../src/config/schema.ts';
import { AGENT_DEFAULTS } from '../../src/agent/agent-defaults.ts';
import { AGENT_FORMAT } from '../../src/agent/agent-schema.ts';
import { AGENT_PAGES } from '../helpers/agent-config-pages.ts';
import { expectGenerated } from '../helpers/generated-file.ts';
import {
  COLLECTOR_PAGES,
  renderConfigurationPage,
  renderExampleYaml,
} from '../helpers/render-config-docs.ts';

describe('the configuration pages', () => {
  it('config.example.yaml has every key at its default', () => {
    const example = renderExampleYaml(COLLECTOR_PAGES);
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
    expectGenerated('docs/configuration.md', renderConfigurationPage(COLLECTOR_PAGES));
  });

  it('agent.example.yaml and docs/agent-configuration.md have every key of the agent', () => {
    const example = renderExampleYaml(AGENT_PAGES);
    expectGenerated('agent.example.yaml', example);
    expect(AGENT_FORMAT.schema.parse(parse(example))).toEqual(AGENT_DEFAULTS);
    expectGenerated('docs/agent-configuration.md', renderConfigurationPage(AGENT_PAGES));
  });

  it('every key has a description that is a sentence and fits the example', () => {
    for (const key of [...describeConfig(), ...describeConfig(AGENT_FORMAT)]) {
      expect(key.description, key.path).toMatch(/^[A-Za-z].*\.$/);
      expect(key.allowed, key.path).not.toMatch(/undefined|NaN/);
    }
  });
});
