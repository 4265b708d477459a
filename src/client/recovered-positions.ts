/**
 * Where the batches of earlier runs stand in the order of sending. Positions lie apart so that the
 * span which may be under way (AckLedger) keeps within what a collector remembers of a node: of
 * each epoch a window of sequences, and of the epochs those that were used last.
 */
import type { SpooledBatch } from './spool.ts';

/** A gap between two numbers of an epoch that is as good as any larger one: see AckLedger. */
const MAX_POSITION_GAP = 1024;
/**
 * Batches of about so many epochs may be under way at once: half of those that a collector
 * remembers. With more, it could forget the epoch of a batch that it has sent back, and refuse it.
 */
const EPOCHS_UNDER_WAY = 4;

export interface RecoveredPositions {
  /** Of each batch. */
  readonly positions: readonly number[];
  /** Where new batches begin, which have an epoch of their own. */
  readonly next: number;
}

/** `batches` come in order; `span` is what may be under way, in positions. */
export function recoveredPositions(
  batches: readonly SpooledBatch[],
  firstPosition: number,
  span: number,
): RecoveredPositions {
  const epochGap = Math.ceil(span / EPOCHS_UNDER_WAY);
  const positions: number[] = [];
  let next = firstPosition;
  let previous: SpooledBatch | undefined;
  for (const batch of batches) {
    // Within an epoch, positions lie as far apart as sequences do.
    if (previous?.epoch === batch.epoch) {
      next += Math.min(batch.sequence - previous.sequence, MAX_POSITION_GAP);
    } else if (previous !== undefined) next += epochGap;
    positions.push(next);
    previous = batch;
  }
  return { positions, next: previous === undefined ? next : next + epochGap };
}
