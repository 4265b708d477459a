/**
 * Where a reader starts: what it asks for, held against what the journal has. Pure.
 */
import type { ClosingWord, FeedStart } from '../../feed/feed-contract.ts';

/** The journal and the warehouse at this moment. */
export interface FeedPlace {
  readonly source: string;
  readonly headSeq: number;
  /** The newest record that is gone. */
  readonly tailSeq: number;
  /** Everything up to here is in warehouse files. */
  readonly cursor: number;
  readonly hasFiles: boolean;
}

/** The seq after which the reader starts, or why it cannot. */
export type StartVerdict =
  | { readonly ok: true; readonly seq: number }
  | { readonly ok: false; readonly word: ClosingWord; readonly message: string };

export function startSeq(start: FeedStart, place: FeedPlace): StartVerdict {
  const { source, headSeq, tailSeq, cursor, hasFiles } = place;
  if (start.at === 'cursor') return { ok: true, seq: hasFiles ? cursor : tailSeq };
  const seq = start.position.get(source);
  if (seq === undefined) {
    const message = `the position does not name the source ${source}: start at the cursor`;
    return { ok: false, word: 'unknown_source', message };
  }
  if (seq > headSeq) {
    const message = `position ${seq} of ${source} is beyond its newest record, ${headSeq}`;
    return { ok: false, word: 'unknown_position', message };
  }
  if (seq < tailSeq)
    return { ok: false, word: 'position_gone', message: goneMessage(seq, tailSeq) };
  return { ok: true, seq };
}

/** In words, for a reader that is at `seq`. */
export function goneMessage(seq: number, tailSeq: number): string {
  return (
    `the journal has let go of records ${seq + 1} to ${tailSeq}: ` +
    'take them from warehouse files and start at the cursor'
  );
}
