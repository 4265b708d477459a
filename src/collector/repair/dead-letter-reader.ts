/**
 * Dead-letter files read back: what is in them, and which lines are no letters.
 */
import path from 'node:path';
import type { FileSystem } from '../../lib/filesystem.ts';

/** A letter as it stands in a file. */
export interface StoredLetter {
  readonly time: string;
  readonly writer: string;
  readonly reason: string;
  readonly status: number;
  readonly node: string;
  readonly seq: number;
  readonly samples: number;
  /** What was refused; '' where there is nothing to send again. */
  readonly line: string;
}

export interface DeadLetterFileContent {
  readonly letters: readonly StoredLetter[];
  /** Lines that are no letters, such as the half line that a crash leaves. */
  readonly torn: readonly string[];
}

/** Files with letters, by name; those that a replay has put aside are among them. */
export function listDeadLetterFiles(fs: FileSystem, dir: string): string[] {
  return fs
    .list(dir)
    .filter(({ name, isDirectory }) => !isDirectory && /\.jsonl(\.replaying)?$/.test(name))
    .map(({ name }) => path.join(dir, name));
}

/** Reads one file, which is at most some 64 MiB. Throws what the file system says. */
export function readDeadLetters(fs: FileSystem, file: string): DeadLetterFileContent {
  const letters: StoredLetter[] = [];
  const torn: string[] = [];
  for (const line of fs.readFile(file).toString('utf8').split('\n')) {
    if (line === '') continue;
    const letter = parseLetter(line);
    if (letter === undefined) torn.push(line);
    else letters.push(letter);
  }
  return { letters, torn };
}

function parseLetter(text: string): StoredLetter | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const letter = value as Partial<Record<keyof StoredLetter, unknown>>;
  const hasTexts = [letter.time, letter.writer, letter.reason, letter.node, letter.line].every(
    (field) => typeof field === 'string',
  );
  const hasNumbers = [letter.status, letter.seq, letter.samples].every(Number.isFinite);
  return hasTexts && hasNumbers ? (letter as StoredLetter) : undefined;
}
