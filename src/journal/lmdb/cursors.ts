/**
 * How far each writer has come, what it has written and given up, and the moves that wait for a
 * transaction. Moves of one writer that wait together become one.
 */
import { assert } from '../../lib/errors.ts';
import { type CursorProgress, mergeProgress } from '../cursors.ts';
import type { WriterLedger } from '../ledger.ts';
import type { Position } from './record.ts';

/** A writer's row, as it is stored. */
export interface Cursor extends WriterLedger {
  readonly position: Position;
}

/** What one transaction changes for one writer. */
export interface CursorMove {
  readonly writer: string;
  readonly progress: CursorProgress;
  readonly waiting: readonly CursorWaiter[];
}

export interface CursorWaiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Cursors {
  readonly #rows = new Map<string, Cursor>();
  readonly #moves = new Map<string, CursorMove>();
  /** Moves that a transaction has taken and not settled yet: writer → seq. */
  readonly #taken = new Map<string, number>();

  /** At the opening, before anything else. */
  add(writer: string, row: Cursor): void {
    this.#rows.set(writer, row);
  }

  get rows(): ReadonlyMap<string, Cursor> {
    return this.#rows;
  }

  /** The row of `writer`, which must be one the journal was opened with. */
  row(writer: string): Cursor {
    const row = this.#rows.get(writer);
    assert(row !== undefined, `no cursor of a writer ${writer}`);
    return row;
  }

  get waiting(): boolean {
    return this.#moves.size > 0;
  }

  request(writer: string, progress: CursorProgress, waiter: CursorWaiter): void {
    const { cursor, writtenSamples, deadLetteredSamples } = progress;
    const earlier = this.#moves.get(writer);
    const from =
      earlier?.progress.cursor ?? this.#taken.get(writer) ?? this.row(writer).position.seq;
    assert(cursor >= from, `cursor of ${writer} would go back from ${from} to ${cursor}`);
    assert(Math.min(writtenSamples, deadLetteredSamples) >= 0, 'negative number of samples');
    this.#moves.set(writer, {
      writer,
      progress: mergeProgress(earlier?.progress, progress),
      waiting: [...(earlier?.waiting ?? []), waiter],
    });
  }

  take(): CursorMove[] {
    const moves = [...this.#moves.values()];
    for (const { writer, progress } of moves) this.#taken.set(writer, progress.cursor);
    this.#moves.clear();
    return moves;
  }

  succeed(moves: readonly CursorMove[], rows: ReadonlyMap<string, Cursor>): void {
    for (const [writer, row] of rows) this.#rows.set(writer, row);
    for (const { writer, waiting } of moves) {
      this.#taken.delete(writer);
      for (const { resolve } of waiting) resolve();
    }
  }

  fail(moves: readonly CursorMove[], error: Error): void {
    for (const { writer, waiting } of moves) {
      this.#taken.delete(writer);
      for (const { reject } of waiting) reject(error);
    }
  }

  /** Where everybody has been; undefined without writers. */
  slowest(rows: ReadonlyMap<string, Cursor> = this.#rows): Position | undefined {
    let slowest: Position | undefined;
    for (const { position } of rows.values()) {
      if (slowest === undefined || position.seq < slowest.seq) slowest = position;
    }
    return slowest;
  }
}

/**
 * A writer's row once it was put back to `position`, because its destination lost what came after:
 * it gets those samples again.
 */
export function rewindCursor(row: Cursor, position: Position): Cursor {
  const again = row.position.cumulativeSamples - position.cumulativeSamples;
  assert(again >= 0, 'cumulative samples go back');
  return { ...row, position, requeued: row.requeued + again };
}

/**
 * A writer's row once it is at `position`. What the writer counted is booked as it is: if that is
 * not what the cursor passed, the ledger shows it (ledger.ts).
 */
export function moveCursor(row: Cursor, position: Position, progress: CursorProgress): Cursor {
  const passed = position.cumulativeSamples - row.position.cumulativeSamples;
  assert(passed >= 0, 'cumulative samples go back');
  return {
    ...row,
    position,
    written: row.written + progress.writtenSamples,
    deadLettered: row.deadLettered + progress.deadLetteredSamples,
  };
}
