/**
 * The file of what could not be written: one JSON line per refused line or damaged record, kept for
 * a person to look at and, once mended, to send again.
 *
 *     <dead-letter directory>/<writer>-2026-01-31.jsonl      then -2026-01-31.1.jsonl, .2.jsonl …
 *
 * Guarantees: a letter is on disk before the cursor passes its record; after a crash a letter may
 * be there twice, never not at all. When the files of a writer reach their total bound, no letter
 * is thrown away: `append` throws, the writer waits and says so, until somebody has moved files
 * away.
 */
import path from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { OperatingError } from '../../lib/errors.ts';
import type { FileSystem, WritableFile } from '../../lib/filesystem.ts';
import type { DeadLetter, WriterName } from './writer.ts';

export interface DeadLetterBounds {
  readonly maxFileBytes: number;
  /** Over all files of the writer. */
  readonly maxTotalBytes: number;
}

export const DEAD_LETTER_BOUNDS: DeadLetterBounds = {
  maxFileBytes: 64 * 1024 * 1024,
  maxTotalBytes: 1024 * 1024 * 1024,
};

const LINE_FEED = 10;

/** The dead-letter files of one writer; see the head of this file. */
export class DeadLetterFile {
  readonly #fs: FileSystem;
  readonly #clock: Clock;
  readonly #dir: string;
  readonly #writer: WriterName;
  readonly #bounds: DeadLetterBounds;
  #letters = 0;

  constructor(
    fs: FileSystem,
    clock: Clock,
    options: { dir: string; writer: WriterName; bounds?: DeadLetterBounds },
  ) {
    this.#fs = fs;
    this.#clock = clock;
    this.#dir = options.dir;
    this.#writer = options.writer;
    this.#bounds = options.bounds ?? DEAD_LETTER_BOUNDS;
  }

  /** Letters kept since this object was made. */
  get letters(): number {
    return this.#letters;
  }

  /**
   * Returns once `letters` are on disk. Throws OperatingError DEAD_LETTER_FULL at the total bound,
   * or what the disk says; then none of them counts as kept.
   */
  append(letters: readonly DeadLetter[]): void {
    if (letters.length === 0) return;
    const time = new Date(this.#clock.nowMs()).toISOString();
    const lines = letters.map((letter) => jsonLine(time, this.#writer, letter));
    const bytes = Buffer.from(lines.join(''));
    if (!this.#fs.exists(this.#dir)) {
      this.#fs.makeDirectory(this.#dir);
      this.#fs.syncDirectory(path.dirname(this.#dir));
    }
    this.#checkTotal(bytes.length);
    const { file, isNew } = this.#openFor(time.slice(0, 10), bytes.length);
    try {
      file.write(bytes);
      file.sync();
    } finally {
      file.close();
    }
    if (isNew) this.#fs.syncDirectory(this.#dir);
    this.#letters += letters.length;
  }

  #checkTotal(bytes: number): void {
    let total = bytes;
    for (const { name } of this.#fs.list(this.#dir)) {
      if (this.#isOurs(name)) total += this.#fs.fileBytes(path.join(this.#dir, name));
    }
    if (total <= this.#bounds.maxTotalBytes) return;
    throw new OperatingError(
      'DEAD_LETTER_FULL',
      `cannot keep dead letters in ${this.#dir}: ` +
        `the files of ${this.#writer} would pass ${this.#bounds.maxTotalBytes} bytes; move them away`,
    );
  }

  #isOurs(name: string): boolean {
    return name.startsWith(`${this.#writer}-`) && name.endsWith('.jsonl');
  }

  /** The day's file with room for `bytes`, or its next one. */
  #openFor(day: string, bytes: number): { file: WritableFile; isNew: boolean } {
    for (let part = 0; ; part++) {
      const suffix = part === 0 ? '' : `.${part}`;
      const name = path.join(this.#dir, `${this.#writer}-${day}${suffix}.jsonl`);
      if (!this.#fs.exists(name)) {
        return { file: this.#fs.openForWriting(name, { append: true }), isNew: true };
      }
      const size = this.#fs.fileBytes(name);
      if (size > 0 && size + bytes > this.#bounds.maxFileBytes) continue;
      const file = this.#fs.openForWriting(name, { append: true });
      // A crash may have left half a line; it must not swallow the next one.
      const isTorn = size > 0 && this.#fs.readRange(name, size - 1, 1)[0] !== LINE_FEED;
      if (isTorn) file.write(Uint8Array.of(LINE_FEED));
      return { file, isNew: false };
    }
  }
}

function jsonLine(time: string, writer: WriterName, letter: DeadLetter): string {
  const { reason, status, nodeId, seq, samples, line } = letter;
  return `${JSON.stringify({ time, writer, reason, status, node: nodeId, seq, samples, line })}\n`;
}
