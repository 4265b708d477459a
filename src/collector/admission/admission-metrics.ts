/**
 * Metrics of admission. All state is kept by the parts themselves and read when Prometheus asks.
 */
import type { Registry } from 'prom-client';
import { RoomMetrics } from '../../observability/metrics.ts';
import type { Admission } from './admission.ts';
import type { BackpressureGate } from './backpressure-gate.ts';
import { SERIES_REFUSALS, type SeriesLimiter } from './series-limiter.ts';

/** Registers the metrics of this room. */
export function createAdmissionMetrics(
  registry: Registry,
  parts: { gate: BackpressureGate; series: SeriesLimiter; admission: Admission },
): void {
  const metrics = new RoomMetrics(registry, 'telemetry_collector_admission_');
  addGateMetrics(metrics, parts.gate);
  addSeriesMetrics(metrics, parts.series);
  metrics.gaugeBy(
    ['budget'],
    'node_budget_used_ratio',
    'For each budget of a node (limits.node_*), the largest share that any node has used; a node is throttled at 1. /budgets names the nodes.',
    () => [...parts.admission.mostUsedShares()].map(([budget, share]) => [{ budget }, share]),
  );
}

function addGateMetrics(metrics: RoomMetrics, gate: BackpressureGate): void {
  metrics.gauge('in_flight_batches', 'Batches received and not yet durable.', () => gate.batches);
  metrics.gauge(
    'in_flight_bytes',
    'Bytes of batches received and not yet durable.',
    () => gate.bytes,
  );
  metrics.gauge(
    'gate_open',
    'Whether batches are let in: 1, or 0 while they are answered THROTTLED.',
    () => (gate.isOpen() ? 1 : 0),
  );
}

function addSeriesMetrics(metrics: RoomMetrics, series: SeriesLimiter): void {
  metrics.gauge('series', 'Series that hold a slot now.', () => series.size);
  metrics.gauge(
    'series_limit',
    'Series that may hold a slot at once, over all nodes (limits.max_cardinality).',
    () => series.limits.max_cardinality,
  );
  metrics.gauge(
    'node_series_limit',
    'Series of one node that may hold a slot at once (limits.max_cardinality_per_node).',
    () => series.limits.max_cardinality_per_node,
  );
  metrics.gauge(
    'node_series_text_bytes',
    'Bytes of series text of the node that has the most; limits.max_series_text_per_node is the limit.',
    () => series.mostNodeText(),
  );
  metrics.total(
    'series_reclaimed_total',
    'Slots that a node with less than its equal share took from the node with the most.',
    () => series.reclaimedTotal,
  );
  metrics.gauge('nodes', 'Nodes that hold at least one slot now.', () => series.nodes());
  metrics.gauge(
    'series_refused',
    'Series of the tables in use that hold no slot; their samples are rejected.',
    () => series.refusedNow,
  );
  metrics.gauge(
    'tables',
    'Series tables whose admission is remembered.',
    () => series.cachedTables,
  );
  metrics.totalBy(
    ['reason'],
    'series_refused_total',
    'Series that were refused a slot, by the limit reached; counted again for each new table with them.',
    () => SERIES_REFUSALS.map((reason) => [{ reason }, series.refusedTotal(reason)] as const),
  );
}
