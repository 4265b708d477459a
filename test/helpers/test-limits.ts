/**
 * The limits section of the configuration at its defaults, but for what a test sets.
 */
import { configSchema, type LimitsConfig } from '../../src/config/schema.ts';

export function testLimits(overrides: Partial<LimitsConfig> = {}): LimitsConfig {
  return { ...configSchema.parse({}).limits, ...overrides };
}
