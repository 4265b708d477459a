/**
 * `influx`: what the InfluxDB writer costs by itself, with and without compression, and what goes
 * over the wire. The server takes everything and keeps nothing.
 */
import { openInfluxWriter } from '../src/collector/writers/influx/influx-writer.ts';
import type { Benchmark } from './benchmark.ts';
import { Child } from './child.ts';
import type { Measurement } from './figures.ts';
import { fleetRecords, type RecordSet } from './sample-records.ts';
import { writeAll, writerDeps } from './writer-rig.ts';

const NODES = 100;
const ROUNDS = 60;
const MAX_BATCH_BYTES = 4 * 1024 * 1024;

export const influx: Benchmark = {
  name: 'influx',
  promise: 'Millions of values a second and core, with HTTP and compression.',
  runs: 3,
  measure: () => measureInflux(ROUNDS),
};

/** Also for short forms, with fewer rounds. */
export async function measureInflux(rounds: number): Promise<Measurement[]> {
  const set = fleetRecords(NODES, rounds);
  const server = Child.ofBench('discarding-influx');
  try {
    const url = `http://127.0.0.1:${await server.line<number>()}`;
    await writeOnce(set, url, false);
    const plain = await writeOnce(set, url, false);
    const packed = await writeOnce(set, url, true);
    const lines = (plain.stats.lines_total ?? 0) / plain.cpuSeconds;
    return [
      perSecond('values per CPU-second', set.samples / plain.cpuSeconds, 'values/CPU-s'),
      perSecond('lines per CPU-second', lines, 'lines/CPU-s'),
      perSecond('values per CPU-second, gzip', set.samples / packed.cpuSeconds, 'values/CPU-s'),
      perSecond('on the wire', wireBytes(plain.stats) / set.samples, 'B/metric'),
      perSecond('on the wire, gzip', wireBytes(packed.stats) / set.samples, 'B/metric'),
      perSecond('CPU of gzip', share(plain.cpuSeconds, packed.cpuSeconds), '% of the writer'),
    ];
  } finally {
    await server.end();
  }
}

async function writeOnce(set: RecordSet, url: string, gzip: boolean) {
  const settings = {
    ...{ url, gzip, org: 'bench', bucket: 'bench', token: '' },
    timeout_secs: 30,
    max_batch_bytes: MAX_BATCH_BYTES,
    measurement_gpu: 'gpu',
    measurement_node: 'node',
    tag_labels: ['gpu_uuid', 'gpu_index', 'gpu_model', 'pci_bus_id', 'device'],
  };
  // Plans of series tables are made once in the life of a daemon: records before the first ones.
  const warmUp = set.records.slice(0, NODES).map((one, at) => ({ ...one, seq: at + 1 - NODES }));
  const writer = openInfluxWriter(settings, { ...writerDeps(set), startCursor: -NODES });
  await writer.write(warmUp);
  const planned = writer.stats();
  const { cpuSeconds } = await writeAll(writer, set);
  const stats = difference(writer.stats(), planned);
  await writer.close();
  return { cpuSeconds, stats };
}

function difference(
  after: Readonly<Record<string, number>>,
  before: Readonly<Record<string, number>>,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(after).map(([name, value]) => [name, value - (before[name] ?? 0)]),
  );
}

function wireBytes(stats: Readonly<Record<string, number>>): number {
  return stats.sent_bytes_total ?? 0;
}

function share(plain: number, packed: number): number {
  return ((packed - plain) / packed) * 100;
}

function perSecond(figure: string, value: number, unit: string): Measurement {
  return { figure, value, unit };
}
