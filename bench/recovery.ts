/**
 * `recovery`: the daemon is killed with a gigabyte in the journal that no writer has written. How
 * long until it listens again, and until everything is where it belongs?
 */
import { WarehouseQuery } from '../trials/harness/warehouse-query.ts';
import type { Benchmark } from './benchmark.ts';
import { atMost, type Measurement } from './figures.ts';
import { measureKnownSeries } from './known-series.ts';
import { FLEET_SHAPE } from './load-task.ts';
import { Rig } from './rig.ts';

const BACKLOG_BYTES = 1e9;
/** Ten thousand nodes. */
const KNOWN_SERIES = 2_000_000;
const SLICE_SECONDS = 5;
const NODES = 100;
/** The journal is to be filled fast: large datagrams and batches. */
const UDP_PAYLOAD_BYTES = 8900;
const SHAPE = { ...FLEET_SHAPE, rounds: 2 };
/** The port of a service nobody runs: the InfluxDB that is down. */
const DEAD_URL = 'http://127.0.0.1:9';

export const recovery: Benchmark = {
  name: 'recovery',
  promise:
    'With a gigabyte of backlog, or two million known series, it listens within two seconds.',
  runs: 3,
  async measure() {
    const backlog = await measureRecovery(BACKLOG_BYTES);
    return [...backlog, ...(await measureKnownSeries(KNOWN_SERIES))];
  },
};

/** Also for short forms, with less backlog. */
export async function measureRecovery(backlogBytes: number): Promise<Measurement[]> {
  const server = { max_udp_payload_bytes: UDP_PAYLOAD_BYTES };
  const rig = await Rig.open({ settings: { server, influxdb: { url: DEAD_URL } } });
  try {
    const daemon = await rig.start();
    let liveBytes = 0;
    let acked = 0;
    while (liveBytes < backlogBytes) {
      const seconds = backlogBytes < BACKLOG_BYTES ? 1 : SLICE_SECONDS;
      const load = await rig.load({
        ...{ nodes: NODES, seconds, shape: SHAPE },
        maxUdpPayloadBytes: UDP_PAYLOAD_BYTES,
      });
      acked += (await load.run()).ackedSamples;
      await load.end();
      liveBytes = (await daemon.metrics()).sum('journal_live_bytes');
    }
    await daemon.kill();
    rig.configure({});
    const startedMs = performance.now();
    await rig.start();
    const listeningMs = performance.now();
    await rig.until('InfluxDB to have it all', (page) => {
      return page.sum('samples_pending', { writer: 'influxdb' }) === 0;
    });
    const influxMs = performance.now();
    await rig.stop();
    const stoppedMs = performance.now();
    const rows = await new WarehouseQuery(rig.warehouseDir).count();
    if (rows !== acked) throw new Error(`${rows} rows in the warehouse, ${acked} acknowledged`);
    const seconds = (fromMs: number, toMs: number) => (toMs - fromMs) / 1000;
    return [
      { figure: 'backlog', value: liveBytes / 1e9, unit: 'GB' },
      { figure: 'backlog in samples', value: acked, unit: 'samples' },
      {
        figure: 'process started → listening',
        value: seconds(startedMs, listeningMs),
        unit: 's',
        bar: atMost(2),
      },
      { figure: 'listening → InfluxDB has all', value: seconds(listeningMs, influxMs), unit: 's' },
      { figure: 'listening → Parquet sealed', value: seconds(listeningMs, stoppedMs), unit: 's' },
    ];
  } finally {
    await rig.close();
  }
}
