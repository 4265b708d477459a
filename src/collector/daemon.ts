/**
 * The composition root: the one file that knows every stage. `assemble` reads like the picture:
 *
 *     agent ──QUIC/mTLS──► listener ─► codec ─► admission ─► journal ─► ack     (ingest/)
 *                                                              │
 *                                                   ┌──────────┴──────────┐
 *                                             influx writer         parquet writer
 *
 * Parts are opened leaf first (journal, writers, listener) and closed in reverse, with the HTTP
 * side around everything, so that health can be asked for during recovery and until the very end.
 */
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { Admission } from './admission/admission.ts';
import { createAdmissionMetrics } from './admission/admission-metrics.ts';
import { BackpressureGate } from './admission/backpressure-gate.ts';
import { cardinalityReport, RefusalLog } from './admission/cardinality-report.ts';
import { SeriesLimiter } from './admission/series-limiter.ts';
import { CANARY_PEER, Canary } from './health/canary.ts';
import { deadLetterDir, journalDir } from '../config/paths.ts';
import type { Config } from '../config/schema.ts';
import { createFeed, publishedOf, startFeed } from './feed-parts.ts';
import type { FeedThread } from './feed/feed-thread.ts';
import { createHealthMetrics } from './health/health-metrics.ts';
import { Ingest, type IngestDeps } from './ingest/ingest.ts';
import { createIngestMetrics } from './ingest/ingest-metrics.ts';
import { NodeActivity } from './ingest/node-activity.ts';
import { Journal } from '../journal/lmdb/journal.ts';
import { createJournalMetrics } from '../journal/lmdb/journal-metrics.ts';
import { WINDOW_SEQUENCES } from '../journal/lmdb/producer-window.ts';
import { EPOCHS_PER_NODE } from '../journal/lmdb/producers.ts';
import { createLedgerMetrics } from '../journal/ledger-metrics.ts';
import type { Clock } from '../lib/clock.ts';
import { OperatingError } from '../lib/errors.ts';
import { nodeFileSystem } from '../lib/filesystem.ts';
import { EventLoopWatch } from '../lib/event-loop-watch.ts';
import { Lifecycle } from '../lib/lifecycle.ts';
import type { QuicAddress, QuicStack } from '../transport/quic-endpoint.ts';
import { repeat } from '../lib/repeat.ts';
import { Listener } from './listener/listener.ts';
import { createListenerMetrics } from './listener/listener-metrics.ts';
import { startHttpServer } from '../observability/http-server.ts';
import { startHangWatch, watchStep } from '../observability/hang-watch.ts';
import { Readiness } from '../observability/readiness.ts';
import { createRegistry } from '../observability/registry.ts';
import type { ServiceNotifier } from '../observability/service-notifier.ts';
import { startWatchdog } from '../observability/watchdog.ts';
import { addReadinessChecks } from './health/readiness-checks.ts';
import { loadQuicStack } from './quic-stack.ts';
import { reload } from './reload.ts';
import { createReloadMetrics } from './reload-metrics.ts';
import { newestWrittenSeq } from './writers/parquet/recovery.ts';
import { heldUpTo, readProgressNote } from '../warehouse/progress-note.ts';
import type { WriterName, WriterTask } from './writers/writer.ts';
import type { DeadLetterSettings } from './writers/writer-messages.ts';
import { WriterThread } from './writers/writer-thread.ts';
import { WarehouseOwner } from './warehouse-owner.ts';
import { createWritersMetrics } from './writers/writers-metrics.ts';
import { tlsStack } from '../transport/tls/tls-endpoint.ts';

const MAINTENANCE_INTERVAL_MS = 1000;
/** Nodes on a page that names the worst. */
const NODES_SHOWN = 100;
/** How long agents may take to get their last acknowledgements. */
const LISTENER_CLOSE_DEADLINE_MS = 5000;
/** Parquet files are finished early once they hold back this share of the journal's budget. */
const SEAL_SHARE_OF_JOURNAL = 0.25;
/** A series table may expand to this much text for each byte that a batch may have. */
const TABLE_TEXT_PER_BATCH_BYTE = 8;
/** And for this much for each byte that it has; a node's own tables come to ten or twenty. */
const TABLE_TEXT_PER_TABLE_BYTE = 32;

export interface DaemonDeps {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly version: string;
  readonly notifier: ServiceNotifier;
  /** Reads the configuration again, for a reload. Rejects with what `loadConfig` throws. */
  readonly reloadConfig: () => Promise<Config>;
}

