/**
 * What a warehouse says about itself: how far the files in it go, and how far the journal went when
 * that was written.
 *
 *     <root>/.owners/<collector>/progress.json
 *
 * The note is durable before the journal's cursor moves, so it is never behind the cursor, and the
 * journal is never behind the note, unless one of the two was restored from an older copy. The
 * files themselves cannot tell that: retention removes the newest as well as the oldest.
 */
import path from 'node:path';
import type { FileSystem } from '../lib/filesystem.ts';
import { ownerDirectory } from './warehouse.ts';

export interface ProgressNote {
  /** Which journal the numbers belong to. */
  readonly journalId: string;
  /** Every record up to here is in the warehouse. */
  readonly cursor: number;
  /** The journal's newest record at that time. */
  readonly headSeq: number;
}

/** A journal, and those of which it was an older copy. */
export interface JournalLineage {
  readonly id: string;
  readonly ancestors?: readonly { readonly id: string; readonly lastSeq: number }[];
}

/** The note as it is on disk; undefined where there is none that can be read. */
export function readProgressNote(
  fs: FileSystem,
  root: string,
  collectorId: string,
): ProgressNote | undefined {
  const file = noteFile(root, collectorId);
  if (!fs.exists(file)) return undefined;
  try {
    const note = JSON.parse(fs.readFile(file).toString('utf8')) as Partial<ProgressNote>;
    const { journalId, cursor, headSeq } = note;
    if (typeof journalId !== 'string') return undefined;
    if (typeof cursor !== 'number' || typeof headSeq !== 'number') return undefined;
    return { journalId, cursor, headSeq };
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Replaces the note, and returns once the new one is on disk. */
export function writeProgressNote(
  fs: FileSystem,
  root: string,
  collectorId: string,
  note: ProgressNote,
): void {
  const file = noteFile(root, collectorId);
  const directory = path.dirname(file);
  if (!fs.exists(directory)) {
    fs.makeDirectory(directory);
    fs.syncDirectory(path.dirname(directory));
    fs.syncDirectory(root);
  }
  const unfinished = fs.openForWriting(`${file}.new`);
  try {
    unfinished.write(Buffer.from(`${JSON.stringify(note)}\n`));
    unfinished.sync();
  } finally {
    unfinished.close();
  }
  fs.rename(`${file}.new`, file);
  fs.syncDirectory(directory);
}

/**
 * Up to which record of the journal a warehouse with this note holds everything. Undefined where
 * the note is missing or about a journal that has nothing to do with this one: that proves nothing.
 */
export function heldUpTo(
  note: ProgressNote | undefined,
  { id, ancestors = [] }: JournalLineage,
): number | undefined {
  if (note === undefined) return undefined;
  if (note.journalId === id) return note.cursor;
  const ancestor = ancestors.find((one) => one.id === note.journalId);
  return ancestor === undefined ? undefined : Math.min(note.cursor, ancestor.lastSeq);
}

function noteFile(root: string, collectorId: string): string {
  return path.join(ownerDirectory(root, collectorId), 'progress.json');
}
