/**
 * What the collector has promised: every batch that was sent, and which of them it has
 * acknowledged. Kept outside of the daemon, and outlives its crashes.
 *
 * A promise can end: a rollback takes what only the rolled-back store held. Who rolls back knows
 * what that was and says so here; everything else stays owed.
 */
import type { BatchAck } from '../../src/domain/telemetry.ts';
import { type BatchForm, SERIES, STRAYS } from './samples.ts';

export interface SentBatch {
  readonly node: number;
  readonly round: number;
  readonly form: BatchForm;
  readonly sentMs: number;
  /** Wall time of the first acknowledgement; undefined while nothing is promised. */
  ackedMs: number | undefined;
  /** How often it was answered ACCEPTED or PARTIAL: more than once is a double. */
  accepted: number;
  duplicates: number;
  /** Samples that were accepted, where an answer has said so. */
  kept: number | undefined;
  /** Sends that have no final answer yet. */
  open: number;
  /** A rollback took its rows: they may be missing. Its points: the same in InfluxDB. */
  readonly excused: { rows: boolean; points: boolean; doubles: boolean };
}

/** Something that no answer may say. */
export interface WrongAnswer {
  readonly node: number;
  readonly round: number;
  readonly atMs: number;
  readonly what: string;
}

export type AckFacts = Pick<BatchAck, 'status' | 'accepted' | 'rejected' | 'message'>;

/** Wrong answers kept word for word; all are counted. */
const WRONG_KEPT = 20;

export class Obligations {
  readonly batches = new Map<string, SentBatch>();
  readonly wrongAnswers: WrongAnswer[] = [];
  wrongAnswerCount = 0;
  ackedSamples = 0;
  duplicateAnswers = 0;
  /** Samples that answers have said to be rejected. */
  rejectedSamples = 0;
  /**
   * Whether the daemon may have thought all times wrong at some moment of a span, Unix ms: then it
   * may refuse all of a batch.
   */
  mayRefuseTimes: (fromMs: number, toMs: number) => boolean = () => false;
  #onAck: (batch: SentBatch) => void = () => {};

  /** Called at the first acknowledgement of each batch. */
  onAck(listener: (batch: SentBatch) => void): void {
    this.#onAck = listener;
  }

  get(node: number, round: number): SentBatch | undefined {
    return this.batches.get(`${node}/${round}`);
  }

  /** A batch is about to be sent, perhaps not for the first time. */
  sent(node: number, round: number, form: BatchForm, atMs: number): SentBatch {
    const key = `${node}/${round}`;
    let batch = this.batches.get(key);
    if (batch === undefined) {
      batch = {
        ...{ node, round, form, sentMs: atMs, ackedMs: undefined, accepted: 0, duplicates: 0 },
        ...{ kept: undefined, open: 0, excused: { rows: false, points: false, doubles: false } },
      };
      this.batches.set(key, batch);
    }
    batch.open += 1;
    return batch;
  }

  /** A final answer. */
  answered(batch: SentBatch, ack: AckFacts, atMs: number): void {
    batch.open -= 1;
    const wrong = this.#flaw(batch, ack, atMs);
    if (wrong !== undefined) this.#wrong(batch, atMs, wrong);
    if (ack.status === 'rejected' || ack.status === 'throttled') return;
    if (ack.status === 'duplicate') {
      batch.duplicates += 1;
      this.duplicateAnswers += 1;
    } else {
      batch.accepted += 1;
      batch.kept = ack.accepted;
      this.rejectedSamples += ack.rejected;
      if (batch.accepted > 1 && !batch.excused.doubles) this.#wrong(batch, atMs, 'accepted twice');
    }
    this.promised(batch, atMs);
  }

  /** A send will never be answered: its agent has given it up. */
  givenUp(batch: SentBatch): void {
    batch.open -= 1;
  }

  /** The batch is known to be acknowledged. */
  promised(batch: SentBatch, atMs: number): void {
    if (batch.ackedMs !== undefined) {
      // Another connection's answer came first and said DUPLICATE of what was refused.
      if (batch.kept === 0) batch.ackedMs = undefined;
      return;
    }
    if (batch.kept === 0) return;
    // A duplicate of what? The answer that said so may be lost.
    if (batch.kept === undefined && this.mayRefuseTimes(batch.sentMs, atMs)) return;
    batch.ackedMs = atMs;
    this.ackedSamples += goodSamples(batch);
    this.#onAck(batch);
  }

  #flaw(batch: SentBatch, ack: AckFacts, atMs: number): string | undefined {
    if (ack.status === 'duplicate' || ack.status === 'throttled') return undefined;
    if (ack.status === 'rejected') return `rejected: ${ack.message}`;
    const { stray, scattered } = batch.form;
    const good = stray ? SERIES - STRAYS : SERIES;
    const isWhole = ack.accepted + ack.rejected === SERIES;
    // Hours beyond a bound may be refused, whichever they are.
    if (isWhole && scattered && ack.accepted <= good) return undefined;
    if (isWhole && ack.accepted === good) return undefined;
    if (isWhole && ack.accepted === 0 && this.mayRefuseTimes(batch.sentMs, atMs)) return undefined;
    return `answered ${ack.status} with ${ack.accepted} accepted and ${ack.rejected} rejected`;
  }

  #wrong({ node, round }: SentBatch, atMs: number, what: string): void {
    this.wrongAnswerCount += 1;
    if (this.wrongAnswers.length < WRONG_KEPT) this.wrongAnswers.push({ node, round, atMs, what });
  }
}

/** Samples of a batch that the collector has to keep, once it has promised anything. */
export function goodSamples({ form, kept }: Pick<SentBatch, 'form' | 'kept'>): number {
  if (form.scattered) return kept ?? 0;
  return form.stray ? SERIES - STRAYS : SERIES;
}

/** Samples of a batch that may be there, at most. */
export function possibleSamples(batch: Pick<SentBatch, 'form' | 'kept'>): number {
  if (batch.form.scattered) return batch.kept ?? SERIES;
  return goodSamples(batch);
}
