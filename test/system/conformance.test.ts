/**
 * `telemetry-collector conformance` against the reference client, and against none at all.
 */
import { expect, test } from 'vitest';
import { packageFile } from '../../src/lib/package-root.ts';
import { runCli } from '../helpers/run-cli.ts';

const AGENT = [process.execPath, packageFile('dist/src/agent/main.js')];
const RUN_TIMEOUT_MS = 180_000;

test(
  'the agent of this project keeps every rule',
  async () => {
    const settings = '--server $TELEMETRY_SERVER --ca $TELEMETRY_CA --cert $TELEMETRY_CERT';
    const source = '--key $TELEMETRY_KEY --source simulate --interval 0.1 --log-level silent';
    const script = `exec ${AGENT.join(' ')} ${settings} ${source}`;
    const words = ['conformance', '--json', '--', 'sh', '-c', script];
    const { stdout, code } = await runCli(words, { timeoutMs: RUN_TIMEOUT_MS });
    const judgements = JSON.parse(stdout) as { rule: string; verdict: string; why: string[] }[];
    expect(judgements.filter(({ verdict }) => verdict !== 'pass')).toEqual([]);
    expect(code).toBe(0);
  },
  RUN_TIMEOUT_MS,
);

test('a client that ends at once keeps no rule, and the exit code says so', async () => {
  const { code, stdout } = await runCli(['conformance', '--', 'false']);
  expect(code).toBe(1);
  expect(stdout).toContain('did not try to connect before it ended');
  expect(stdout).toContain('0 of 18 rules are kept.');
});
