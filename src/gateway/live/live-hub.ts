/**
 * All live clients, whether they came by WebSocket or by SSE. The hub gives each one its turn; what
 * they read is the tail.
 */
import type { Clock } from '../../lib/clock.ts';
import { assert } from '../../lib/errors.ts';
import { repeat } from '../../lib/repeat.ts';
import type { Caller } from '../access/access.ts';
import type { Position } from '../tail/position.ts';
import type { Tail } from '../tail/tail.ts';
import { LiveClient, type LiveSink } from './live-client.ts';
import { type LiveFilter, Selection, selectionKey } from './live-filter.ts';
import { RowTexts } from './row-text.ts';

/** How long a sample may wait for others of the same message. */
const TURN_MS = 50;
/**
 * Records that clients look at in one turn, in all: 20 ms at most. Whoever catches up waits for the
 * next turn, and the others do not wait for it.
 */
const RECORDS_PER_TURN = 20_000;
/** Even among many clients, each one gets on faster than batches arrive. */
const RECORDS_PER_CLIENT_MIN = 200;
/** Of RFC 6455: the server goes away. */
const GOING_AWAY = 1001;
/** Ours, after the status of HTTP that means the same. */
const KEY_ENDED = 4401;

/** What a client asked for. */
export interface LiveRequest {
  readonly caller: Caller;
  readonly filter: LiveFilter;
  /** Where the client was; undefined: it wants what comes next. */
  readonly from: Position | undefined;
}

/** A client that was let in. */
export interface Subscription {
  /** Idempotent. */
  end(): void;
}

export interface LiveTotals {
  /** Clients that were let in, since the start. */
  clients: number;
  refused: number;
  /** Samples that slow clients did not get. */
  skipped: number;
}

interface Member {
  readonly client: LiveClient;
  readonly leave: () => void;
}

export class LiveHub {
  readonly totals: LiveTotals = { clients: 0, refused: 0, skipped: 0 };
  readonly #clock: Clock;
  readonly #tail: Tail;
  readonly #maxClients: number;
  readonly #rows = new RowTexts();
  readonly #selections = new Map<string, Selection>();
  readonly #members = new Set<Member>();
  #stop: () => void = () => {};

  constructor(clock: Clock, tail: Tail, maxClients: number) {
    this.#clock = clock;
    this.#tail = tail;
    this.#maxClients = maxClients;
  }

  get size(): number {
    return this.#members.size;
  }

  start(): void {
    this.#stop = repeat(this.#clock, TURN_MS, () => this.#turn());
  }

  /** Ends every client. Idempotent. */
  close(): void {
    this.#stop();
    for (const { client, leave } of [...this.#members]) {
      client.close(GOING_AWAY, 'the gateway stops');
      leave();
    }
  }

  /** Whether the next client is refused. */
  get isFull(): boolean {
    return this.#members.size >= this.#maxClients;
  }

  /** Lets a client in; ask `isFull` before. */
  join({ caller, filter, from }: LiveRequest, sink: LiveSink): Subscription {
    assert(!this.isFull, 'a live client too many was let in');
    this.totals.clients += 1;
    const selection = this.#selectionFor(filter, caller);
    const client = new LiveClient(this.#tail, this.#rows, selection, sink, from);
    const onEnded = () => {
      client.close(KEY_ENDED, 'the key no longer works');
      leave();
    };
    const leave = () => {
      if (!this.#members.delete(member)) return;
      caller.ended.removeEventListener('abort', onEnded);
      this.totals.skipped += client.skipped;
      this.#release(selection);
    };
    const member: Member = { client, leave };
    this.#members.add(member);
    caller.ended.addEventListener('abort', onEnded, { once: true });
    if (caller.ended.aborted) onEnded();
    return { end: leave };
  }

  #turn(): void {
    const nowMs = this.#clock.monotonicMs();
    const share = Math.floor(RECORDS_PER_TURN / Math.max(1, this.#members.size));
    const maxRecords = Math.max(RECORDS_PER_CLIENT_MIN, share);
    for (const { client, leave } of [...this.#members]) {
      client.pump(nowMs, maxRecords);
      if (client.isClosed) leave();
    }
  }

  #selectionFor(filter: LiveFilter, { scope }: Caller): Selection {
    const key = selectionKey(filter, scope);
    let selection = this.#selections.get(key);
    if (selection === undefined) {
      selection = new Selection(filter, scope);
      this.#selections.set(key, selection);
    }
    selection.users += 1;
    return selection;
  }

  #release(selection: Selection): void {
    selection.users -= 1;
    if (selection.users === 0) this.#selections.delete(selection.key);
  }
}
