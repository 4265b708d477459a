/**
 * The seam between the journal and its writers: how far each of them has come. The journal keeps a
 * record until every cursor has passed it.
 */

/** How far a reader has come, and what became of the samples on the way. */
export interface CursorProgress {
  /** Every record up to this seq is safely at its destination, or dead-lettered. */
  readonly cursor: number;
  /**
   * Samples found safe since the last progress: counted from what the destination took, not from
   * the distance the cursor moved.
   */
  readonly writtenSamples: number;
  /** Samples given up since the last progress. */
  readonly deadLetteredSamples: number;
}

/** The cursors of a journal, one for each writer it was opened with. */
export interface Cursors {
  /** The record up to which `writer` has everything at its destination. */
  cursor(writer: string): number;
  /** Samples that `writer` still has to write. */
  pendingSamples(writer: string): number;
  /**
   * Moves a cursor forward and books what became of the samples, in one step. Resolves once that is
   * durable. Rejects with OperatingError where it fails; then the cursor has not moved.
   */
  commitCursor(writer: string, progress: CursorProgress): Promise<void>;
}

/** Two reports in a row as one. */
export function mergeProgress(
  earlier: CursorProgress | undefined,
  later: CursorProgress,
): CursorProgress {
  if (earlier === undefined) return later;
  return {
    cursor: later.cursor,
    writtenSamples: earlier.writtenSamples + later.writtenSamples,
    deadLetteredSamples: earlier.deadLetteredSamples + later.deadLetteredSamples,
  };
}
