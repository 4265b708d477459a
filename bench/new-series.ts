/**
 * What a series costs that was never seen before: hashing, a place in the journal's list, its texts
 * and order in the warehouse, its line in InfluxDB. All nodes send their first batch at once.
 */

import { FLEET_SHAPE } from './load-task.ts';
import { Rig } from './rig.ts';
import { anonymousBytes, cpuSince, threadCpu, totalCpu } from './thread-cpu.ts';

/** What dcgm-exporter shows by default of eight GPUs: 200 series a node. */
const SHAPE = { ...FLEET_SHAPE, extraMetrics: 0 };
const MIB = 2 ** 20;

export interface NewSeriesRun {
  readonly series: number;
  /** CPU of the daemon for one of them, until its first sample is in InfluxDB. */
  readonly microseconds: number;
  readonly mainMicroseconds: number;
  readonly seconds: number;
  readonly rssAnonMiB: number;
}

/** Throws where not every series is known afterwards. */
export async function runNewSeries(nodes: number): Promise<NewSeriesRun> {
  const rig = await Rig.open();
  try {
    const daemon = await rig.start();
    const load = await rig.load({ nodes, shape: SHAPE, pace: { kind: 'once' } });
    const before = threadCpu(daemon.pid);
    const startedMs = performance.now();
    const { sentSamples } = await load.run();
    const page = await rig.until('InfluxDB to have it all', (now) => {
      return now.sum('samples_pending', { writer: 'influxdb' }) === 0;
    });
    const cpu = cpuSince(before, threadCpu(daemon.pid));
    const seconds = (performance.now() - startedMs) / 1000;
    const rssAnonMiB = anonymousBytes(daemon.pid) / MIB;
    const series = page.sum('admission_series');
    if (series !== sentSamples) throw new Error(`${series} series are known, not ${sentSamples}`);
    await load.end();
    await rig.stop();
    const each = (cpuSeconds: number) => (cpuSeconds / series) * 1e6;
    const mainMicroseconds = each(cpu.get('main') ?? 0);
    return { series, microseconds: each(totalCpu(cpu)), mainMicroseconds, seconds, rssAnonMiB };
  } finally {
    await rig.close();
  }
}
