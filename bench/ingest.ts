/**
 * `ingest`: how many metrics a second the whole daemon takes in, makes durable and writes to both
 * destinations, and what each costs. The clock runs until the last row is in a visible Parquet file
 * and the last line at the InfluxDB, so nothing counts that only lies in the journal.
 */
import type { Benchmark } from './benchmark.ts';
import { atLeast, type Measurement } from './figures.ts';
import { cpuPerMetric, type IngestRun, runIngest } from './ingest-run.ts';
import { FLEET_SHAPE } from './load-task.ts';
import { totalCpu } from './thread-cpu.ts';

const DEFAULT_SECONDS = 15;
const NODES = 100;
/** An Ethernet jumbo frame without its headers. */
const JUMBO_BYTES = 8900;

export const ingest: Benchmark = {
  name: 'ingest',
  promise: 'A million metrics a second on two cores, durable and in both destinations.',
  runs: 3,
  async measure({ seconds = DEFAULT_SECONDS, say }) {
    const run = await runIngest({ nodes: NODES, seconds }, {});
    const parts = [...run.cpu].map(([role, used]) => `${role} ${used.toFixed(2)}`);
    const rate = Math.round(run.accepted / run.seconds).toLocaleString('en-US');
    say(`${rate} metrics/s over ${run.seconds.toFixed(1)} s; CPU seconds: ${parts.join(', ')}`);
    return [...measurements(run), ...(await measureOthers(seconds))];
  },
};

/**
 * What the same fleet reaches with batches as large as the limits allow by default, which repeat
 * the series table half as often, and on a network of jumbo frames.
 */
async function measureOthers(seconds: number): Promise<Measurement[]> {
  const shape = { ...FLEET_SHAPE, rounds: 2 };
  const double = await runIngest({ nodes: NODES, seconds, shape }, {});
  const server = { max_udp_payload_bytes: JUMBO_BYTES };
  const jumbo = await runIngest(
    { nodes: NODES, seconds, shape, maxUdpPayloadBytes: JUMBO_BYTES },
    { settings: { server } },
  );
  return [
    ...summary('two readings in a batch', double),
    ...summary('two readings, jumbo frames', jumbo),
  ];
}

function summary(name: string, run: IngestRun): Measurement[] {
  return [
    { figure: `${name}: written by both`, value: run.accepted / run.seconds, unit: 'metrics/s' },
    { figure: `${name}: CPU of the daemon`, value: cpuPerMetric(run), unit: 'µs' },
    {
      figure: `${name}: CPU of the load generator`,
      value: (run.load.cpuSeconds / run.accepted) * 1e6,
      unit: 'µs',
    },
  ];
}

function measurements(run: IngestRun): Measurement[] {
  const { load, cpu, accepted } = run;
  const rate = accepted / run.seconds;
  const perMetric = (seconds: number) => (seconds / accepted) * 1e6;
  const cpuLine = (whose: string, seconds: number): Measurement => ({
    figure: `CPU of ${whose} for a metric`,
    value: perMetric(seconds),
    unit: 'µs',
  });
  return [
    {
      figure: 'accepted, durable and written by both',
      value: rate,
      unit: 'metrics/s',
      bar: atLeast(1_000_000),
    },
    { figure: 'accepted while sending', value: accepted / load.seconds, unit: 'metrics/s' },
    {
      figure: 'cores that daemon and generator got',
      value: (totalCpu(cpu) + load.cpuSeconds) / run.seconds,
      unit: 'of 2',
    },
    { figure: 'InfluxDB behind at the end', value: (run.pending.influxdb ?? 0) / rate, unit: 's' },
    { figure: 'drained and stopped after', value: run.drainSeconds, unit: 's' },
    { figure: 'metrics per CPU-second', value: accepted / totalCpu(cpu), unit: 'metrics/CPU-s' },
    cpuLine('the daemon', totalCpu(cpu)),
    cpuLine('its main thread', cpu.get('main') ?? 0),
    cpuLine('its InfluxDB thread', cpu.get('influxdb') ?? 0),
    cpuLine('its Parquet thread', cpu.get('parquet') ?? 0),
    cpuLine('its other threads (GC, gzip, LMDB)', cpu.get('other') ?? 0),
    cpuLine('the load generator', load.cpuSeconds),
    { figure: 'RssAnon, most', value: run.rssAnonMax / 2 ** 20, unit: 'MiB' },
    {
      figure: 'GC pauses of the main thread',
      value: (run.gcSeconds / load.seconds) * 100,
      unit: '% of time',
    },
    {
      figure: 'GC pause of the main thread, mean',
      value: (run.gcSeconds / run.gcPauses) * 1000,
      unit: 'ms',
    },
    { figure: 'on the wire from agents', value: load.wireBytes / accepted, unit: 'B/metric' },
    { figure: 'on the wire to InfluxDB', value: run.influxBytes / accepted, unit: 'B/metric' },
    { figure: 'send → acknowledgement, p50', value: load.latencyMs.p50, unit: 'ms' },
    { figure: 'throttled', value: load.throttled, unit: 'batches' },
  ];
}
