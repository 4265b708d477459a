/**
 * What the collector has promised: every batch that was sent, and which of them it has
 * acknowledged. Kept outside of the daemon, and outlives its crashes.
 */
import type { BatchAck } from '../../src/domain/telemetry.ts';
import { SERIES, STRAYS } from './samples.ts';

export interface SentBatch {
  readonly node: number;
  readonly round: number;
  /** Some of its samples have to be refused. */
  readonly stray: boolean;
  readonly sentMs: number;
  /** Wall time of the first acknowledgement; undefined while nothing is promised. */
  ackedMs: number | undefined;
  /** How often it was answered ACCEPTED or PARTIAL: more than once is a double. */
  accepted: number;
  duplicates: number;
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
  #onAck: (batch: SentBatch) => void = () => {};

  /** Called at the first acknowledgement of each batch. */
  onAck(listener: (batch: SentBatch) => void): void {
    this.#onAck = listener;
  }

  get(node: number, round: number): SentBatch | undefined {
    return this.batches.get(`${node}/${round}`);
  }

  /** A batch is about to be sent, perhaps not for the first time. */
  sent(node: number, round: number, stray: boolean, atMs: number): SentBatch {
    const key = `${node}/${round}`;
    let batch = this.batches.get(key);
    if (batch === undefined) {
      batch = { node, round, stray, sentMs: atMs, ackedMs: undefined, accepted: 0, duplicates: 0 };
      this.batches.set(key, batch);
    }
    return batch;
  }

  /** A final answer. */
  answered(batch: SentBatch, ack: AckFacts, atMs: number): void {
    const wrong = this.#flaw(batch, ack);
    if (wrong !== undefined) this.#wrong(batch, atMs, wrong);
    if (ack.status === 'rejected' || ack.status === 'throttled') return;
    if (ack.status === 'duplicate') {
      batch.duplicates += 1;
      this.duplicateAnswers += 1;
    } else {
      batch.accepted += 1;
      if (batch.accepted > 1) this.#wrong(batch, atMs, 'accepted twice');
    }
    this.promised(batch, atMs);
  }

  /** The batch is known to be acknowledged. */
  promised(batch: SentBatch, atMs: number): void {
    if (batch.ackedMs !== undefined) return;
    batch.ackedMs = atMs;
    this.ackedSamples += goodSamples(batch);
    this.#onAck(batch);
  }

  #flaw(batch: SentBatch, ack: AckFacts): string | undefined {
    if (ack.status === 'duplicate' || ack.status === 'throttled') return undefined;
    if (ack.status === 'rejected') return `rejected: ${ack.message}`;
    const wanted = { accepted: goodSamples(batch), rejected: batch.stray ? STRAYS : 0 };
    if (ack.accepted === wanted.accepted && ack.rejected === wanted.rejected) return undefined;
    return `answered ${ack.status} with ${ack.accepted} accepted and ${ack.rejected} rejected`;
  }

  #wrong({ node, round }: SentBatch, atMs: number, what: string): void {
    this.wrongAnswerCount += 1;
    if (this.wrongAnswers.length < WRONG_KEPT) this.wrongAnswers.push({ node, round, atMs, what });
  }
}

/** Samples of a batch that the collector has to keep. */
export function goodSamples({ stray }: Pick<SentBatch, 'stray'>): number {
  return stray ? SERIES - STRAYS : SERIES;
}
