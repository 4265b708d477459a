/**
 * `latency`: how long a batch waits for its acknowledgement at an ordinary load. Open loop: batches
 * leave at their times whatever the answers do, and wait from the time they were due, so a stall of
 * the daemon (or of the generator) is paid for by every batch that fell into it.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { MetricsPage } from '../trials/harness/metrics-page.ts';
import { ACK_BUCKETS_S } from '../src/collector/ingest/ingest-metrics.ts';
import type { Benchmark } from './benchmark.ts';
import { atMost, type Measurement } from './figures.ts';
import { measureFloor } from './latency-floor.ts';
import { lineChart } from './line-chart.ts';
import { FLEET_SHAPE, type LoadReport } from './load-task.ts';
import { Rig } from './rig.ts';

const DEFAULT_SECONDS = 60;
const WARM_UP_SECONDS = 8;
const FLOOR_SECONDS = 20;
const NODES = 100;
const METRICS_PER_SECOND = 50_000;
const BATCH_SAMPLES = FLEET_SHAPE.gpus * (25 + FLEET_SHAPE.extraMetrics);
const PICTURE = 'latency.svg';

export const latency: Benchmark = {
  name: 'latency',
  promise:
    'At 50,000 metrics a second from 100 agents an acknowledgement takes about a millisecond.',
  runs: 3,
  async measure({ seconds = DEFAULT_SECONDS, picturesDir }) {
    const batchesPerSecond = METRICS_PER_SECOND / BATCH_SAMPLES;
    const pace = { kind: 'schedule', batchesPerSecond } as const;
    const rig = await Rig.open();
    try {
      const daemon = await rig.start();
      const warmUpSeconds = Math.min(WARM_UP_SECONDS, seconds);
      const warmUp = await rig.load({ nodes: NODES, pace, seconds: warmUpSeconds });
      await warmUp.run();
      await warmUp.end();
      const load = await rig.load({ nodes: NODES, pace, seconds });
      const before = await daemon.metrics();
      const report = await load.run();
      const after = await daemon.metrics();
      await load.end();
      await rig.stop();
      const inside = ackQuantiles(before, after);
      const floor = await measureFloor(batchesPerSecond, Math.min(FLOOR_SECONDS, seconds));
      if (picturesDir !== undefined) draw(path.join(picturesDir, PICTURE), report);
      return measurements(report, inside, floor);
    } finally {
      await rig.close();
    }
  },
};

type Quantiles = Readonly<Record<'p50' | 'p99' | 'p999', number>>;

/** From the daemon's own histogram, by interpolation within a bucket, as Prometheus does. In ms. */
function ackQuantiles(before: MetricsPage, after: MetricsPage): Quantiles {
  const upTo = (page: MetricsPage, le: string) =>
    page.sum('batch_ack_seconds_bucket', { le, status: 'accepted' });
  const counts = ACK_BUCKETS_S.map((le) => upTo(after, String(le)) - upTo(before, String(le)));
  const total = upTo(after, '+Inf') - upTo(before, '+Inf');
  const quantile = (share: number) => {
    const rank = share * total;
    const bucket = counts.findIndex((count) => count >= rank);
    if (bucket < 0) return Number.POSITIVE_INFINITY;
    const low = bucket === 0 ? 0 : (ACK_BUCKETS_S[bucket - 1] ?? 0);
    const high = ACK_BUCKETS_S[bucket] ?? low;
    const below = bucket === 0 ? 0 : (counts[bucket - 1] ?? 0);
    const within = (counts[bucket] ?? 0) - below;
    return (low + ((high - low) * (rank - below)) / (within || 1)) * 1000;
  };
  return { p50: quantile(0.5), p99: quantile(0.99), p999: quantile(0.999) };
}

function measurements(report: LoadReport, inside: Quantiles, floor: Quantiles): Measurement[] {
  const { latencyMs, latenessMs } = report;
  const ms = (figure: string, value: number, most?: number): Measurement => ({
    ...{ figure, value, unit: 'ms' },
    ...(most !== undefined && { bar: atMost(most) }),
  });
  return [
    ms('frame received → durable, p50', inside.p50, 1),
    ms('frame received → durable, p99', inside.p99, 5),
    ms('frame received → durable, p99.9', inside.p999, 20),
    ms('due → acknowledged, p50', latencyMs.p50, 1),
    ms('due → acknowledged, p90', latencyMs.p90),
    ms('due → acknowledged, p99', latencyMs.p99, 5),
    ms('due → acknowledged, p99.9', latencyMs.p999, 20),
    ms('due → acknowledged, longest', latencyMs.max),
    ms('generator late, p50 (part of the above)', latenessMs.p50),
    ms('generator late, p99 (part of the above)', latenessMs.p99),
    ms('datagrams and two synced writes alone, p50', floor.p50),
    ms('datagrams and two synced writes alone, p99', floor.p99),
    ms('datagrams and two synced writes alone, p99.9', floor.p999),
    { figure: 'sent', value: report.sentSamples / report.seconds, unit: 'metrics/s' },
  ];
}

function draw(file: string, { curve }: LoadReport): void {
  // Nines are evenly spaced where the axis is the logarithm of what is left.
  const rest = (percentile: number) => 100 / (100 - Math.min(percentile, 99.999));
  const svg = lineChart({
    title: 'Due → acknowledged (durable), 50,000 metrics/s from 100 connections',
    x: {
      label: 'percentile of batches',
      ticks: [1, 2, 10, 100, 1000, 10_000],
      format: (tick) => `${Number((100 - 100 / tick).toPrecision(6))}`,
      isLogarithmic: true,
    },
    y: { label: 'ms', ticks: [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000], isLogarithmic: true },
    lines: [
      { name: 'measured', points: curve.map(([percentile, ms]) => [rest(percentile), ms]) },
      {
        name: 'bars: p50 1 ms, p99 5 ms, p99.9 20 ms',
        points: [
          [rest(50), 1],
          [rest(99), 5],
          [rest(99.9), 20],
        ],
      },
    ],
  });
  fs.writeFileSync(file, svg);
}
