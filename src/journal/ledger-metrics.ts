/**
 * The ledger as Prometheus counters. They show what the last transaction stored, so their equations
 * hold within each scrape, and no restart sets a figure back.
 */
import type { Registry } from 'prom-client';
import {
  BATCH_REJECT_REASONS,
  SAMPLE_REJECT_REASONS,
  THROTTLE_REASONS,
} from '../domain/telemetry.ts';
import { type LabelledValue, RoomMetrics } from '../observability/metrics.ts';
import type { Cursors } from './cursors.ts';
import type { Ledger, WriterLedger } from './ledger.ts';

/** The journal, as far as the books need it. */
export interface LedgerSource extends Pick<Cursors, 'pendingSamples'> {
  readonly ledger: Ledger;
}

/** Registers the counters; the journal must stay open for as long as they are read. */
export function createLedgerMetrics(registry: Registry, source: LedgerSource): void {
  const { ledger } = source;
  const metrics = new RoomMetrics(registry, 'telemetry_collector_samples_');
  metrics.total(
    'received_total',
    'Samples that arrived and were answered, counted at the door.',
    () => ledger.stored.received,
  );
  metrics.total('accepted_total', 'Samples made durable in the journal.', () => ledger.accepted);
  metrics.total(
    'duplicate_total',
    'Samples of batches that were received before.',
    () => ledger.stored.duplicate,
  );
  metrics.totalBy(['reason'], 'rejected_total', 'Samples refused for good, by reason.', () =>
    byReason([...BATCH_REJECT_REASONS, ...SAMPLE_REJECT_REASONS], ledger.stored.rejected),
  );
  metrics.totalBy(
    ['reason'],
    'throttled_total',
    'Samples sent back to be resent later, by reason.',
    () => byReason(THROTTLE_REASONS, ledger.stored.throttled),
  );
  addWriterMetrics(metrics, source);
  metrics.gauge(
    'under_way',
    'Samples that arrived and are not answered yet.',
    () => ledger.underWay,
  );
  metrics.gaugeBy(
    ['equation', 'writer'],
    'imbalance',
    'By how much an equation of the books is wrong; 0 unless samples are missing or counted twice.',
    () => [
      [{ equation: 'received', writer: '' }, ledger.receivedImbalance()],
      ...[...ledger.writers.keys()].map((writer): LabelledValue => {
        const pending = source.pendingSamples(writer);
        return [{ equation: 'written', writer }, ledger.writerImbalance(writer, pending)];
      }),
    ],
  );
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
  metrics.totalBy(
    ['writer'],
    'requeued_total',
    'Samples handed to the writer again, because its destination was restored from an older copy.',
    () => byWriter((figures) => figures.requeued),
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
  samples: Readonly<Record<string, number>>,
): LabelledValue[] {
  return reasons.map((reason) => [{ reason }, samples[reason] ?? 0]);
}
