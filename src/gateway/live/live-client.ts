/**
 * One live client: a place in the tail that moves on as fast as the client reads. Nothing is queued
 * for it: what it has not read yet is in the tail, which all clients share.
 *
 *     following ──too far behind──► skipping ──its socket is free──► following
 *         └──────────── nothing read for STUCK_MS ──────────► closed (1013)
 *
 * A client that cannot follow gets the last value of each series that it missed, and the number of
 * samples that were left out.
 */
import { formatPosition, type Position } from '../tail/position.ts';
import type { Tail, TailRecord } from '../tail/tail.ts';
import type { Selection } from './live-filter.ts';
import type { RowTexts } from './row-text.ts';

/** How a client is reached. */
export interface LiveSink {
  /** `message` is JSON; `position` is what the client has once it has read it. */
  send(type: string, position: string, message: string): void;
  /** Bytes that were sent and have not left this process. */
  readonly unsentBytes: number;
  close(code: number, reason: string): void;
}

/** Nothing more is sent to a client while so much of it waits: with one message, under 2 MiB. */
const UNSENT_BYTES_MAX = 512 * 1024;
/** A message is finished at this size. */
const MESSAGE_CHARS = 256 * 1024;
/** A live client that is so many records behind skips to the end. */
const BEHIND_RECORDS_MAX = 20_000;
const STUCK_MS = 30_000;
/** Of RFC 6455: try again later. */
const TRY_AGAIN_LATER = 1013;

export class LiveClient {
  readonly selection: Selection;
  readonly #tail: Tail;
  readonly #rows: RowTexts;
  readonly #sink: LiveSink;
  readonly #from: Position | undefined;
  /** The next entry to send; undefined until the feed has begun and shows where that is. */
  #next: number | undefined;
  /** Behind what was sent. */
  #position = new Map<string, number>();
  #blockedSinceMs: number | undefined;
  /** It has been at the end of the tail: since then it is live, and before it catches up. */
  #hasCaughtUp = false;
  #isClosed = false;
  #skipped = 0;

  /** Goes on at `from`, or begins with what is acknowledged next. */
  constructor(
    tail: Tail,
    rows: RowTexts,
    selection: Selection,
    sink: LiveSink,
    from: Position | undefined,
  ) {
    this.#tail = tail;
    this.#rows = rows;
    this.selection = selection;
    this.#sink = sink;
    this.#from = from;
    this.#next = this.#findPlace();
  }

  /** Samples that this client did not get because it was too slow. */
  get skipped(): number {
    return this.#skipped;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sends what the client can take, out of the next `maxRecords` records at most. */
  pump(nowMs: number, maxRecords: number): void {
    if (this.#isClosed) return;
    const next = this.#next ?? this.#findPlace();
    if (next === undefined) return;
    this.#next = next;
    if (this.#sink.unsentBytes >= UNSENT_BYTES_MAX) {
      this.#blockedSinceMs ??= nowMs;
      if (nowMs - this.#blockedSinceMs > STUCK_MS) {
        this.close(TRY_AGAIN_LATER, 'the client does not read');
      }
      return;
    }
    this.#blockedSinceMs = undefined;
    const isLost = next < this.#tail.first;
    // Who comes back for what was missed gets it, however much; who was here is to see the present.
    const isBehind = this.#hasCaughtUp && this.#tail.end - next > BEHIND_RECORDS_MAX;
    this.#follow(isLost || isBehind ? this.#skip(next, isLost) : next, maxRecords);
  }

  /** Idempotent. */
  close(code: number, reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#sink.close(code, reason);
  }

  /** Where the client goes on, once the feed has begun. */
  #findPlace(): number | undefined {
    if (this.#tail.head.size === 0) return undefined;
    this.#position = new Map(this.#from ?? this.#tail.newest);
    const { number, isWhole } = this.#tail.find(this.#position);
    // A client that is cut before its first sample must know its place already.
    this.#send('hello', '');
    if (!isWhole) this.#sendGap();
    this.#hasCaughtUp = number === this.#tail.end;
    return number;
  }

  /** Sends entries from `next` on. */
  #follow(next: number, maxRecords: number): void {
    let text = '';
    let at = next;
    const last = Math.min(this.#tail.end, next + maxRecords);
    while (at < last && this.#sink.unsentBytes < UNSENT_BYTES_MAX) {
      const record = this.#tail.at(at);
      if (record === undefined) break;
      at += 1;
      if (!this.#pass(record)) continue;
      const rows = this.selection.rowsOf(record, this.#rows);
      if (rows === '') continue;
      text = text === '' ? rows : `${text},${rows}`;
      if (text.length >= MESSAGE_CHARS) {
        this.#sendSamples(text);
        text = '';
      }
    }
    if (text !== '') this.#sendSamples(text);
    this.#next = at;
    if (at === this.#tail.end) this.#hasCaughtUp = true;
  }

  /** Passes over what waits; the last value of each series stands for it. Where that ends. */
  #skip(next: number, isLost: boolean): number {
    if (isLost) this.#sendGap();
    const newest = new Map<string, { record: TailRecord; index: number; at: number }>();
    let passed = 0;
    for (let number = Math.max(next, this.#tail.first); number < this.#tail.end; number += 1) {
      const record = this.#tail.at(number)!;
      const taken = this.#pass(record) ? this.selection.of(record.nodeId, record.table) : null;
      if (taken === null) continue;
      const { series } = record.samples;
      for (let at = 0; at < series.length; at += 1) {
        const index = series[at]!;
        if (taken[index] !== 1) continue;
        passed += 1;
        newest.set(`${index} ${record.table.id}${record.nodeId}`, { record, index, at });
      }
    }
    const skipped = passed - newest.size;
    this.#skipped += skipped;
    this.#send('lag', `,"skipped":${skipped}`);
    const rows = [...newest.values()].map(({ record, index, at }) =>
      this.#rows.row(record, index, record.samples.timestampsMs[at]!, record.samples.values[at]!),
    );
    if (rows.length > 0) this.#sendSamples(rows.join(','));
    return this.#tail.end;
  }

  /** False: the client has the record already. */
  #pass({ source, seq }: TailRecord): boolean {
    if (seq <= (this.#position.get(source) ?? 0)) return false;
    this.#position.set(source, seq);
    return true;
  }

  #sendSamples(rows: string): void {
    this.#send('samples', `,"rows":[${rows}]`);
  }

  /** What lies between the client's place and the tail's first entry cannot be had here. */
  #sendGap(): void {
    this.#send('gap', `,"from":${JSON.stringify(formatPosition(this.#position))}`);
  }

  #send(type: string, body: string): void {
    const position = formatPosition(this.#position);
    const message = `{"type":"${type}","position":${JSON.stringify(position)}${body}}`;
    this.#sink.send(type, position, message);
  }
}
