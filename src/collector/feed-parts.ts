/**
 * The feed's place in the daemon: what it is told of the journal, the warehouse, the nodes and the
 * writers. A part of the composition root.
 */
import path from 'node:path';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { feedSocketPath, journalDir } from '../config/paths.ts';
import type { Config } from '../config/schema.ts';
import { parseSocketAddress } from '../config/socket-address.ts';
import { sourceName } from '../feed/feed-contract.ts';
import type { Ledger } from '../journal/ledger.ts';
import type { Clock } from '../lib/clock.ts';
import type { Lifecycle } from '../lib/lifecycle.ts';
import type { Readiness } from '../observability/readiness.ts';
import type { SeriesLimiter } from './admission/series-limiter.ts';
import { createFeedMetrics } from './feed/feed-metrics.ts';
import type { StatusSources } from './feed/feed-status.ts';
import { FeedThread } from './feed/feed-thread.ts';
import type { FeedVerdict } from './feed/feed-thread-messages.ts';
import type { NodeActivity } from './ingest/node-activity.ts';
import type { Listener, PeerVerdict } from './listener/listener.ts';
import type { WriterProgress } from './writers/writer.ts';
import type { WriterThread } from './writers/writer-thread.ts';

/** What the feed asks of the journal. */
export interface FeedJournalFacts {
  readonly id: string;
  readonly ancestors: readonly { readonly lastSeq: number }[];
  readonly headSeq: number;
  readonly tailSeq: number;
  readonly ledger: Ledger;
  cursor(writer: string): number;
  pendingSamples(writer: string): number;
  nodesWithGaps(limit: number): { nodeId: string; gaps: number }[];
}

/** Readers know the warehouse by its own paths. */
export function publishedOf({ cursor, files = [] }: WriterProgress, { parquet }: Config) {
  const inWarehouse = (file: string) => path.relative(parquet.output_dir, file);
  return { cursor, files: files.map((file) => ({ ...file, path: inWarehouse(file.path) })) };
}

/** Readers of what is acknowledged, in a thread of their own; see feed/feed-thread.ts. */
export function createFeed(
  config: Config,
  { logger, clock }: { readonly logger: Logger; readonly clock: Clock },
  registry: Registry,
  journal: FeedJournalFacts,
): FeedThread | undefined {
  const metrics = createFeedMetrics(registry);
  if (!config.feed.enabled) return undefined;
  const { feed, collector_id: collectorId, parquet } = config;
  return new FeedThread(
    { clock, metrics, logger: logger.child({ stage: 'feed' }) },
    {
      journalDir: journalDir(config),
      socketPath: feedSocketPath(config),
      collectorId,
      source: sourceName(collectorId, journal.id),
      sharedUpTo: journal.ancestors.at(-1)?.lastSeq ?? 0,
      hasFiles: parquet.enabled,
      remote: feed.listen_addr === '' ? undefined : parseSocketAddress(feed.listen_addr),
      maxReaders: feed.max_readers,
      maxQueueBytes: feed.max_queue_bytes,
      stallMs: feed.stall_timeout_secs * 1000,
    },
    {
      headSeq: journal.headSeq,
      cursor: parquet.enabled ? journal.cursor('parquet') : journal.tailSeq,
    },
  );
}

/** Readers connect last, when there is a state to show, and go first. */
export async function startFeed(
  feed: FeedThread | undefined,
  lifecycle: Lifecycle,
  parts: {
    readonly clock: Clock;
    /** The running configuration; a reload replaces it. */
    readonly live: { readonly config: Config };
    readonly readiness: Readiness;
    readonly journal: FeedJournalFacts;
    readonly writers: readonly WriterThread[];
    readonly series: SeriesLimiter;
    readonly activity: NodeActivity;
    readonly listener: Listener;
  },
): Promise<void> {
  if (feed === undefined) return;
  const { clock, live, readiness, journal, writers, series, activity, listener } = parts;
  lifecycle.defer('feed', () => feed.close());
  const sources: StatusSources = {
    nowMs: () => clock.nowMs(),
    connections: () => listener.connections(),
    batches: () => activity.nodes,
    gaps: () => journal.nodesWithGaps(Number.POSITIVE_INFINITY),
    held: (nodeId) => series.heldBy(nodeId),
    limits: () => ({
      maxSeries: series.limits.max_cardinality_per_node,
      maxSeriesTextBytes: series.limits.max_series_text_per_node,
    }),
    readiness: () => readiness.report(),
    ledger: journal.ledger,
    writers: () =>
      writers.map(({ name, status: { state, cursor, lagMs } }) => {
        return { name, state, cursor, lagMs, pending: journal.pendingSamples(name) };
      }),
  };
  await feed.start(sources, {
    credentials: () => listener.credentials,
    judge: (chain) => judgeReader(listener.judge(chain), live.config.security.readers),
  });
}

/** Of those whose certificates are good, only the ones that are named may read. */
function judgeReader(peer: PeerVerdict, readers: readonly string[]): FeedVerdict {
  if (!peer.ok) return { ok: false, message: peer.reason };
  const { nodeIds } = peer.identity;
  if (nodeIds.some((id) => readers.includes(id))) return { ok: true };
  return { ok: false, message: `${nodeIds[0]} is not among security.readers` };
}
