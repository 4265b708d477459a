/**
 * What the agent shows of itself to Prometheus: what became of its samples, how full its spool is,
 * and how its sources fare.
 */
import type { Registry } from 'prom-client';
import type { ClientStats } from '../client/client-stats.ts';
import { RoomMetrics } from '../observability/metrics.ts';
import type { SourceHealth } from './agent-stats.ts';

const TRANSPORTS = ['quic', 'tls'] as const;

/** What the metrics are read from, at each scrape. */
export interface AgentFigures {
  readonly client: ClientStats;
  readonly isConnected: boolean;
  readonly sources: readonly SourceHealth[];
  readonly rounds: number;
  readonly throttledRounds: number;
  readonly throttleRate: number;
  readonly spoolMaxBytes: number;
}

/** Declares them all. */
export function createAgentMetrics(registry: Registry, figures: () => AgentFigures): void {
  const metrics = new RoomMetrics(registry, 'telemetry_agent_');
  addSampleMetrics(metrics, () => figures().client);
  addTransportMetrics(metrics, () => figures().client);
  addSpoolMetrics(metrics, figures);
  const bySource = (read: (source: SourceHealth) => number) => () =>
    figures().sources.map((source) => [{ source: source.name }, read(source)] as const);
  metrics.gaugeBy(
    ['source'],
    'source_up',
    'Whether the source answers: 1 or 0.',
    bySource(({ isUp }) => (isUp ? 1 : 0)),
  );
  metrics.totalBy(
    ['source'],
    'source_failures_total',
    'Collections that could not be read, for each source.',
    bySource(({ failuresTotal }) => failuresTotal),
  );
  metrics.totalBy(
    ['source'],
    'source_skipped_total',
    'Readings, rows or lines that were read but not sent, for each source.',
    bySource(({ skippedTotal }) => skippedTotal),
  );
  metrics.total('rounds_total', 'Collections that were made.', () => figures().rounds);
  metrics.total(
    'throttled_rounds_total',
    'Collections skipped because the spool was filling.',
    () => figures().throttledRounds,
  );
  metrics.gauge(
    'throttle_rate',
    'The share of collections that are made now, from throttle.rate to 1.',
    () => figures().throttleRate,
  );
}

function addSampleMetrics(metrics: RoomMetrics, client: () => ClientStats): void {
  const totals: readonly [string, string, (stats: ClientStats) => number][] = [
    ['sent_batches_total', 'Batches sent at least once.', (stats) => stats.sentBatches],
    ['resent_batches_total', 'Transmissions after the first.', (stats) => stats.resentBatches],
    ['sent_samples_total', 'Samples sent at least once.', (stats) => stats.sentSamples],
    ['acked_samples_total', 'Samples durable at the collector.', (stats) => stats.ackedSamples],
    [
      'duplicate_samples_total',
      'Samples that the collector had already when they were sent again.',
      (stats) => stats.duplicateSamples,
    ],
    [
      'dropped_samples_total',
      'Samples that the agent gave up: no room in the spool, too large, or no longer readable.',
      (stats) => stats.droppedSamples,
    ],
    [
      'throttled_answers_total',
      'Batches that the collector sent back to be sent again later.',
      (stats) => stats.throttled,
    ],
    ['reconnects_total', 'Connections after the first.', (stats) => stats.reconnects],
    [
      'transport_fallbacks_total',
      'Times that TLS took over because QUIC did not get through.',
      (stats) => stats.fallbacks,
    ],
  ];
  for (const [name, help, read] of totals) metrics.total(name, help, () => read(client()));
  metrics.totalBy(
    ['reason'],
    'rejected_samples_total',
    'Samples that the collector refused for good, by its reason.',
    () => [...client().rejectedByReason].map(([reason, count]) => [{ reason }, count] as const),
  );
}

function addTransportMetrics(metrics: RoomMetrics, client: () => ClientStats): void {
  metrics.gaugeBy(
    ['transport'],
    'connection',
    'Whether batches go over this transport now: 1 or 0; neither while there is no connection.',
    () => {
      const now = client().transport;
      return TRANSPORTS.map((transport) => [{ transport }, +(transport === now)] as const);
    },
  );
  metrics.totalBy(
    ['transport'],
    'connects_total',
    'Connections that the collector greeted, by transport.',
    () => TRANSPORTS.map((transport) => [{ transport }, client().connects[transport]] as const),
  );
}

function addSpoolMetrics(metrics: RoomMetrics, figures: () => AgentFigures): void {
  const gauges: readonly [string, string, (figures: AgentFigures) => number][] = [
    ['connected', 'Whether there is a connection: 1 or 0.', ({ isConnected }) => +isConnected],
    [
      'clock_ahead_seconds',
      "How far this machine's clock was ahead of the collector's at the last connection.",
      ({ client }) => (client.clockAheadMs ?? Number.NaN) / 1000,
    ],
    [
      'pending_batches',
      'Batches without an answer: the depth of the spool.',
      ({ client }) => client.pendingBatches,
    ],
    ['pending_samples', 'Samples without an answer.', ({ client }) => client.pendingSamples],
    [
      'spool_used_bytes',
      'Bytes of batches without an answer, with 256 bytes of bookkeeping for each.',
      ({ client }) => client.spoolBytes,
    ],
    [
      'spool_max_bytes',
      'Size of the spool (spool.max_bytes); beyond it, new batches are dropped.',
      (all) => all.spoolMaxBytes,
    ],
    [
      'spool_disk_bytes',
      "Bytes of the spool's files, including batches that are done.",
      ({ client }) => client.spool.diskBytes,
    ],
    [
      'spool_memory_bytes',
      'Bytes of batches that are in memory only.',
      ({ client }) => client.spool.memoryBytes,
    ],
    [
      'spool_disk_failing',
      "Whether writes to the spool's disk fail: 1 or 0.",
      ({ client }) => +client.spool.isDiskFailing,
    ],
  ];
  for (const [name, help, read] of gauges) metrics.gauge(name, help, () => read(figures()));
  metrics.total(
    'spool_damages_total',
    'Damaged files of the spool, and batches in it that could not be read back.',
    () => figures().client.spool.damages,
  );
}
