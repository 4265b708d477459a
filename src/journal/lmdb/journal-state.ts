/**
 * What the journal knows of itself besides the records, and how it is read at open: a handful of
 * rows and the producers' windows, never the records, however long the backlog.
 */
import { randomUUID } from 'node:crypto';
import { OperatingError } from '../../lib/errors.ts';
import type { Cursor } from './cursors.ts';
import { type JournalEnvironment, readJson } from './environment.ts';
import { EMPTY_BOOKS, type LedgerSnapshot } from '../ledger.ts';
import { ORIGIN, type Position, readPosition } from './record.ts';

export const STATE_KEY = 'state';
export const IDENTITY_KEY = 'identity';

/** Written with every transaction of the journal. */
export interface StoredState {
  /** The newest record, which may have been removed since. */
  readonly head: Position;
  /** The newest record that has been removed. */
  readonly tail: Position;
  /** Sequences that fell out of a producer's window without having been seen. */
  readonly gaps: number;
  /** True only between a close and the next open. */
  readonly clean: boolean;
  readonly ledger: LedgerSnapshot;
}

/** Records up to `lastSeq` are the same as in the journal of that id. */
export interface JournalAncestor {
  readonly id: string;
  readonly lastSeq: number;
}

/** Written once, and again when the journal turns out to be an older copy of itself. */
export interface JournalIdentity {
  readonly id: string;
  readonly createdAtMs: number;
  /** What this journal was restored from, oldest first; absent where it never was. */
  readonly ancestors?: readonly JournalAncestor[];
}

const EMPTY_STATE: StoredState = {
  head: ORIGIN,
  tail: ORIGIN,
  gaps: 0,
  clean: true,
  ledger: EMPTY_BOOKS,
};

/** The identity of a journal that is being made. */
export function newIdentity(nowMs: number): JournalIdentity {
  return { id: randomUUID(), createdAtMs: nowMs };
}

/** The identity of a journal that goes on from `headSeq` of an older copy of `stored`. */
export function forkIdentity(
  stored: JournalIdentity,
  headSeq: number,
  nowMs: number,
): JournalIdentity {
  const ancestors = [...(stored.ancestors ?? []), { id: stored.id, lastSeq: headSeq }];
  return { ...newIdentity(nowMs), ancestors };
}

/** Reads the state and holds it against the log's last record. Throws JOURNAL_DAMAGED. */
export function loadState(env: JournalEnvironment): StoredState {
  const state = readJson<StoredState>(env.tables.meta, STATE_KEY) ?? EMPTY_STATE;
  const last = env.lastLogSeq() ?? state.tail.seq;
  if (last !== state.head.seq) {
    throw new OperatingError(
      'JOURNAL_DAMAGED',
      `cannot open journal ${env.dir}: its last record is ${last}, should be ${state.head.seq}`,
    );
  }
  return state;
}

/** The cursors as stored, by writer. */
export function loadCursors(env: JournalEnvironment): Map<string, Cursor> {
  const cursors = new Map<string, Cursor>();
  for (const { key, value } of env.tables.cursors.getRange()) {
    const stored = JSON.parse(Buffer.from(value).toString('utf8')) as Cursor;
    cursors.set(key, { ...stored, requeued: stored.requeued ?? 0 });
  }
  return cursors;
}

/**
 * A writer that is new here gets everything still in the log; what is gone was accepted before it
 * existed.
 */
export function newCursor(tail: Position): Cursor {
  return {
    position: tail,
    written: 0,
    deadLettered: 0,
    skipped: tail.cumulativeSamples,
    requeued: 0,
  };
}

const MAX_DAMAGED_RUN = 1000;

/**
 * The position after the record `seq`. Where that record is damaged, the next intact one tells: its
 * own position less itself. Where none follows soon, the head's figures are taken.
 */
export function positionOf(env: JournalEnvironment, seq: number, head: Position): Position {
  if (seq === head.seq) return head;
  for (let next = seq; next <= Math.min(head.seq, seq + MAX_DAMAGED_RUN); next += 1) {
    const bytes = env.logBytes(next);
    const found = bytes === undefined ? undefined : readPosition(next, bytes);
    if (found === undefined) continue;
    const { cumulativeSamples, cumulativeBytes, samples } = found;
    if (next === seq) return { seq, cumulativeSamples, cumulativeBytes };
    return { seq, cumulativeSamples: cumulativeSamples - samples, cumulativeBytes };
  }
  return { ...head, seq };
}
