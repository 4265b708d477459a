/**
 * Simulated GPU nodes that send over real QUIC or TLS over TCP: every node with its own
 * certificate, client and series. Used by the demo and by load tests.
 */
import type { RecordableHistogram } from 'node:perf_hooks';
import { pino } from 'pino';
import { TelemetryClient } from '../../src/client/client.ts';
import type { ClientOptions } from '../../src/client/client-options.ts';
import { createLatencyHistogram } from '../../src/client/client-stats.ts';
import {
  type SimulatedColumns,
  simulateColumns,
} from '../../src/agent/sources/simulate-columns.ts';
import { stacksFor, type TransportChoice } from '../../src/client/transport-choice.ts';
import { quinnStack } from '../../src/transport/quinn/quinn-endpoint.ts';
import { tlsStack } from '../../src/transport/tls/tls-endpoint.ts';
import { encodeSeriesTable } from '../../src/codec/series-table.ts';
import { type Clock, sleep } from '../../src/lib/clock.ts';
import type { SampleColumns, SeriesTable } from '../../src/domain/telemetry.ts';
import type { Deployment } from './deployment.ts';

export interface FleetOptions {
  readonly nodes: number;
  readonly gpusPerNode: number;
  /** Metrics per GPU beyond the 25 of dcgm-exporter. */
  readonly extraMetrics: number;
  /** Real time between two batches of a node. */
  readonly intervalMs: number;
  /** Fleet time between two batches of a node; the last batch ends at about the present. */
  readonly stepMs: number;
  /** Fleet time of the first batch, Unix ms. */
  readonly startMs: number;
  readonly transport: TransportChoice;
}

export interface FleetTotals {
  readonly sentBatches: number;
  readonly sentSamples: number;
  readonly ackedSamples: number;
  readonly duplicateSamples: number;
  readonly rejectedSamples: number;
  readonly droppedSamples: number;
  readonly throttled: number;
  readonly reconnects: number;
}

interface Node {
  readonly client: TelemetryClient;
  readonly simulation: SimulatedColumns;
  table: SeriesTable;
  columns: SampleColumns;
}

export class SimulatedFleet {
  /** Microseconds from sending a batch to its acknowledgement, over all nodes. */
  readonly ackLatency: RecordableHistogram;
  readonly #nodes: readonly Node[];
  readonly #options: FleetOptions;
  readonly #clock: Clock;

  private constructor(
    nodes: readonly Node[],
    options: FleetOptions,
    clock: Clock,
    ackLatency: RecordableHistogram,
  ) {
    this.#nodes = nodes;
    this.#options = options;
    this.#clock = clock;
    this.ackLatency = ackLatency;
  }

  /** Makes certificates, opens the clients and waits until every one has been greeted. */
  static async open(
    deployment: Deployment,
    options: FleetOptions,
    clock: Clock,
  ): Promise<SimulatedFleet> {
    const ackLatency = createLatencyHistogram();
    const nodes: Node[] = [];
    for (let index = 1; index <= options.nodes; index += 1) {
      const nodeId = `gpu-node-${String(index).padStart(3, '0')}`;
      const client = await TelemetryClient.open(await clientOptions(deployment, nodeId), {
        clock,
        logger: pino({ enabled: false }),
        ...stacksFor(options.transport, { quic: quinnStack, tls: tlsStack }),
        ackLatency,
      });
      const { gpusPerNode: gpus, extraMetrics, startMs } = options;
      const simulation = simulateColumns({ nodeId, seed: index, gpus, extraMetrics }, startMs);
      nodes.push({ client, simulation, ...freshColumns(simulation) });
    }
    await Promise.all(nodes.map(({ client }) => client.connected()));
    return new SimulatedFleet(nodes, options, clock, ackLatency);
  }

  /** Sends until `signal` aborts, node after node, each at its interval. */
  async run(signal: AbortSignal): Promise<void> {
    const { nodes, intervalMs, stepMs, startMs } = this.#options;
    const begunMs = this.#clock.monotonicMs();
    for (let round = 0; !signal.aborted; round += 1) {
      for (const [index, node] of this.#nodes.entries()) {
        const dueMs = begunMs + round * intervalMs + (index * intervalMs) / nodes;
        const waitMs = dueMs - this.#clock.monotonicMs();
        if (waitMs > 1) await sleep(this.#clock, waitMs, signal);
        if (signal.aborted) return;
        sendRound(node, startMs + round * stepMs);
      }
    }
  }

  get totals(): FleetTotals {
    const sum = (read: (stats: TelemetryClient['stats']) => number) =>
      this.#nodes.reduce((total, { client }) => total + read(client.stats), 0);
    return {
      sentBatches: sum((stats) => stats.offeredBatches),
      sentSamples: sum((stats) => stats.offeredSamples),
      ackedSamples: sum((stats) => stats.ackedSamples),
      duplicateSamples: sum((stats) => stats.duplicateSamples),
      rejectedSamples: sum((stats) => stats.rejectedSamples),
      droppedSamples: sum((stats) => stats.droppedSamples),
      throttled: sum((stats) => stats.throttled),
      reconnects: sum((stats) => stats.reconnects),
    };
  }

  /** Waits until everything sent has its verdict; false when `deadlineMs` was too short. */
  async drain(deadlineMs: number): Promise<boolean> {
    const drained = await Promise.all(this.#nodes.map(({ client }) => client.drain(deadlineMs)));
    return drained.every((one) => one);
  }

  async close(): Promise<void> {
    await Promise.all(this.#nodes.map(({ client }) => client.close()));
  }
}

async function clientOptions(deployment: Deployment, nodeId: string): Promise<ClientOptions> {
  return {
    remote: deployment.listen,
    serverName: 'localhost',
    credentials: await deployment.nodeCredentials(nodeId),
    nodeId,
    spool: { maxBytes: 64 * 1024 * 1024 },
  };
}

function freshColumns({ series }: SimulatedColumns): Pick<Node, 'table' | 'columns'> {
  return {
    table: encodeSeriesTable(series),
    columns: {
      series: Uint32Array.from(series, (_, index) => index),
      timestampsMs: new Float64Array(series.length),
      values: new Float64Array(series.length),
    },
  };
}

/** One batch of everything the node knows at `timeMs`; its verdict shows in the client's stats. */
function sendRound(node: Node, timeMs: number): void {
  if (node.simulation.advance(timeMs)) Object.assign(node, freshColumns(node.simulation));
  node.simulation.fill(node.columns.values);
  node.columns.timestampsMs.fill(timeMs);
  void node.client.send(node.table, node.columns);
}
