/**
 * `profile`: where the CPU time of a metric goes, stage by stage, at full speed with both writers.
 * What each thread uses is what the kernel says of a run without a profiler, which takes time of
 * its own; how that divides among stages comes from a second run with one. So the lines add up to
 * the whole.
 */
import fs from 'node:fs';
import type { Profiler } from 'node:inspector';
import os from 'node:os';
import path from 'node:path';
import { packageFile } from '../src/lib/package-root.ts';
import type { Benchmark } from './benchmark.ts';
import type { Measurement } from './figures.ts';
import { cpuPerMetric, type IngestRun, runIngest } from './ingest-run.ts';
import { RUNTIME, type Stage, stageShares } from './profile-shares.ts';

const DEFAULT_SECONDS = 15;
const NODES = 100;

/** By thread, the innermost first. */
const STAGES: Readonly<Record<string, readonly Stage[]>> = {
  main: [
    { name: 'QUIC, TLS and UDP', files: /\/transport\// },
    { name: 'decoding', files: /\/codec\// },
    { name: 'admission', files: /\/admission\// },
    { name: 'journal', files: /\/(journal|node_modules\/lmdb)\// },
    { name: 'sessions, books and answers', files: /\/(listener|writers|observability)\/|ingest/ },
  ],
  influxdb: [
    { name: 'line protocol', files: /\/writers\/influx\/(?!influx-client|influx-writer)/ },
    { name: 'reading the journal', files: /\/(journal|codec|node_modules\/lmdb)\/|record-feed/ },
    { name: 'requests', files: /\/writers\// },
  ],
  parquet: [
    { name: 'compression', files: /\/lib\/(snappy|zstd)/ },
    { name: 'series and partitions', files: /series-index|columns\.js|gpu-identity/ },
    { name: 'sorting rows', files: /(row-buffer|merge-rows|spill-file|sorted-rows|time-order)/ },
    { name: 'pages and files', files: /\/writers\/parquet\/|\/warehouse\/|hyparquet/ },
    { name: 'reading the journal', files: /\/(journal|codec|node_modules\/lmdb)\/|record-feed/ },
    { name: 'loop', files: /\/writers\// },
  ],
};
const PROFILES: Readonly<Record<string, string>> = {
  main: 'main',
  influxdb: 'writer-influxdb',
  parquet: 'writer-parquet',
};

export const profile: Benchmark = {
  name: 'profile',
  promise: 'Where the CPU time of a metric goes; the lines add up to the whole.',
  runs: 3,
  async measure({ seconds = DEFAULT_SECONDS }) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telemetry-bench-profile-'));
    try {
      const preload = packageFile('dist/bench/preload/cpu-profile.js');
      const env = { NODE_OPTIONS: `--import=${preload}`, PROFILE_DIR: dir };
      const run = await runIngest({ nodes: NODES, seconds }, {});
      await runIngest({ nodes: NODES, seconds }, { env });
      return [...threads(run, dir), figure('all threads', cpuPerMetric(run))];
    } finally {
      fs.rmSync(dir, { recursive: true, force: true });
    }
  },
};

function threads({ cpu, accepted }: IngestRun, dir: string): Measurement[] {
  return [...cpu].flatMap(([thread, used]) => {
    const perMetric = (used / accepted) * 1e6;
    const stages = STAGES[thread];
    if (stages === undefined) {
      return [figure('helper threads: collecting garbage, gzip, LMDB, disk', perMetric)];
    }
    const text = fs.readFileSync(path.join(dir, `${PROFILES[thread]}.cpuprofile`), 'utf8');
    const shares = stageShares(JSON.parse(text) as Profiler.Profile, stages);
    const names = [...stages.map(({ name }) => name), ...shares.keys(), RUNTIME];
    return [...new Set(names)].map((name) =>
      figure(`${thread}: ${name}`, perMetric * (shares.get(name) ?? 0)),
    );
  });
}

function figure(name: string, value: number): Measurement {
  return { figure: name, value, unit: 'µs/metric' };
}
