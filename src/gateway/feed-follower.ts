/**
 * Follows the collector's feed and hands what it brings to the parts that answer. It comes back by
 * itself; while it is away, everything that was known stays, and the gateway says that it is not
 * live.
 */
import type { Logger } from 'pino';
import type { FeedClient, FeedEvent } from '../feed/feed-client.ts';
import type { StatusMessage, WelcomeMessage } from '../feed/feed-contract.ts';
import type { Fleet } from './fleet/fleet.ts';
import type { NodeStates } from './fleet/node-states.ts';
import type { Tail } from './tail/tail.ts';

/** Where the feed's news go. */
export interface FeedListeners {
  readonly fleet: Fleet;
  readonly nodes: NodeStates;
  readonly tail: Tail;
}

/** What has happened since the start. */
export interface FeedTotals {
  connects: number;
  records: number;
  samples: number;
  /** Records that the collector itself cannot read. */
  damaged: number;
}

export class FeedFollower {
  readonly totals: FeedTotals = { connects: 0, records: 0, samples: 0, damaged: 0 };
  readonly #client: FeedClient;
  readonly #listeners: FeedListeners;
  readonly #log: Logger;
  readonly #stopped = new AbortController();
  #done: Promise<void> = Promise.resolve();
  #welcome: WelcomeMessage | undefined;
  #status: StatusMessage | undefined;
  #failure = 'it has not been reached yet';
  #seq = 0;
  #headSeq = 0;

  constructor(client: FeedClient, listeners: FeedListeners, log: Logger) {
    this.#client = client;
    this.#listeners = listeners;
    this.#log = log;
  }

  /** Why the collector is not heard now; undefined while it is. */
  get failure(): string | undefined {
    return this.#welcome === undefined ? this.#failure : undefined;
  }

  /** Everything that the collector holds has been brought. */
  get isLive(): boolean {
    return this.#welcome !== undefined && this.#seq >= this.#headSeq;
  }

  /** Records that the collector has and that were not brought yet. */
  get lagRecords(): number {
    return Math.max(0, this.#headSeq - this.#seq);
  }

  /** What the collector said last of itself. */
  get status(): StatusMessage | undefined {
    return this.#status;
  }

  start(): void {
    this.#done = this.#follow().catch((error: unknown) => {
      // A version that does not fit does not mend itself; the gateway goes on with what it has.
      this.#failure = String(error);
      this.#log.error({ err: error }, 'the feed cannot be followed');
    });
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#done;
  }

  async #follow(): Promise<void> {
    for await (const event of this.#client.events(this.#stopped.signal)) this.#take(event);
  }

  #take(event: FeedEvent): void {
    const { fleet, nodes, tail } = this.#listeners;
    switch (event.kind) {
      case 'welcome':
        this.totals.connects += 1;
        this.#welcome = event;
        this.#seq = event.seq;
        this.#headSeq = event.headSeq;
        tail.begin(event.source, event.seq, event.headSeq);
        this.#log.info({ source: event.source, seq: event.seq }, 'following the collector');
        return;
      case 'records':
        for (const record of event.records) {
          fleet.take(record);
          tail.append({ ...record, source: event.source });
          this.totals.samples += record.samples.series.length;
        }
        tail.advance(event.source, event.seq);
        this.#seq = event.seq;
        this.#headSeq = Math.max(event.headSeq, event.seq);
        this.totals.records += event.records.length;
        this.totals.damaged += event.damaged.length;
        return;
      case 'status':
        this.#status = event;
        nodes.take(event.nodes);
        return;
      case 'disconnected':
        if (this.#welcome !== undefined) {
          this.#log.warn({ word: event.word }, `the collector is gone: ${event.message}`);
        }
        this.#welcome = undefined;
        this.#failure = event.message;
        return;
      case 'published':
        return;
    }
  }
}
