/**
 * `peer`: the same samples through vmagent, in the same run, one after the other. Line protocol in
 * over HTTP and remote write out, to the same kind of server that keeps nothing.
 *
 * What is compared is CPU for a metric, and the two do not promise the same. Ours checks who sends
 * (mutual TLS, identity), refuses duplicates and bad values, limits series, answers only after the
 * batch is synced to disk, and accounts for every sample. vmagent parses, relabels and forwards; it
 * answers once the lines are in memory, and writes to disk only when the server does not keep up.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { freePort } from '../trials/harness/free-port.ts';
import type { Benchmark } from './benchmark.ts';
import { Child } from './child.ts';
import { atLeast, type Measurement } from './figures.ts';
import { type IngestRun, runIngest } from './ingest-run.ts';
import type { LineReport, LineTask } from './line-task.ts';
import { pause } from './pause.ts';
import { processCpu, totalCpu } from './thread-cpu.ts';

const VMAGENT = '/usr/bin/vmagent';
const DEFAULT_SECONDS = 12;
const WARM_UP_SECONDS = 2;
const NODES = 100;
const REQUESTS_AT_ONCE = 8;
const START_DEADLINE_MS = 10_000;
/** vmagent flushes once a second; past this much silence all is out. */
const QUIET_MS = 2500;

export const peer: Benchmark = {
  name: 'peer',
  promise: 'No dearer than vmagent for a metric, with a durable answer; half as cheap with both.',
  runs: 3,
  async measure({ seconds = DEFAULT_SECONDS, say }) {
    if (!fs.existsSync(VMAGENT)) {
      say(`left out: ${VMAGENT} is not installed (Debian package victoria-metrics)`);
      return [];
    }
    const theirs = await measureVmagent(seconds);
    const influxOnly = await runIngest(
      { nodes: NODES, seconds },
      { settings: { parquet: { enabled: false } } },
    );
    const both = await runIngest({ nodes: NODES, seconds }, {});
    return [
      perCpu('vmagent', theirs),
      perCpu('ours, InfluxDB writer only', rateOf(influxOnly)),
      perCpu('ours, both writers', rateOf(both)),
      ratio('ours with InfluxDB only ÷ vmagent', rateOf(influxOnly) / theirs, 1),
      ratio('ours with both ÷ vmagent', rateOf(both) / theirs, 0.5),
    ];
  },
};

function rateOf(run: IngestRun): number {
  return run.accepted / totalCpu(run.cpu);
}

/** Metrics per CPU-second of vmagent, warmed up, until its last remote write is out. */
export async function measureVmagent(seconds: number): Promise<number> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telemetry-bench-vmagent-'));
  const server = Child.ofBench('discarding-influx');
  const port = await freePort();
  const sink = `http://127.0.0.1:${await server.line<number>()}`;
  const vmagent = Child.of(
    VMAGENT,
    [
      `-httpListenAddr=127.0.0.1:${port}`,
      `-remoteWrite.url=${sink}/api/v1/write`,
      `-remoteWrite.tmpDataPath=${dir}`,
    ],
    true,
  );
  try {
    const url = `http://127.0.0.1:${port}`;
    await untilHealthy(url);
    await sendLines(url, WARM_UP_SECONDS);
    await untilQuiet(sink);
    const before = processCpu(vmagent.pid);
    const { samples } = await sendLines(url, seconds);
    await untilQuiet(sink);
    return samples / (processCpu(vmagent.pid) - before);
  } finally {
    await vmagent.end();
    await server.end();
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

async function sendLines(url: string, seconds: number): Promise<LineReport> {
  const task: LineTask = {
    url: `${url}/write?precision=ms`,
    nodes: NODES,
    requestsAtOnce: REQUESTS_AT_ONCE,
    seconds,
  };
  const generator = Child.ofBench('line-generator', [JSON.stringify(task)]);
  await generator.line();
  generator.tell('go');
  const report = await generator.line<LineReport>();
  await generator.gone();
  return report;
}

async function untilHealthy(url: string): Promise<void> {
  const giveUpAtMs = performance.now() + START_DEADLINE_MS;
  while (performance.now() < giveUpAtMs) {
    const isUp = await fetch(`${url}/health`).then(
      (response) => response.ok,
      () => false,
    );
    if (isUp) return;
    await pause(50);
  }
  throw new Error(`vmagent is not healthy after ${START_DEADLINE_MS} ms`);
}

/** Waits until the discarding server has heard nothing for a while. */
async function untilQuiet(sink: string): Promise<void> {
  const heard = async () =>
    ((await (await fetch(`${sink}/figures`)).json()) as { bytes: number }).bytes;
  for (let before = -1, now = await heard(); now !== before; ) {
    before = now;
    await pause(QUIET_MS);
    now = await heard();
  }
}

function perCpu(who: string, value: number): Measurement {
  return { figure: `metrics per CPU-second, ${who}`, value, unit: 'metrics/CPU-s' };
}

function ratio(figure: string, value: number, least: number): Measurement {
  return { figure, value, unit: '×', bar: atLeast(least) };
}
