import path from 'node:path';
import { Registry } from 'prom-client';
import { expect, onTestFinished, test } from 'vitest';
import { createFeedMetrics } from '../../../src/collector/feed/feed-metrics.ts';
import type { StatusSources } from '../../../src/collector/feed/feed-status.ts';
import { FeedClient, type FeedEvent } from '../../../src/feed/feed-client.ts';
import { sourceName } from '../../../src/feed/feed-contract.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { packageFile } from '../../../src/lib/package-root.ts';
import { tableOf, WRITER } from '../../helpers/feed-bed.ts';
import { entryOf, openJournal } from '../../helpers/journal-bench.ts';
import { createRecordingLogger } from '../../helpers/recording-logger.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

// A worker's entry is a file of its own, so the thread runs as it is shipped: compiled.
const COMPILED = packageFile('dist/src/collector/feed/feed-thread.js');
type Compiled = typeof import('../../../src/collector/feed/feed-thread.ts');
const { FeedThread } = (await import(COMPILED)) as Compiled;

const TABLE = tableOf('metric');
const NO_TRUST = {
  credentials: () => ({ certPem: '', keyPem: '', caPem: '' }),
  judge: () => ({ ok: true }) as const,
};

async function setUp(socketName = 'feed.sock') {
  const dir = tempDir();
  const journalDir = path.join(dir, 'journal');
  const socketPath = path.join(dir, socketName);
  const journal = await openJournal(journalDir, { writers: [WRITER] });
  const { logger, lines } = createRecordingLogger();
  const registry = new Registry();
  const thread = new FeedThread(
    { clock: systemClock, logger, metrics: createFeedMetrics(registry) },
    {
      ...{ journalDir, socketPath, collectorId: 'c', source: sourceName('c', journal.id) },
      ...{ sharedUpTo: 0, hasFiles: true, remote: undefined },
      ...{ maxReaders: 4, maxQueueBytes: 1 << 20, stallMs: 30_000 },
    },
    { headSeq: 0, cursor: 0 },
  );
  onTestFinished(() => thread.close());
  journal.onAppended((seq) => thread.notifyHead(seq));
  const sources: StatusSources = {
    ...{ nowMs: () => 7, connections: () => [], batches: () => new Map(), gaps: () => [] },
    held: () => ({ series: 0, textBytes: 0 }),
    limits: () => ({ maxSeries: 0, maxSeriesTextBytes: 0 }),
    readiness: () => ({ ready: true, checks: {} }),
    ...{ ledger: journal.ledger, writers: () => [] },
  };
  const closing = new AbortController();
  onTestFinished(() => closing.abort());
  const client = new FeedClient(systemClock, {
    ...{ socketPath, reader: 'test', start: { at: 'cursor' } },
  });
  const events = client.events(closing.signal);
  return { journal, thread, sources, events, lines, registry };
}

async function until(
  events: AsyncGenerator<FeedEvent>,
  kind: FeedEvent['kind'],
): Promise<FeedEvent> {
  for (;;) {
    const next: IteratorResult<FeedEvent, void> = await events.next();
    if (next.value?.kind === kind) return next.value;
  }
}

const append = (journal: Awaited<ReturnType<typeof openJournal>>, sequence: number) =>
  journal.append(entryOf(sequence, { table: TABLE }));

test('a thread that ends is followed by another, and readers go on where they were', async () => {
  const { journal, thread, sources, events, lines, registry } = await setUp();
  await thread.start(sources, NO_TRUST);
  await append(journal, 1);
  expect(await until(events, 'records')).toMatchObject({ records: [{ sequence: 1 }] });
  expect(await until(events, 'status')).toMatchObject({ atMs: 7, headSeq: 1, ready: true });
  for (const sequence of [2, 3]) {
    thread.restart();
    await until(events, 'disconnected');
    await append(journal, sequence);
    expect(await until(events, 'records')).toMatchObject({ records: [{ sequence }] });
  }
  expect(lines.filter(({ msg }) => msg === 'feed ended; it starts again')).toHaveLength(2);
  const page = await registry.metrics();
  expect(page).toContain('telemetry_collector_feed_restarts_total 2');
  await thread.close();
  const last = await until(events, 'disconnected');
  expect(last).toMatchObject({ word: 'stopping' });
});

test('a start without a socket fails and says why', async () => {
  const { thread, sources } = await setUp('no-such-directory/feed.sock');
  await expect(thread.start(sources, NO_TRUST)).rejects.toMatchObject({
    code: 'FEED_CANNOT_LISTEN',
  });
});
