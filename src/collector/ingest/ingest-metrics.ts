/**
 * Metrics of the way from frame to acknowledgement.
 */
import { Counter, Histogram, type Registry } from 'prom-client';
import type { AckStatus, BatchRejectReason } from '../../domain/telemetry.ts';

/** Bounds of the histogram of acknowledgements, in seconds: close together around a disk's sync. */
export const ACK_BUCKETS_S: readonly number[] = [
  ...[0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05],
  ...[0.1, 0.25, 0.5, 1, 2.5, 5, 10],
];

export interface IngestMetrics {
  /** One batch answered; `durationMs` from whole frame to acknowledgement. */
  observeBatch(status: AckStatus, durationMs: number): void;
  countRejectedBatch(reason: BatchRejectReason): void;
}

export function createIngestMetrics(registry: Registry): IngestMetrics {
  const batches = new Counter({
    name: 'telemetry_collector_batches_total',
    help: 'Batches answered, by the status of the acknowledgement.',
    labelNames: ['status'],
    registers: [registry],
  });
  const rejected = new Counter({
    name: 'telemetry_collector_batches_rejected_total',
    help: 'Batches refused whole and for good, by reason.',
    labelNames: ['reason'],
    registers: [registry],
  });
  const durations = new Histogram({
    name: 'telemetry_collector_batch_ack_seconds',
    help: 'Time from a whole frame to its acknowledgement, by the status of the acknowledgement.',
    labelNames: ['status'],
    buckets: [...ACK_BUCKETS_S],
    registers: [registry],
  });
  return {
    observeBatch(status, durationMs) {
      batches.inc({ status });
      durations.observe({ status }, durationMs / 1000);
    },
    countRejectedBatch: (reason) => rejected.inc({ reason }),
  };
}
