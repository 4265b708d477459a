/**
 * Metrics of the feed, as its thread last told them.
 */
import type { Registry } from 'prom-client';
import { CLOSING_WORDS } from '../../feed/feed-contract.ts';
import { type LabelledValue, RoomMetrics } from '../../observability/metrics.ts';
import type { FeedTotalsFigures } from './feed-totals.ts';

export interface FeedMetrics {
  /** Shows the feed from now on. */
  watch(figures: () => FeedTotalsFigures): void;
}

/** Creates the metrics of the feed on `registry`. */
export function createFeedMetrics(registry: Registry): FeedMetrics {
  const metrics = new RoomMetrics(registry, 'telemetry_collector_feed_');
  let read: (() => FeedTotalsFigures) | undefined;
  metrics.gauge('readers', 'Connections of feed readers.', () => read?.().readers ?? 0);
  metrics.gauge(
    'queued_bytes',
    'Bytes that the sockets of feed readers have not taken; each holds feed.max_queue_bytes at most.',
    () => read?.().queuedBytes ?? 0,
  );
  metrics.gauge(
    'lag_records',
    'Durable journal records that the slowest feed reader has not been sent.',
    () => read?.().lagRecords ?? 0,
  );
  metrics.totalBy(
    ['reason'],
    'dropped_readers_total',
    'Connections that the feed ended, by the closing word of docs/feed.md.',
    () => dropped(read?.()),
  );
  metrics.total(
    'restarts_total',
    'Times that the thread of the feed ended and a restart was planned.',
    () => read?.().restarts ?? 0,
  );
  return {
    watch: (figures) => {
      read = figures;
    },
  };
}

function* dropped(figures: FeedTotalsFigures | undefined): Generator<LabelledValue> {
  for (const reason of CLOSING_WORDS) yield [{ reason }, figures?.dropped[reason] ?? 0];
}
