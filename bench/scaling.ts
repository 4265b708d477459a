/**
 * `scaling`: what a metric costs as the fleet, its series, its batches, its labels and the cores
 * grow. CPU microseconds for a metric over all threads of the daemon; the bar is that known series
 * make it no dearer.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Benchmark } from './benchmark.ts';
import { atMost, type Measurement } from './figures.ts';
import { cpuPerMetric, type IngestRunOptions, type NodesTask, runIngest } from './ingest-run.ts';
import { lineChart } from './line-chart.ts';
import { FLEET_SHAPE, type LoadShape } from './load-task.ts';
import { type NewSeriesRun, runNewSeries } from './new-series.ts';

const DEFAULT_SECONDS = 6;
const NODES = 100;
const BATCH_SAMPLES = 480;
const NEW_SERIES_NODES = [100, 1000];
const PICTURE = 'scaling.svg';

interface Point {
  readonly axis: string;
  readonly size: number;
  readonly task: NodesTask;
  readonly options?: IngestRunOptions;
}

export const scaling: Benchmark = {
  name: 'scaling',
  promise: 'A metric costs the same whether a thousand series are known or a million.',
  runs: 1,
  async measure({ seconds = DEFAULT_SECONDS, say, picturesDir }) {
    const costs: { point: Point; cost: number; rate: number }[] = [];
    for (const point of points()) {
      const run = await runIngest({ seconds, ...point.task }, point.options ?? {});
      const cost = cpuPerMetric(run);
      const rate = run.accepted / run.seconds;
      costs.push({ point, cost, rate });
      const size = point.size.toLocaleString('en-US');
      say(`${point.axis} ${size}: ${cost.toFixed(2)} µs, ${Math.round(rate)} metrics/s`);
    }
    if (picturesDir !== undefined) draw(path.join(picturesDir, PICTURE), costs);
    const news = [];
    for (const nodes of NEW_SERIES_NODES) {
      const run = await runNewSeries(nodes);
      say(`new series ${run.series.toLocaleString('en-US')}: ${run.microseconds.toFixed(1)} µs`);
      news.push(...newSeriesFigures(run));
    }
    const known = costs.filter(({ point }) => point.axis === 'known series');
    const growth = (known.at(-1)?.cost ?? 0) / (known[0]?.cost ?? 1);
    return [
      ...costs.map(({ point, cost }) => ({
        figure: `${point.axis}: ${point.size.toLocaleString('en-US')}`,
        value: cost,
        unit: 'µs/metric',
      })),
      ...news,
      {
        figure: 'cost at a million known series ÷ at a thousand',
        value: growth,
        unit: '×',
        bar: atMost(1.2),
      } satisfies Measurement,
    ];
  },
};

function newSeriesFigures(run: NewSeriesRun): Measurement[] {
  const at = `of ${run.series.toLocaleString('en-US')} at once`;
  return [
    { figure: `a new series, ${at}`, value: run.microseconds, unit: 'µs' },
    { figure: `its part of the main thread, ${at}`, value: run.mainMicroseconds, unit: 'µs' },
    { figure: `until all are in InfluxDB, ${at}`, value: run.seconds, unit: 's' },
    { figure: `RssAnon then, ${at}`, value: run.rssAnonMiB, unit: 'MiB' },
  ];
}

function points(): Point[] {
  const shape = (change: Partial<LoadShape>): LoadShape => ({ ...FLEET_SHAPE, ...change });
  return [
    ...[1000, 10_000, 100_000, 1_000_000].map((size) => ({
      axis: 'known series',
      size,
      task: { nodes: 2, pace: { kind: 'full speed', inFlight: 64 } as const },
      options: { quietNodes: Math.ceil(size / BATCH_SAMPLES) },
    })),
    ...[10, 100, 1000].map((size) => ({
      axis: 'nodes',
      size,
      task: { nodes: size, pace: { kind: 'full speed', inFlight: size < 100 ? 16 : 2 } as const },
    })),
    ...[1, 2, 4, 16].map((rounds) => ({
      axis: 'samples in a batch',
      size: rounds * BATCH_SAMPLES,
      task: { nodes: NODES, shape: shape({ rounds }) },
    })),
    ...[0, 8, 16].map((extraLabels) => ({
      axis: 'labels of a series',
      size: 7 + extraLabels,
      task: { nodes: NODES, shape: shape({ extraLabels }) },
    })),
    ...['0', '0,1'].map((processors) => ({
      axis: 'cores',
      size: processors.split(',').length,
      task: { nodes: NODES },
      options: { processors },
    })),
  ];
}

function draw(
  file: string,
  costs: readonly { readonly point: Point; readonly cost: number }[],
): void {
  const axes = ['known series', 'nodes', 'samples in a batch'];
  const svg = lineChart({
    title: 'CPU of the daemon for a metric, all threads',
    x: {
      label: 'how many',
      ticks: [1, 10, 100, 1000, 10_000, 100_000, 1_000_000],
      format: (tick) => tick.toLocaleString('en-US'),
      isLogarithmic: true,
    },
    y: { label: 'µs', ticks: [0, 0.5, 1, 1.5, 2, 2.5, 3] },
    lines: axes.map((axis) => ({
      name: axis,
      points: costs
        .filter(({ point }) => point.axis === axis)
        .map(({ point, cost }) => [point.size, cost] as const),
    })),
  });
  fs.writeFileSync(file, svg);
}