export interface Daemon {
  readonly listenAddress: QuicAddress;
  readonly metricsAddress: { readonly host: string; readonly port: number };
  /**
   * Resolves when the daemon has stopped; rejects when the journal needs a new process.
   */
  readonly finished: Promise<void>;
  /** Drains and stops; resolves when everything is closed. Idempotent. */
  stop(): Promise<void>;
  /** Takes up new certificates, and settings that can change while running. */
  reload(): Promise<void>;
}

/** Starts everything. Throws OperatingError with what failed, having closed what was open. */
export async function startDaemon(config: Config, deps: DaemonDeps): Promise<Daemon> {
  const lifecycle = new Lifecycle(deps.clock.monotonicMs);
  try {
    return await assemble(config, deps, lifecycle);
  } catch (error) {
    await lifecycle.close();
    throw error;
  }
}

async function assemble(config: Config, deps: DaemonDeps, lifecycle: Lifecycle): Promise<Daemon> {
  const { logger, clock, notifier } = deps;
  const live = { config };
  const stack = await loadQuicStack(config.server.quic_stack);
  const registry = createRegistry(deps.version);
  const readiness = new Readiness();
  const pages = new Map<string, () => unknown>();
  const http = await startHttpServer(httpBind(config), registry, readiness, pages);
  lifecycle.defer('http', () => http.close());

  const ends = createEnding(lifecycle, deps);
  const owner = await ownWarehouse(config, deps, ends.fail);
  lifecycle.defer('warehouse lock', async () => owner?.release());
  const journal = await openJournal(config, deps, registry);
  lifecycle.defer('journal', () => journal.close());
  journal.onBroken((reason) => {
    ends.fail(new OperatingError('JOURNAL_BROKEN', `cannot go on with the journal: ${reason}`));
  });

  const feed = createFeed(config, deps, registry, journal);
  const writers = startWriters(config, deps, registry, { journal, feed });
  lifecycle.defer('writers', () => stopWriters(writers, config));

  const { gate, series, admission } = createAdmission(config, deps, registry, journal);
  pages.set('cardinality', () => cardinalityReport(series));
  pages.set('budgets', () => admission.topUsers(NODES_SHOWN));
  pages.set('gaps', () => ({ nodes: journal.nodesWithGaps(NODES_SHOWN) }));
  const activity = new NodeActivity();
  const ingest = createIngest(config, deps, registry, { journal, gate, admission, activity });
  const listener = createListener(config, deps, registry, { stack, ingest });
  gate.onOverload((is) => (is ? listener.pauseReading() : listener.resumeReading()));
  const listenAddress = await listener.start();
  lifecycle.defer('listener', () => listener.close(LISTENER_CLOSE_DEADLINE_MS));

  const refusals = new RefusalLog(clock, logger.child({ stage: 'admission' }), series);
  const canary = createCanary(clock, ingest, journal, writers);
  const eventLoop = watchEventLoop(config, deps, lifecycle);
  addReadinessChecks(readiness, { live, journal, writers, canary, eventLoop });
  const shown = { clock, live, readiness, journal, writers, series, activity, listener };
  await startFeed(feed, lifecycle, shown);
  createHealthMetrics(registry, { report: () => readiness.report(), canary, eventLoop });
  lifecycle.defer('canary', () => canary.close());
  lifecycle.defer(
    'maintenance',
    repeat(clock, MAINTENANCE_INTERVAL_MS, () => {
      if (journal.isFull()) gate.close('journal_full');
      else gate.reopen('journal_full');
      owner?.check();
      series.sweep();
      refusals.log();
    }),
  );
  lifecycle.defer(
    'watchdog',
    startWatchdog(deps, () => journal.booked()),
  );
  canary.start();
  eventLoop.start();
  notifier.ready();
  const fields = { listenAddress, metricsAddress: http.address, version: deps.version };
  logger.info({ ...fields, writers: writers.map(({ name }) => name) }, 'ready');

  return {
    listenAddress,
    metricsAddress: http.address,
    ...{ finished: ends.finished, stop: ends.stop },
    reload: reloading(deps, registry, { live, listener, admission }),
  };
}

/** What SIGHUP does. */
function reloading(
  { logger, reloadConfig }: DaemonDeps,
  registry: Registry,
  parts: { live: { config: Config }; listener: Listener; admission: Admission },
): () => Promise<void> {
  const { live, listener, admission } = parts;
  const metrics = createReloadMetrics(registry);
  return () =>
    reload({
      ...{ logger, metrics, live, readConfig: reloadConfig },
      prepareListener: () => listener.prepareReload(),
      apply({ limits, security, observability }) {
        admission.reconfigure(limits, security.delegates);
        logger.level = observability.log_level;
      },
    });
}

function httpBind({ observability }: Config) {
  return { host: observability.metrics_addr, port: observability.metrics_port };
}

