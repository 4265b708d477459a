/** `npm run demo -- --keep` gives the shell back and leaves a collector that runs. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import type { DemoSummary } from '../../demo/demo.ts';
import { packageFile } from '../../src/lib/package-root.ts';
import { eventually } from '../helpers/eventually.ts';

const OPTIONS = ['--seconds', '1', '--nodes', '2', '--gpus', '1', '--json'];

test('the demo with --keep returns, and says how to stop what it left running', async () => {
  const demo = spawn(process.execPath, [packageFile('dist/demo/main.js'), ...OPTIONS, '--keep']);
  let said = '';
  demo.stdout.on('data', (bytes: Buffer) => {
    said += bytes.toString();
  });
  demo.stderr.resume();
  // Not before the pipes are closed at the other end by everybody who holds them.
  const [code] = (await once(demo, 'close')) as [number | null];
  const pid = Number(/stop: +kill (\d+)/.exec(said)?.[1]);
  const dir = /everything is in (\S+)/.exec(said)?.[1] ?? '';
  const url = /curl -s (\S+)\/readyz/.exec(said)?.[1];
  try {
    expect(code, said).toBe(0);
    expect(pid).toBeGreaterThan(0);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    process.kill(pid, 'SIGTERM');
    await eventually('the collector to end', () => !isRunning(pid));
    expect(fs.readFileSync(`${dir}/collector.log`, 'utf8')).toContain('"ready"');
  } finally {
    if (pid > 0 && isRunning(pid)) process.kill(pid, 'SIGKILL');
    if (dir.includes('telemetry-collector-demo-')) fs.rmSync(dir, { recursive: true });
  }
}, 120_000);

test.each(['auto', 'tls'])(
  'the books of the demo balance with --transport %s',
  async (kind) => {
    const words = [packageFile('dist/demo/main.js'), ...OPTIONS, '--transport', kind];
    const { stdout } = await promisify(execFile)(process.execPath, words);
    const { sent, rows } = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as DemoSummary;
    expect(sent).toBeGreaterThan(0);
    expect(rows).toBe(sent);
  },
  120_000,
);

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
