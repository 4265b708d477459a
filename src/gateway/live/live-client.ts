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
/** A client that is so many records behind skips to the end. */
const BEHIND_RECORDS_MAX = 20_000;
/** Records of one client in one turn, so that one that resumes does not hold up the others. */
const RECORDS_PER_TURN = 2000;
const STUCK_MS = 30_000;
/** Of RFC 6455: try again later. */
const TRY_AGAIN_LATER = 1013;

export class LiveClient {
  readonly selection: Selection;
  readonly #tail: Tail;
  readonly #rows: RowTexts;
  readonly #sink: LiveSink;
  /** The next entry to send. */
  #next: number;
  /** Behind what was sent. */
  readonly #position: Map<string, number>;
  #blockedSinceMs: number | undefined;
  #isClosed = false;
  #skipped = 0;

  /** Starts at `from`, or with what comes next. */
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
    this.#position = new Map(from ?? tail.head);
    const { number, isWhole } =
      from === undefined ? { number: tail.end, isWhole: true } : tail.find(from);
    this.#next = number;
    if (!isWhole) this.#sendGap();
  }

  /** Samples that this client did not get because it was too slow. */
  get skipped(): number {
    return this.#skipped;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sends what there is and what the client can take. True: there is more to send. */
  pump(nowMs: number): boolean {
    if (this.#isClosed) return false;
    if (this.#sink.unsentBytes >= UNSENT_BYTES_MAX) {
      this.#blockedSinceMs ??= nowMs;
      if (nowMs - this.#blockedSinceMs > STUCK_MS) {
        this.close(TRY_AGAIN_LATER, 'the client does not read');
      }
      return false;
    }
    this.#blockedSinceMs = undefined;
    const isLost = this.#next < this.#tail.first;
    if (isLost || this.#tail.end - this.#next > BEHIND_RECORDS_MAX) this.#skip(isLost);
    return this.#follow();
  }

  /** Idempotent. */
  close(code: number, reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#sink.close(code, reason);
  }

  #follow(): boolean {
    let text = '';
    const last = Math.min(this.#tail.end, this.#next + RECORDS_PER_TURN);
    while (this.#next < last && this.#sink.unsentBytes < UNSENT_BYTES_MAX) {
      const record = this.#tail.at(this.#next);
      if (record === undefined) break;
      this.#next += 1;
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
    return this.#next < this.#tail.end && this.#sink.unsentBytes < UNSENT_BYTES_MAX;
  }

  /** Passes over what waits; the last value of each series stands for it. */
  #skip(isLost: boolean): void {
    if (isLost) this.#sendGap();
    this.#next = Math.max(this.#next, this.#tail.first);
    const newest = new Map<string, { record: TailRecord; index: number; at: number }>();
    let passed = 0;
    for (; this.#next < this.#tail.end; this.#next += 1) {
      const record = this.#tail.at(this.#next)!;
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
    this.#send('lag', `"skipped":${skipped}`);
    const rows = [...newest.values()].map(({ record, index, at }) =>
      this.#rows.row(record, index, record.samples.timestampsMs[at]!, record.samples.values[at]!),
    );
    if (rows.length > 0) this.#sendSamples(rows.join(','));
  }

  /** False: the client has the record already. */
  #pass({ source, seq }: TailRecord): boolean {
    if (seq <= (this.#position.get(source) ?? 0)) return false;
    this.#position.set(source, seq);
    return true;
  }

  #sendSamples(rows: string): void {
    this.#send('samples', `"rows":[${rows}]`);
  }

  /** What lies between the client's place and the tail's first entry cannot be had here. */
  #sendGap(): void {
    this.#send('gap', `"from":${JSON.stringify(formatPosition(this.#position))}`);
  }

  #send(type: string, body: string): void {
    const position = formatPosition(this.#position);
    const message = `{"type":"${type}","position":${JSON.stringify(position)},${body}}`;
    this.#sink.send(type, position, message);
  }
}