/** Its turns are measured, and the process ends once they stop. Starts with `start`. */
function watchEventLoop(
  { observability }: Config,
  { clock, logger }: DaemonDeps,
  lifecycle: Lifecycle,
): EventLoopWatch {
  const hangWatch = startHangWatch(hangWatchOptions(observability, logger, 'running'));
  const eventLoop = new EventLoopWatch(clock, () => hangWatch.beat());
  lifecycle.defer('event loop watch', () => eventLoop.close());
  // Closed before what beats for it.
  lifecycle.defer('hang watch', () => hangWatch.close());
  return eventLoop;
}

function hangWatchOptions(
  { max_stall_secs: maxStillSecs, log_format: logFormat }: Config['observability'],
  logger: Logger,
  doing: string,
) {
  return { maxStillSecs, logFormat, logger, doing };
}

/** Refuses to start where another daemon writes the same collector's files into the warehouse. */
async function ownWarehouse(
  { parquet, collector_id: collectorId }: Config,
  { logger }: DaemonDeps,
  onLost: (error: OperatingError) => void,
): Promise<WarehouseOwner | undefined> {
  if (!parquet.enabled) return undefined;
  return WarehouseOwner.take({ root: parquet.output_dir, collectorId }, logger, onLost);
}

/** The durable log, and the books that are part of its transactions. */
async function openJournal(
  config: Config,
  { logger, clock }: DaemonDeps,
  registry: Registry,
): Promise<Journal> {
  const { collector_id: collectorId, parquet, observability } = config;
  const dir = journalDir(config);
  const root = parquet.output_dir;
  const doing = `opening journal ${dir}, whose write lock another process may hold`;
  const note = parquet.enabled ? readProgressNote(nodeFileSystem, root, collectorId) : undefined;
  const journal = await Journal.open({
    dir,
    maxBytes: config.journal.max_bytes,
    minFreeBytes: config.journal.min_free_bytes,
    writers: writerNames(config),
    newestSeen: (journalId, headSeq) => {
      if (!parquet.enabled) return 0;
      const noted = note?.journalId === journalId ? note.headSeq : 0;
      const files = { root, collectorId, journalId };
      return Math.max(noted, newestWrittenSeq(nodeFileSystem, files, headSeq));
    },
    heldUpTo: (writer, lineage) => (writer === 'parquet' ? heldUpTo(note, lineage) : undefined),
    watchStep: (step) => watchStep(hangWatchOptions(observability, logger, doing), step),
    clock,
    logger: logger.child({ stage: 'journal' }),
    metrics: createJournalMetrics(registry),
  });
  createLedgerMetrics(registry, journal);
  return journal;
}

function deadLetterSettings(config: Config): DeadLetterSettings {
  const { max_node_bytes: maxNodeBytes, max_bytes: maxTotalBytes } = config.dead_letters;
  return { dir: deadLetterDir(config), maxNodeBytes, maxTotalBytes };
}

/** One thread per destination, each at its own cursor. */
function startWriters(
  config: Config,
  { logger, clock }: DaemonDeps,
  registry: Registry,
  { journal, feed }: { readonly journal: Journal; readonly feed: FeedThread | undefined },
): WriterThread[] {
  const deps = {
    clock,
    logger: logger.child({ stage: 'writers' }),
    metrics: createWritersMetrics(registry),
  };
  const writers = writerTasks(config, journal).map((task) => {
    const startCursor = journal.cursor(task.name);
    const directories = { journalDir: journalDir(config), deadLetters: deadLetterSettings(config) };
    const { incarnation } = journal;
    return new WriterThread(deps, {
      incarnation,
      ...task,
      ...directories,
      startCursor,
    });
  });
  for (const writer of writers) {
    writer.start(async (progress) => {
      await journal.commitCursor(writer.name, progress);
      if (writer.name === 'parquet') feed?.published(publishedOf(progress, config));
    });
    writer.notifyHead(journal.headSeq);
  }
  journal.onAppended((headSeq) => {
    for (const writer of writers) writer.notifyHead(headSeq);
    feed?.notifyHead(headSeq);
  });
  return writers;
}

function writerNames(config: Config): WriterName[] {
  const names: WriterName[] = [];
  if (config.influxdb !== undefined) names.push('influxdb');
  if (config.parquet.enabled) names.push('parquet');
  return names;
}

