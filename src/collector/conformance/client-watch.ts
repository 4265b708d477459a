/**
 * Follows every batch of the client under test, over all its connections, and holds it to the rules
 * that apply at any time. Pure bookkeeping: its owner reports what arrived and what was answered.
 *
 *     open ──final answer──► final          (THROTTLED, or no answer: stays open)
 *
 * An answer counts as received if its connection is still open RECEIVED_AFTER_MS later: a client is
 * not to blame for an answer that a close cut off.
 */
import { createHash } from 'node:crypto';
import { encodeBatch } from '../../codec/encode-batch.ts';
import type { AckStatus, Batch, Hello } from '../../domain/telemetry.ts';
import type { Judge } from './rules.ts';

/** Far over any round trip on one machine. */
const RECEIVED_AFTER_MS = 1000;
/** Clocks of two processes, and timers, are this far apart at most. */
const EARLY_MS = 20;

/** One batch of the client, however often it came. */
export interface WatchedBatch {
  readonly epoch: number;
  readonly sequence: number;
  readonly samples: number;
  readonly content: string;
  arrivals: number;
  /** Undefined while the client is owed a final answer. */
  final: { readonly atMs: number; readonly connection: number } | undefined;
  /** Not to be sent again before; 0 where nothing was asked. */
  notBeforeMs: number;
}

export class ClientWatch {
  readonly #judge: Judge;
  readonly #nodeId: string;
  readonly #batches = new Map<string, WatchedBatch>();
  readonly #closedAtMs = new Map<number, number>();
  readonly #highest = new Map<number, number>();
  #newestEpoch = -1;

  constructor(judge: Judge, nodeId: string) {
    this.#judge = judge;
    this.#nodeId = nodeId;
  }

  /** Batches in order of their first arrival. */
  get batches(): readonly WatchedBatch[] {
    return [...this.#batches.values()];
  }

  get open(): readonly WatchedBatch[] {
    return this.batches.filter(({ final }) => final === undefined);
  }

  connectionClosed(connection: number, nowMs: number): void {
    this.#closedAtMs.set(connection, nowMs);
  }

  /** A batch came over a connection; `namesTable` where it named its table. */
  arrived(
    batch: Batch,
    from: { connection: number; hello: Hello; namesTable: boolean },
    nowMs: number,
  ): WatchedBatch {
    const { epoch, sequence, nodeId } = batch;
    this.#judge.saw('frames');
    this.#judge.saw('tables');
    this.#judge.saw('limits');
    this.#check('identity', nodeId === '' || nodeId === this.#nodeId, `node_id is "${nodeId}"`);
    if (from.namesTable && !from.hello.acceptsSeriesTableId) {
      this.#judge.fail('tables', `${epoch}/${sequence} names a table, which Hello did not allow`);
    }
    const content = contentOf(batch);
    const key = `${epoch}/${sequence}`;
    const known = this.#batches.get(key);
    if (known !== undefined) {
      this.#cameAgain(known, content, from.connection, nowMs);
      return known;
    }
    const samples = batch.samples.values.length;
    const fate = { arrivals: 1, final: undefined, notBeforeMs: 0 };
    const watched: WatchedBatch = { epoch, sequence, samples, content, ...fate };
    this.#checkNumber(epoch, sequence);
    this.#batches.set(key, watched);
    this.#checkWindow(epoch, sequence, from.hello.sequenceWindow);
    return watched;
  }

  /** An answer was written, which the client knows by the numbers or by the frame. */
  answered(
    batch: WatchedBatch,
    status: AckStatus,
    by: { connection: number; retryAfterMs: number },
    nowMs: number,
  ): void {
    if (status === 'throttled') batch.notBeforeMs = nowMs + by.retryAfterMs;
    else batch.final = { atMs: nowMs, connection: by.connection };
  }

  #cameAgain(known: WatchedBatch, content: string, connection: number, nowMs: number): void {
    known.arrivals += 1;
    const name = `${known.epoch}/${known.sequence}`;
    this.#check('resend', known.content === content, `${name} came again with other content`);
    if (known.notBeforeMs > 0) {
      const early = Math.round(known.notBeforeMs - nowMs);
      this.#check('throttled', early <= EARLY_MS, `${name} came ${early} ms too early`);
      known.notBeforeMs = 0;
    }
    if (known.final === undefined) return;
    const endMs = this.#closedAtMs.get(known.final.connection) ?? nowMs;
    if (endMs - known.final.atMs < RECEIVED_AFTER_MS) {
      known.final = undefined;
      return;
    }
    const where = known.final.connection === connection ? '' : ' over another connection';
    this.#judge.fail('final', `${name} came again${where} after its final answer`);
  }

  #checkNumber(epoch: number, sequence: number): void {
    if (sequence === 0) {
      this.#judge.fail('numbers', 'sequence 0 switches deduplication off');
      return;
    }
    const highest = this.#highest.get(epoch) ?? 0;
    if (highest === 0) {
      this.#check('numbers', epoch > this.#newestEpoch, `epoch ${epoch} is not larger`);
      this.#newestEpoch = Math.max(this.#newestEpoch, epoch);
    }
    const isNext = sequence === highest + 1 || (highest > 0 && sequence < highest);
    this.#check('numbers', isNext, `sequence ${sequence} of ${epoch} came after ${highest}`);
    this.#highest.set(epoch, Math.max(highest, sequence));
  }

  #checkWindow(epoch: number, sequence: number, window: number): void {
    let lowest = sequence;
    for (const batch of this.#batches.values()) {
      if (batch.epoch !== epoch || batch.final !== undefined) continue;
      lowest = Math.min(lowest, batch.sequence);
    }
    const span = sequence - lowest;
    this.#check('window', span < window, `${sequence} was sent while ${lowest} was unanswered`);
  }

  #check(rule: Parameters<Judge['saw']>[0], isKept: boolean, why: string): void {
    if (isKept) this.#judge.saw(rule);
    else this.#judge.fail(rule, why);
  }
}

/** Two batches with equal content have it, whether the table came along or was named. */
function contentOf(batch: Batch): string {
  return createHash('sha256').update(encodeBatch(batch)).digest('hex');
}
