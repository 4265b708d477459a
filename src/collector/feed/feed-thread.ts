/**
 * The feed, seen from the main thread: a worker (feed-worker.ts) serves the readers. The main
 * thread tells it which record is durable, which files are published and, once a second while
 * somebody reads, how the collector is. None of that is work for a sample, and none of it waits
 * for the feed: a worker that hangs or dies costs readers their connection, and agents nothing.
 *
 *     stopped ──start──► running ──exit──► backing off ──wait──► running
 */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import type { PublishedMessage } from '../../feed/feed-contract.ts';
import { Backoff } from '../../lib/backoff.ts';
import { type Clock, sleep } from '../../lib/clock.ts';
import { errorMessage, OperatingError } from '../../lib/errors.ts';
import { promiseParts } from '../../lib/promise-parts.ts';
import { repeat } from '../../lib/repeat.ts';
import type { FeedMetrics } from './feed-metrics.ts';
import { feedStatus, type StatusSources } from './feed-status.ts';
import { FeedTotals } from './feed-totals.ts';
import type {
  FeedSetup,
  FeedVerdict,
  FromFeed,
  RemoteCredentials,
  ToFeed,
} from './feed-thread-messages.ts';

/** A slice for each reader, and the decoded status of a large fleet. */
const MAX_HEAP_MB = 512;
const NURSERY_MB = 12;
/** Several commits are one message, and the processors are the agents' first. */
const HEAD_DELAY_MS = 10;
const STATUS_INTERVAL_MS = 1000;
/** The thread tells its figures every second; one that is silent for so long is taken to hang. */
const SILENCE_MAX_MS = 60_000;
/** A thread that lived for so long was well; the next one need not wait. */
const WELL_AFTER_MS = 60_000;
const CLOSE_TIMEOUT_MS = 2000;
const BACKOFF = { initialMs: 250, maxMs: 30_000 };

export type FeedThreadOptions = Omit<FeedSetup, 'headSeq' | 'cursor' | 'remote'> & {
  /** Where readers on other hosts connect; undefined where they are not served. */
  readonly remote: { readonly host: string; readonly port: number } | undefined;
};

/** Who may read from other hosts, and what the collector shows them. */
export interface ReaderTrust {
  readonly credentials: () => RemoteCredentials;
  /** Judges what a reader showed, DER, leaf first. */
  readonly judge: (chain: readonly Uint8Array[]) => FeedVerdict;
}

export interface FeedThreadDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: FeedMetrics;
}

export class FeedThread {
  readonly #deps: FeedThreadDeps;
  readonly #options: FeedThreadOptions;
  readonly #totals = new FeedTotals();
  readonly #backoff = new Backoff(BACKOFF);
  readonly #closing = new AbortController();
  readonly #listening = promiseParts<void>();
  #sources: StatusSources | undefined;
  #trust: ReaderTrust | undefined;
  /** As the worker has them. */
  #credentials: RemoteCredentials | undefined;
  #worker: Worker | undefined;
  #exited: Promise<void> = Promise.resolve();
  #headSeq: number;
  #cursor: number;
  #isHeadDue = false;
  /** When the worker began or last said something. */
  #heardMs = 0;
  #stopStatus: () => void = () => {};
  #cancelRestart: () => void = () => {};