function writerTasks(config: Config, journal: Journal): WriterTask[] {
  const { influxdb, parquet } = config;
  const tasks: WriterTask[] = [];
  if (influxdb !== undefined) tasks.push({ name: 'influxdb', settings: influxdb });
  if (parquet.enabled) {
    const settings = {
      ...parquet,
      collector_id: config.collector_id,
      journal_id: journal.id,
      journal_ancestors: journal.ancestors,
      seal_after_journal_bytes: config.journal.max_bytes * SEAL_SHARE_OF_JOURNAL,
    };
    tasks.push({ name: 'parquet', settings });
  }
  return tasks;
}

async function stopWriters(writers: readonly WriterThread[], config: Config): Promise<void> {
  const deadlineMs = config.server.shutdown_timeout_secs * 1000;
  await Promise.all(writers.map((writer) => writer.drain(deadlineMs)));
  await Promise.all(writers.map((writer) => writer.close()));
}

/** What decides about batches: the gate for their amount, the limiter for their series. */
function createAdmission(
  { limits, security }: Config,
  { clock }: DaemonDeps,
  registry: Registry,
  journal: Journal,
) {
  const gate = new BackpressureGate({
    maxBatches: limits.backpressure_threshold,
    maxBytes: limits.backpressure_bytes,
  });
  const series = new SeriesLimiter(clock, limits, (changes) => journal.persistSeries(changes));
  series.restore(journal.storedSeries());
  journal.attachSeries(series);
  const admission = new Admission({
    clock,
    limits,
    delegates: security.delegates,
    producer: (nodeId, epoch, sequence) => journal.producer(nodeId, epoch, sequence),
    gate,
    series,
  });
  createAdmissionMetrics(registry, { gate, series, admission });
  return { gate, series, admission };
}

function createIngest(
  { collector_id, limits }: Config,
  { clock, logger }: DaemonDeps,
  registry: Registry,
  parts: Pick<IngestDeps, 'journal' | 'gate' | 'admission' | 'activity'>,
): Ingest {
  return new Ingest(
    {
      ...parts,
      clock,
      logger: logger.child({ stage: 'ingest' }),
      metrics: createIngestMetrics(registry),
    },
    {
      collectorId: collector_id,
      maxBatchBytes: limits.max_batch_bytes,
      decodeLimits: {
        maxBatchSamples: limits.max_batch_size,
        maxLabelsPerSeries: limits.max_labels_per_series,
        maxNameBytes: limits.max_name_bytes,
        maxLabelValueBytes: limits.max_label_value_bytes,
        // Twice what the node could ever have admitted, and a batch on top.
        maxSeries: 2 * limits.max_cardinality_per_node + limits.max_batch_size,
        maxTextCharacters: TABLE_TEXT_PER_BATCH_BYTE * limits.max_batch_bytes,
        maxTextPerByte: TABLE_TEXT_PER_TABLE_BYTE,
      },
      sequenceWindow: WINDOW_SEQUENCES,
      epochsPerNode: EPOCHS_PER_NODE,
    },
  );
}

function createListener(
  config: Config,
  { clock, logger }: DaemonDeps,
  registry: Registry,
  parts: { readonly stack: QuicStack; readonly ingest: Ingest },
): Listener {
  const { stack, ingest } = parts;
  const metrics = createListenerMetrics(registry);
  const deps = {
    stack,
    tcpStack: tlsStack,
    clock,
    logger: logger.child({ stage: 'listener' }),
    metrics,
  };
  return new Listener(deps, config, { open: (peer) => ingest.open(peer) });
}

/** What readiness believes. InfluxDB proves by the cursor, Parquet by what it has read. */
function createCanary(
  clock: Clock,
  ingest: Ingest,
  journal: Journal,
  writers: readonly WriterThread[],
): Canary {
  const send = ingest.openInternal(CANARY_PEER);
  const stages = writers.map((writer) => ({
    name: writer.name,
    passedSeq: () => (writer.name === 'parquet' ? writer.status.readSeq : writer.status.cursor),
  }));
  return new Canary({ clock, send, headSeq: () => journal.headSeq }, stages);
}

/** How the daemon ends: by `stop`, or by a failure that only a restart can fix. */
function createEnding(lifecycle: Lifecycle, { logger, notifier }: DaemonDeps) {
  let resolve: () => void = () => {};
  let reject: (error: Error) => void = () => {};
  const finished = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  // The caller may begin to wait only after it has failed.
  finished.catch(() => {});
  const stop = async () => {
    notifier.stopping();
    await lifecycle.close(({ name, seconds, error }) => {
      const fields = { step: name, seconds: Number(seconds.toFixed(3)) };
      if (error === undefined) logger.info(fields, 'closed');
      else logger.error({ ...fields, err: error }, 'cannot close cleanly');
    });
    logger.info('stopped');
    resolve();
  };
  return { finished, stop, fail: (error: OperatingError) => reject(error) };
}
