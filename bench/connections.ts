/**
 * `connections`: what a connection costs: to make, to hold, and to be heard from every ten seconds.
 * At 1,000 every node has a certificate of its own; at 10,000 all present one, of a delegate that
 * may send for every node, because making certificates is not what is measured.
 */
import type { Benchmark } from './benchmark.ts';
import { atMost, type Measurement } from './figures.ts';
import { FLEET_SHAPE, type LoadShape } from './load-task.ts';
import { Rig, type RigOptions } from './rig.ts';
import { anonymousBytes, cpuSince, threadCpu, totalCpu } from './thread-cpu.ts';

const DEFAULT_SECONDS = 25;
const SEND_EVERY_SECONDS = 10;
const MIB = 2 ** 20;

/** What dcgm-exporter shows by default: 25 metrics a GPU. */
const SHAPE = { ...FLEET_SHAPE, extraMetrics: 0 };
/** Ten thousand nodes of eight GPUs are two million series, more than one generator can drive. */
const SMALL_SHAPE = { ...SHAPE, gpus: 1 };

export const connections: Benchmark = {
  name: 'connections',
  promise: 'A thousand agents in 150 MB, ten thousand in 1 GB.',
  runs: 1,
  async measure({ seconds = DEFAULT_SECONDS, say }) {
    const few = await measureConnections(1000, seconds, 150);
    say(`1,000 done: ${JSON.stringify(few.map(({ value }) => Number(value.toPrecision(3))))}`);
    return [...few, ...(await measureConnections(10_000, seconds, 1024, SMALL_SHAPE))];
  },
};

/** Also for short forms. `mostMiB` is the bar on anonymous memory. */
export async function measureConnections(
  count: number,
  seconds: number,
  mostMiB: number,
  shape: LoadShape = SHAPE,
  options: RigOptions = {},
): Promise<Measurement[]> {
  const rig = await Rig.open(options);
  try {
    const daemon = await rig.start();
    const idleBytes = anonymousBytes(daemon.pid);
    const cpuAtFirst = threadCpu(daemon.pid);
    const load = await rig.load({
      nodes: count,
      shape,
      pace: { kind: 'schedule', batchesPerSecond: count / SEND_EVERY_SECONDS },
      seconds,
    });
    const cpuConnected = threadCpu(daemon.pid);
    const connectedBytes = anonymousBytes(daemon.pid);
    const report = await load.run();
    const cpuSent = threadCpu(daemon.pid);
    const sendingBytes = anonymousBytes(daemon.pid);
    await load.end();
    await rig.stop();
    const { handshakeSeconds } = load.connected;
    const handshakeCpu = totalCpu(cpuSince(cpuAtFirst, cpuConnected));
    const at = `at ${count.toLocaleString('en-US')}`;
    return [
      { figure: `handshakes ${at}`, value: count / handshakeSeconds, unit: 'a second' },
      { figure: `CPU of a handshake ${at}`, value: (handshakeCpu / count) * 1000, unit: 'ms' },
      { figure: `RssAnon before ${at}`, value: idleBytes / MIB, unit: 'MiB' },
      { figure: `RssAnon connected ${at}`, value: connectedBytes / MIB, unit: 'MiB' },
      {
        figure: `RssAnon sending ${at}`,
        value: sendingBytes / MIB,
        unit: 'MiB',
        bar: atMost(mostMiB),
      },
      {
        figure: `CPU while sending ${at}`,
        value: (totalCpu(cpuSince(cpuConnected, cpuSent)) / report.seconds) * 100,
        unit: '% of a core',
      },
      { figure: `due → acknowledged, p99 ${at}`, value: report.latencyMs.p99, unit: 'ms' },
      { figure: `sent ${at}`, value: report.sentSamples / report.seconds, unit: 'metrics/s' },
    ];
  } finally {
    await rig.close();
  }
}