  constructor(
    deps: FeedThreadDeps,
    options: FeedThreadOptions,
    place: Pick<FeedSetup, 'headSeq' | 'cursor'>,
  ) {
    this.#deps = deps;
    this.#options = options;
    this.#headSeq = place.headSeq;
    this.#cursor = place.cursor;
    deps.metrics.watch(() => this.#totals.figures);
  }

  /**
   * Resolves once readers can connect. Rejects with OperatingError FEED_CANNOT_LISTEN. The sources
   * are asked once a second while somebody reads.
   */
  start(sources: StatusSources, trust: ReaderTrust): Promise<void> {
    this.#sources = sources;
    this.#trust = trust;
    this.#spawn(trust.credentials());
    this.#stopStatus = repeat(this.#deps.clock, STATUS_INTERVAL_MS, () => {
      this.#endIfHung();
      this.#renewCredentials(trust.credentials());
      this.#postStatus();
    });
    return this.#listening.promise;
  }

  /** Records up to `seq` are durable. */
  notifyHead(seq: number): void {
    if (seq <= this.#headSeq) return;
    this.#headSeq = seq;
    if (this.#isHeadDue) return;
    this.#isHeadDue = true;
    this.#deps.clock.after(HEAD_DELAY_MS, () => {
      this.#isHeadDue = false;
      this.#post({ type: 'head', seq: this.#headSeq });
    });
  }

  /** The warehouse has grown, and the journal knows. */
  published(message: Omit<PublishedMessage, 'kind'>): void {
    this.#cursor = message.cursor;
    this.#post({ type: 'published', message });
  }

  /** Ends the worker by force; another one takes over. */
  restart(): void {
    void this.#worker?.terminate();
  }

  /** Tells the readers and ends the worker, by force where it takes too long. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#stopStatus();
    this.#cancelRestart();
    this.#post({ type: 'close' });
    const worker = this.#worker;
    const ended = new AbortController();
    const cancel = this.#deps.clock.after(CLOSE_TIMEOUT_MS, () => void worker?.terminate());
    const givenUp = sleep(this.#deps.clock, 2 * CLOSE_TIMEOUT_MS, ended.signal);
    await Promise.race([this.#exited, givenUp]);
    ended.abort();
    cancel();
  }

  #spawn(credentials: RemoteCredentials): void {
    this.#credentials = credentials;
    const { remote } = this.#options;
    const place = { headSeq: this.#headSeq, cursor: this.#cursor };
    const setup = {
      ...{ ...this.#options, ...place },
      remote: remote === undefined ? undefined : { ...remote, credentials },
    };
    const worker = new Worker(workerUrl(), {
      name: 'feed',
      workerData: setup satisfies FeedSetup,
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB, maxYoungGenerationSizeMb: NURSERY_MB },
    });
    this.#worker = worker;
    let fault = new OperatingError('FEED_ENDED', 'the thread of the feed ended');
    const startedMs = this.#deps.clock.monotonicMs();
    this.#heardMs = startedMs;
    worker.on('message', (message: FromFeed) => {
      this.#heardMs = this.#deps.clock.monotonicMs();
      if (message.type === 'fatal') fault = new OperatingError(message.code, message.message);
      else this.#receive(message);
    });
    worker.on('error', (error) => {
      if (fault.code === 'FEED_ENDED')
        fault = new OperatingError('FEED_ENDED', errorMessage(error));
    });
    this.#exited = new Promise((resolve) => {
      worker.on('exit', () => {
        this.#ended(fault, startedMs);
        resolve();
      });
    });
  }

  #receive(message: Exclude<FromFeed, { type: 'fatal' }>): void {
    switch (message.type) {
      case 'listening':
        // What was said while the thread began.
        this.#post({ type: 'head', seq: this.#headSeq });
        this.#postPublished();
        if (message.remotePort !== undefined) {
          const { remotePort: port } = message;
          this.#deps.logger.info({ port }, 'feed listens for readers on other hosts');
        }
        this.#listening.resolve();
        return;
      case 'judge':
        this.#judge(message.id, message.chain);
        return;
      case 'figures':
        if (this.#totals.take(message.figures)) this.#postStatus();
        return;
      case 'log':
        this.#deps.logger[message.level](message.fields, message.message);
    }
  }

  #ended(fault: OperatingError, startedMs: number): void {
    this.#worker = undefined;
    this.#totals.workerEnded();
    if (this.#closing.signal.aborted) return;
    // Only before the first time: afterwards nobody waits for it.
    this.#listening.reject(fault);
    if (this.#deps.clock.monotonicMs() - startedMs > WELL_AFTER_MS) this.#backoff.reset();
    const waitMs = Math.round(this.#backoff.nextDelayMs());
    this.#deps.logger.error({ err: fault, waitMs }, 'feed ended; it starts again');
    this.#cancelRestart = this.#deps.clock.after(waitMs, () => {
      if (this.#trust !== undefined) this.#spawn(this.#trust.credentials());
    });
  }

  #endIfHung(): void {
    const silentMs = this.#deps.clock.monotonicMs() - this.#heardMs;
    if (this.#worker === undefined || silentMs < SILENCE_MAX_MS) return;
    const silentSeconds = Math.round(silentMs / 1000);
    this.#deps.logger.error({ silentSeconds }, 'feed hangs; ending its thread');
    // A thread that is stuck in the operating system does not end: it is told again, but not often.
    this.#heardMs = this.#deps.clock.monotonicMs();
    this.restart();
  }

  #judge(id: number, chain: readonly Uint8Array[]): void {
    if (this.#trust === undefined) return;
    this.#post({ type: 'verdict', id, verdict: this.#trust.judge(chain) });
  }

  #renewCredentials(credentials: RemoteCredentials): void {
    if (this.#options.remote === undefined || credentials === this.#credentials) return;
    this.#credentials = credentials;
    this.#post({ type: 'credentials', credentials });
  }

  #postPublished(): void {
    this.#post({ type: 'published', message: { cursor: this.#cursor, files: [] } });
  }

  #postStatus(): void {
    if (this.#sources === undefined || this.#totals.figures.readers === 0) return;
    this.#post({ type: 'status', message: feedStatus(this.#sources) });
  }

  #post(message: ToFeed): void {
    this.#worker?.postMessage(message);
  }
}

/** The worker's entry lies beside this file, compiled or not. */
function workerUrl(): URL {
  const extension = path.extname(fileURLToPath(import.meta.url));
  return new URL(`./feed-worker${extension}`, import.meta.url);
}
