/**
 * What a benchmark and its load generator say to each other: the task as a JSON file, a line when
 * every connection stands, a line on standard input to begin, a report, another line to end.
 */
import type { QuicAddress, QuicCredentials } from '../src/transport/quic-endpoint.ts';

/** What one node sends in one batch. */
export interface LoadShape {
  readonly gpus: number;
  /** Metrics per GPU beyond the 25 of dcgm-exporter; 35 make 60. */
  readonly extraMetrics: number;
  /** Readings of each series in one batch. */
  readonly rounds: number;
  /** Labels that every series carries beyond those of the simulated GPU. */
  readonly extraLabels: number;
}

/** The fleet of the issue: eight GPUs with sixty metrics each, a batch per reading. */
export const FLEET_SHAPE: LoadShape = { gpus: 8, extraMetrics: 35, rounds: 1, extraLabels: 0 };

export type LoadPace =
  /** Every node keeps so many batches unanswered. */
  | { readonly kind: 'full speed'; readonly inFlight: number }
  /**
   * Open loop: batches leave at their times, node after node, whatever the answers do. Latency
   * counts from the time a batch was due.
   */
  | { readonly kind: 'schedule'; readonly batchesPerSecond: number }
  /** One batch of each node, and then the end. */
  | { readonly kind: 'once' };

export interface LoadTask {
  readonly remote: QuicAddress;
  /** Node i connects with entry i modulo the length; delegates may be fewer than nodes. */
  readonly credentials: readonly QuicCredentials[];
  readonly nodes: number;
  /** Number of the first node, in its name. */
  readonly firstNode: number;
  /** Nodes share this many connections. */
  readonly connections: number;
  readonly shape: LoadShape;
  readonly pace: LoadPace;
  readonly seconds: number;
  readonly maxUdpPayloadBytes: number;
}

export interface LoadConnected {
  readonly handshakeSeconds: number;
  readonly cpuSeconds: number;
}

export interface Latencies {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export interface LoadReport {
  readonly seconds: number;
  readonly sentSamples: number;
  readonly ackedSamples: number;
  readonly rejectedSamples: number;
  readonly throttled: number;
  readonly wireBytes: number;
  readonly cpuSeconds: number;
  /** Send (or due time) to acknowledgement. */
  readonly latencyMs: Latencies;
  /** How late batches of a schedule left; part of their latency. */
  readonly latenessMs: Latencies;
  /** [percentile, ms] for a plot. */
  readonly curve: readonly (readonly [number, number])[];
}

/** How a node is named in certificates and batches. */
export function loadNodeId(index: number): string {
  return `gpu-node-${String(index).padStart(5, '0')}`;
}
