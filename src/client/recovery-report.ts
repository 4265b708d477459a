/**
 * What became of the batches that earlier runs left in the spool, told once when the last of them
 * has its verdict. Many that the collector had already are the sign of a spool directory that was
 * put back to an older copy; a few are what a crash leaves.
 */
import type { Logger } from 'pino';
import type { BatchFate } from './client-stats.ts';

export class RecoveryReport {
  readonly #logger: Logger;
  readonly #fates = new Map<BatchFate, number>();
  #open = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Notes that the spool holds these. */
  found(fields: { batches: number; samples: number; epoch: number }): void {
    this.#open = fields.batches;
    if (fields.batches === 0) return;
    this.#logger.info(fields, 'found batches of earlier runs in the spool; they are sent first');
  }

  /** Notes what became of one of them. */
  settled(fate: BatchFate): void {
    this.#fates.set(fate, (this.#fates.get(fate) ?? 0) + 1);
    this.#open -= 1;
    if (this.#open > 0 || this.#fates.has('spooled')) return;
    const count = (wanted: BatchFate) => this.#fates.get(wanted) ?? 0;
    const fields = {
      acked: count('acked'),
      duplicate: count('duplicate'),
      rejected: count('rejected'),
      dropped: count('dropped'),
    };
    this.#logger.info(
      fields,
      fields.duplicate === 0
        ? 'the batches of earlier runs have been sent'
        : 'the batches of earlier runs have been sent; the collector had already those that are ' +
            'counted as duplicate',
    );
  }
}
