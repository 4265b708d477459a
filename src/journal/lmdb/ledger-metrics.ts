/**
 * The ledger as Prometheus counters. They are set from the ledger whenever they are read, so their
 * equations hold within each scrape, and restarts do not reset them.
 */
import { Counter, Gauge, type Registry } from 'prom-client';
import {
  BATCH_REJECT_REASONS,
  SAMPLE_REJECT_REASONS,
  THROTTLE_REASONS,
} from '../../domain/telemetry.ts';
import type { Ledger, WriterLedger } from './ledger.ts';

const PREFIX = 'telemetry_collector_samples_';

/** The journal, as far as the books need it. */
export interface LedgerSource {
  readonly ledger: Ledger;
  pendingSamples(writer: string): number;
}

/** Registers the counters; the journal must stay open for as long as they are read. */
export function createLedgerMetrics(registry: Registry, source: LedgerSource): void {
  const { ledger } = source;
  const registers = [registry];
  const total = (name: string, help: string, value: () => number) =>
    new Counter({
      name: `${PREFIX}${name}_total`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(value());
      },
    });
  const byReason = (
    name: string,
    help: string,
    values: () => Iterable<readonly [string, number]>,
  ) =>
    new Counter({
      name: `${PREFIX}${name}_total`,
      help,
      labelNames: ['reason'],
      registers,
      collect() {
        this.reset();
        for (const [reason, samples] of values()) this.inc({ reason }, samples);
      },
    });
  const byWriter = (name: string, help: string, value: (figures: WriterLedger) => number) =>
    new Counter({
      name: `${PREFIX}${name}_total`,
      help,
      labelNames: ['writer'],
      registers,
      collect() {
        this.reset();
        for (const [writer, figures] of ledger.writers) this.inc({ writer }, value(figures));
      },
    });
  total(
    'received',
    'Samples that arrived: accepted, duplicate and rejected.',
    () => ledger.received,
  );
  total('accepted', 'Samples made durable in the journal.', () => ledger.accepted);
  total('duplicate', 'Samples of batches that were received before.', () => ledger.duplicate);
  byReason('rejected', 'Samples refused for good, by reason.', () =>
    [...BATCH_REJECT_REASONS, ...SAMPLE_REJECT_REASONS].map((reason) => [
      reason,
      ledger.rejected.get(reason) ?? 0,
    ]),
  );
  byReason('throttled', 'Samples sent back to be resent later, by reason.', () =>
    THROTTLE_REASONS.map((reason) => [reason, ledger.throttled.get(reason) ?? 0]),
  );
  byWriter('written', 'Samples safely at their destination.', (figures) => figures.written);
  byWriter('dead_lettered', 'Samples given up.', (figures) => figures.deadLettered);
  byWriter(
    'skipped',
    'Samples accepted and removed before the writer was first enabled.',
    (figures) => figures.skipped,
  );
  createPending(registry, source);
}

function createPending(registry: Registry, source: LedgerSource): void {
  new Gauge({
    name: `${PREFIX}pending`,
    help: 'Samples in the journal that the writer still has to write.',
    labelNames: ['writer'],
    registers: [registry],
    collect() {
      for (const writer of source.ledger.writers.keys()) {
        this.set({ writer }, source.pendingSamples(writer));
      }
    },
  });
}
