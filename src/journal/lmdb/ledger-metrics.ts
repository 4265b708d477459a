/**
 * The ledger as Prometheus counters. They are set from the ledger whenever they are read, so their
 * equations hold within each scrape, and restarts do not reset them.
 */
import type { Registry } from 'prom-client';
import {
  BATCH_REJECT_REASONS,
  SAMPLE_REJECT_REASONS,
  THROTTLE_REASONS,
} from '../../domain/telemetry.ts';
import { type LabelledValue, RoomMetrics } from '../../observability/metrics.ts';
import type { Ledger, WriterLedger } from './ledger.ts';

/** The journal, as far as the books need it. */
export interface LedgerSource {
  readonly ledger: Ledger;
  pendingSamples(writer: string): number;
}

/** Registers the counters; the journal must stay open for as long as they are read. */
export function createLedgerMetrics(registry: Registry, source: LedgerSource): void {
  const { ledger } = source;
  const metrics = new RoomMetrics(registry, 'telemetry_collector_samples_');
  metrics.total(
    'received_total',
    'Samples that arrived: accepted, duplicate and rejected.',
    () => ledger.received,
  );
  metrics.total('accepted_total', 'Samples made durable in the journal.', () => ledger.accepted);
  metrics.total(
    'duplicate_total',
    'Samples of batches that were received before.',
    () => ledger.duplicate,
  );
  metrics.totalBy(['reason'], 'rejected_total', 'Samples refused for good, by reason.', () =>
    byReason([...BATCH_REJECT_REASONS, ...SAMPLE_REJECT_REASONS], ledger.rejected),
  );
  metrics.totalBy(
    ['reason'],
    'throttled_total',
    'Samples sent back to be resent later, by reason.',
    () => byReason(THROTTLE_REASONS, ledger.throttled),
  );
  addWriterMetrics(metrics, source);
}

function addWriterMetrics(metrics: RoomMetrics, source: LedgerSource): void {
  const { writers } = source.ledger;
  const byWriter = (value: (figures: WriterLedger) => number): LabelledValue[] =>
    [...writers].map(([writer, figures]) => [{ writer }, value(figures)]);
  metrics.totalBy(['writer'], 'written_total', 'Samples safely at their destination.', () =>
    byWriter((figures) => figures.written),
  );
  metrics.totalBy(['writer'], 'dead_lettered_total', 'Samples given up.', () =>
    byWriter((figures) => figures.deadLettered),
  );
  metrics.totalBy(
    ['writer'],
    'skipped_total',
    'Samples accepted and removed before the writer was first enabled.',
    () => byWriter((figures) => figures.skipped),
  );
  metrics.gaugeBy(
    ['writer'],
    'pending',
    'Samples in the journal that the writer still has to write.',
    () => [...writers.keys()].map((writer) => [{ writer }, source.pendingSamples(writer)] as const),
  );
}

function byReason(
  reasons: readonly string[],
  samples: ReadonlyMap<string, number>,
): LabelledValue[] {
  return reasons.map((reason) => [{ reason }, samples.get(reason) ?? 0]);
}
