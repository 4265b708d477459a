/**
 * Metrics of admission. All state is kept by the parts themselves and read when Prometheus asks.
 */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Admission } from './admission.ts';
import type { BackpressureGate } from './backpressure-gate.ts';
import { SERIES_REFUSALS, type SeriesLimiter } from './series-limiter.ts';

const PREFIX = 'telemetry_collector_admission';

/** Registers the metrics of this room. */
export function createAdmissionMetrics(
  registry: Registry,
  parts: { gate: BackpressureGate; series: SeriesLimiter; admission: Admission },
): void {
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name: `${PREFIX}_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  addGateGauges(gauge, parts.gate);
  addSeriesGauges(gauge, parts.series);
  gauge(
    'rate_limited_nodes',
    'Nodes that sent within the last ten seconds while limits.node_samples_per_second is set.',
    () => parts.admission.rateLimitedNodes,
  );
  new Counter({
    name: `${PREFIX}_series_refused_total`,
    help: 'Series that were refused a slot, by the limit that was reached; again for each new table that holds them.',
    labelNames: ['reason'],
    registers: [registry],
    collect() {
      this.reset();
      for (const reason of SERIES_REFUSALS) this.inc({ reason }, parts.series.refusedTotal(reason));
    },
  });
}

type AddGauge = (name: string, help: string, read: () => number) => void;

function addGateGauges(gauge: AddGauge, gate: BackpressureGate): void {
  gauge('in_flight_batches', 'Batches received and not yet durable.', () => gate.batches);
  gauge('in_flight_bytes', 'Bytes of batches received and not yet durable.', () => gate.bytes);
  gauge(
    'gate_open',
    'Whether batches are let in: 1, or 0 while they are answered THROTTLED.',
    () => (gate.isOpen() ? 1 : 0),
  );
}

function addSeriesGauges(gauge: AddGauge, series: SeriesLimiter): void {
  gauge('series', 'Series that hold a slot now.', () => series.size);
  gauge(
    'series_limit',
    'Series that may hold a slot at once, over all nodes (limits.max_cardinality).',
    () => series.limits.max_cardinality,
  );
  gauge(
    'node_series_limit',
    'Series of one node that may hold a slot at once (limits.max_cardinality_per_node).',
    () => series.limits.max_cardinality_per_node,
  );
  gauge('nodes', 'Nodes that hold at least one slot now.', () => series.nodes());
  gauge(
    'series_refused',
    'Series of the tables in use that hold no slot; their samples are rejected.',
    () => series.refusedNow,
  );
  gauge('tables', 'Series tables whose admission is remembered.', () => series.cachedTables);
}
