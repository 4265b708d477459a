/**
 * What a reader of the log reports to move its cursor.
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
