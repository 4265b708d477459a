/**
 * What the agent says about itself, as readings among the others: "the exporter is dead" is the
 * signal that operators want, and a missing series is not a signal.
 */
import type { ClientStats } from '../client/client-stats.ts';
import type { Reading } from '../client/reading.ts';

/** How one source fares. */
export interface SourceHealth {
  readonly name: string;
  /** Whether its last collection brought a report. */
  readonly isUp: boolean;
  /** Readings seen and not sent, since the start. */
  readonly skippedTotal: number;
  /** Collections that brought no report, since the start. */
  readonly failuresTotal: number;
}

/**
 * `agent_source_up` (1 or 0) and `agent_source_skipped_total` for each source, and of the client
 * `agent_dropped_samples_total`, `agent_rejected_samples_total`, `agent_reconnects_total` and
 * `agent_spool_bytes`.
 */
export function agentReadings(
  nowMs: number,
  sources: readonly SourceHealth[],
  client: ClientStats,
): Reading[] {
  const gauge = (name: string, unit: string, value: number, labels = {}): Reading => ({
    name,
    labels,
    kind: 'gauge',
    unit,
    timestampMs: nowMs,
    value,
  });
  const counter = (name: string, value: number, labels = {}): Reading => ({
    ...gauge(name, '1', value, labels),
    kind: 'counter',
  });
  return [
    ...sources.flatMap(({ name, isUp, skippedTotal }) => [
      gauge('agent_source_up', '1', isUp ? 1 : 0, { source: name }),
      counter('agent_source_skipped_total', skippedTotal, { source: name }),
    ]),
    counter('agent_dropped_samples_total', client.droppedSamples),
    counter('agent_rejected_samples_total', client.rejectedSamples),
    counter('agent_reconnects_total', client.reconnects),
    gauge('agent_spool_bytes', 'By', client.spoolBytes),
  ];
}
