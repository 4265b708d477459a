/**
 * The gateway's metrics, read at each scrape.
 */
import type { Registry } from 'prom-client';
import { RoomMetrics } from '../observability/metrics.ts';
import type { Access } from './access/access.ts';
import type { FeedFollower } from './feed-follower.ts';
import type { Fleet } from './fleet/fleet.ts';
import type { LiveHub } from './live/live-hub.ts';
import type { Tail } from './tail/tail.ts';

/** What the metrics read. */
export interface Measured {
  readonly access: Access;
  readonly feed: FeedFollower;
  readonly fleet: Fleet;
  readonly live: LiveHub;
  readonly tail: Tail;
}

/** Creates all metrics of the gateway but those of requests. */
export function createGatewayMetrics(registry: Registry, parts: Measured): void {
  const metrics = new RoomMetrics(registry, 'telemetry_gateway_');
  const { access, feed, fleet, live, tail } = parts;
  metrics.gauge('feed_connected', 'Whether the collector is heard: 1 or 0.', () =>
    feed.failure === undefined ? 1 : 0,
  );
  metrics.gauge(
    'feed_lag_records',
    'Records of the collector that were not brought yet.',
    () => feed.lagRecords,
  );
  metrics.total('feed_connects_total', 'Connections to the collector.', () => feed.totals.connects);
  metrics.total('feed_records_total', 'Records that the feed brought.', () => feed.totals.records);
  metrics.total('feed_samples_total', 'Samples that the feed brought.', () => feed.totals.samples);
  metrics.total(
    'feed_damaged_records_total',
    'Records that the collector cannot read.',
    () => feed.totals.damaged,
  );
  metrics.gauge('series', 'Series whose last values are kept.', () => fleet.series.size);
  metrics.gauge('gpus', 'GPUs and MIG slices that are known.', () => fleet.gpuCount);
  metrics.total(
    'untracked_samples_total',
    'Samples of series that found no place (gateway.max_series).',
    () => fleet.series.untrackedSamples,
  );
  metrics.gauge(
    'hot_bytes',
    'Memory of the newest batches (gateway.hot_max_bytes).',
    () => tail.bytes,
  );
  metrics.gauge('hot_records', 'Batches in it.', () => tail.end - tail.first);
  metrics.gauge('live_clients', 'WebSocket and SSE clients.', () => live.size);
  metrics.total('live_clients_total', 'Live clients that were let in.', () => live.totals.clients);
  metrics.total(
    'live_clients_refused_total',
    'Live clients beyond gateway.max_live_clients.',
    () => live.totals.refused,
  );
  metrics.total(
    'live_skipped_samples_total',
    'Samples that live clients did not get because they were slow, counted when they leave.',
    () => live.totals.skipped,
  );
  metrics.gauge('keys', 'API keys that work.', () => access.keys?.size ?? 0);
  metrics.gauge('keys_file_usable', 'Whether the keys file could be read: 1 or 0.', () =>
    access.keys?.isFileUsable === false ? 0 : 1,
  );
  metrics.gauge('sessions', 'Sessions of browsers.', () => access.sessions.size);
}
