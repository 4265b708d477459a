/**
 * A `LoadFleet` as a process of its own. The first argument is the path of a `LoadTask`; see
 * load-task.ts for the conversation with the benchmark.
 */
import { once } from 'node:events';
import fs from 'node:fs';
import { agentTransport } from '../src/client/client-endpoints.ts';
import { systemClock } from '../src/lib/clock.ts';
import { quinnStack } from '../src/transport/quinn/quinn-endpoint.ts';
import { LoadFleet } from './load-fleet.ts';
import type { Latencies, LoadConnected, LoadReport, LoadTask } from './load-task.ts';

const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;
const PERCENTILES = [1, 25, 50, 75, 90, 95, 97.5, 99, 99.5, 99.9, 99.95, 99.99, 99.999];

const task = JSON.parse(fs.readFileSync(process.argv[2] ?? '', 'utf8')) as LoadTask;
const endpoint = await quinnStack.openEndpoint(
  {
    bind: { host: '127.0.0.1', port: 0 },
    transport: { ...agentTransport(60_000), maxUdpPayloadBytes: task.maxUdpPayloadBytes },
    socketBufferBytes: SOCKET_BUFFER_BYTES,
    onError: (error) => fail(error),
  },
  systemClock,
);
const fleet = new LoadFleet(endpoint, task, fail);

const connecting = stopwatch();
await fleet.connect();
const connected = connecting();
say({
  handshakeSeconds: connected.seconds,
  cpuSeconds: connected.cpuSeconds,
} satisfies LoadConnected);

await once(process.stdin, 'data');
const bytesBefore = endpoint.counters.bytesSent;
const running = stopwatch();
await fleet.run();
const { sent, acked, rejected, throttled } = fleet.totals;
say({
  ...running(),
  sentSamples: sent,
  ackedSamples: acked,
  rejectedSamples: rejected,
  throttled,
  wireBytes: endpoint.counters.bytesSent - bytesBefore,
  latencyMs: latenciesOf(fleet.latency),
  latenessMs: latenciesOf(fleet.lateness),
  curve: PERCENTILES.map((percentile) => [percentile, fleet.latency.percentile(percentile) / 1000]),
} satisfies LoadReport);

await once(process.stdin, 'data');
await endpoint.close(0, 'done');
process.exit(0);

function say(line: LoadConnected | LoadReport): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function stopwatch(): () => { seconds: number; cpuSeconds: number } {
  const startedMs = systemClock.monotonicMs();
  const startedCpu = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(startedCpu);
    return {
      seconds: (systemClock.monotonicMs() - startedMs) / 1000,
      cpuSeconds: (user + system) / 1e6,
    };
  };
}

function latenciesOf(histogram: LoadFleet['latency']): Latencies {
  const at = (percentile: number) => histogram.percentile(percentile) / 1000;
  const max = histogram.count === 0 ? 0 : histogram.max / 1000;
  return { p50: at(50), p90: at(90), p99: at(99), p999: at(99.9), max };
}

function fail(error: unknown): never {
  process.stderr.write(`load generator: ${error instanceof Error ? error.stack : error}\n`);
  process.exit(1);
}
