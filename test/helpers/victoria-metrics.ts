/**
 * Debian's VictoriaMetrics, a real server that speaks the InfluxDB v2 write API. Points written to
 * it come back through its export, which holds nothing back (its queries hide the latest points for
 * a while). It keeps numbers only: a string field is stored as 0, and a field becomes
 * `measurement_field`.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { freePort } from '../../trials/harness/free-port.ts';
import { debianTool } from './debian-tool.ts';

export interface ExportedSeries {
  /** Labels, the name as `__name__`. */
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly number[];
  /** Unix ms. */
  readonly timestamps: readonly number[];
}

export interface VictoriaMetrics {
  readonly url: string;
  /** Everything it has of series that match the selector. */
  export(selector: string): Promise<ExportedSeries[]>;
  stop(): Promise<void>;
}

/** Path of the server; undefined where it cannot be had, which is an error in CI. */
export function victoriaMetricsPath(): string | undefined {
  return debianTool('victoria-metrics', 'victoria-metrics');
}

/** Starts a server with an empty store on a free port and waits until it is healthy. */
export async function startVictoriaMetrics(program: string): Promise<VictoriaMetrics> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'collector-vm-'));
  const url = `http://127.0.0.1:${await freePort()}`;
  const child = spawn(
    program,
    [
      `-httpListenAddr=${new URL(url).host}`,
      `-storageDataPath=${dir}`,
      '-retentionPeriod=100y',
      '-loggerLevel=ERROR',
    ],
    { stdio: 'ignore' },
  );
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async () => {
    child.kill('SIGTERM');
    await exited;
    fs.rmSync(dir, { recursive: true, force: true });
  };
  const deadline = performance.now() + 30_000;
  while (!(await isHealthy(url))) {
    if (performance.now() > deadline || child.exitCode !== null) {
      await stop();
      throw new Error('victoria-metrics does not become healthy');
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { url, stop, export: (selector) => exportSeries(url, selector) };
}

async function exportSeries(url: string, selector: string): Promise<ExportedSeries[]> {
  // What was written last sits in buffers; this makes it visible.
  await fetch(`${url}/internal/force_flush`);
  const query = new URLSearchParams({ 'match[]': selector });
  const response = await fetch(`${url}/api/v1/export?${query}`);
  const text = await response.text();
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as ExportedSeries);
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/health`)).ok;
  } catch {
    return false;
  }
}
