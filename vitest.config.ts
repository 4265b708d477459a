/**
 * Two sets of tests. `fast` is what a developer runs all the time: one part of the program at a
 * time, under a minute for all. `system` runs whole programs, benchmarks and long searches.
 */
import { defineConfig } from 'vitest/config';

const SYSTEM = 'test/system/**/*.test.ts';

export default defineConfig({
  test: {
    // Tests wait for conditions; these deadlines only end a test that hangs.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: 'forks',
    maxWorkers: 3,
    projects: [
      { extends: true, test: { name: 'fast', include: ['test/**/*.test.ts'], exclude: [SYSTEM] } },
      { extends: true, test: { name: 'system', include: [SYSTEM] } },
    ],
  },
});
