/**
 * Metrics of the way from frame to acknowledgement.
 */
import type { Registry } from 'prom-client';
import type { AckStatus, BatchRejectReason } from '../../domain/telemetry.ts';
import { RoomMetrics } from '../../observability/metrics.ts';

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
  const metrics = new RoomMetrics(registry, 'telemetry_collector_');
  const batches = metrics.counter(
    'batches_total',
    'Batches answered, by the status of the acknowledgement.',
    ['status'],
  );
  const rejected = metrics.counter(
    'batches_rejected_total',
    'Batches refused whole and for good, by reason.',
    ['reason'],
  );
  const durations = metrics.histogram(
    'batch_ack_seconds',
    'Time from a whole frame to its acknowledgement, by the status of the acknowledgement.',
    ACK_BUCKETS_S,
    ['status'],
  );
  return {
    observeBatch(status, durationMs) {
      batches.inc({ status });
      durations.observe({ status }, durationMs / 1000);
    },
    countRejectedBatch: (reason) => rejected.inc({ reason }),
  };
}
