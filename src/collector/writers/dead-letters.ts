/**
 * The files of what could not be written: one JSON line per refused line or damaged record, kept
 * for a person to look at and, after the cause is fixed, to send again.
 *
 *     <dead-letter directory>/<writer>-2026-01-31.jsonl      then -2026-01-31.1.jsonl, .2.jsonl …
 *
 * Guarantees: a letter is on disk before the cursor passes its record; after a crash, or where a
 * replay takes the file away at that moment, it may be there twice. Letters past the bound of their
 * node or of the whole directory are counted and not kept: one node's refused lines must neither
 * fill the disk nor stop the writer for all others.
 */
import path from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { OperatingError } from '../../lib/errors.ts';
import type { FileSystem, WritableFile } from '../../lib/filesystem.ts';
import type { DeadLetter, WriterLog, WriterName } from './writer.ts';

export interface DeadLetterBounds {
  /** Over the files of a writer, of letters of one node. */
  readonly maxNodeBytes: number;
  /** Over all files of the writer. */
  readonly maxTotalBytes: number;
  /** A file is followed by another one at this size. */
  readonly maxFileBytes?: number;
}

export interface DeadLetterCounts {
  readonly kept: number;
  /** Past a bound, by node; see `countFor`. */
  readonly skipped: Readonly<Record<string, number>>;
}

/** Stands for the nodes that are not named in counts. */
export const OTHER_NODES = '_other';
/** So many nodes are named at most: each is a time series of its own. */
const NODES_NAMED_MAX = 50;

const MAX_FILE_BYTES = 64 * 1024 * 1024;
const TOLD_EVERY_MS = 60_000;
/** A replay that takes away each new file at once would be a fault of its own. */
const MOVES_MAX = 10;
const LINE_FEED = 10;

/** Counts `letters` of a node; nodes beyond the first 50 are counted together. */
export function countFor(counts: Map<string, number>, nodeId: string, letters: number): void {
  const isNamed = counts.has(nodeId) || counts.size < NODES_NAMED_MAX;
  const name = isNamed ? nodeId : OTHER_NODES;
  counts.set(name, (counts.get(name) ?? 0) + letters);
}

/** The dead-letter files of one writer; see the head of this file. */
export class DeadLetterFiles {
  readonly #fs: FileSystem;
  readonly #clock: Clock;
  readonly #dir: string;
  readonly #writer: WriterName;
  readonly #bounds: Required<DeadLetterBounds>;
  readonly #log: WriterLog;
  readonly #usage: DiskUsage;
  readonly #skipped = new Map<string, number>();
  #kept = 0;
  #skippedUnlogged = 0;
  #toldMs = -Infinity;

  constructor(
    deps: { readonly fs: FileSystem; readonly clock: Clock; readonly log: WriterLog },
    options: { dir: string; writer: WriterName; bounds: DeadLetterBounds },
  ) {
    this.#fs = deps.fs;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#dir = options.dir;
    this.#writer = options.writer;
    this.#bounds = { maxFileBytes: MAX_FILE_BYTES, ...options.bounds };
    this.#usage = new DiskUsage(deps.fs, options.dir, `${options.writer}-`);
  }

  /** Since this object was made. */
  get counts(): DeadLetterCounts {
    return { kept: this.#kept, skipped: Object.fromEntries(this.#skipped) };
  }

  /** Returns once all of `letters` within the bounds are on disk. Throws what the disk says. */
  append(letters: readonly DeadLetter[]): void {
    if (letters.length === 0) return;
    const time = new Date(this.#clock.nowMs()).toISOString();
    if (!this.#fs.exists(this.#dir)) {
      this.#fs.makeDirectory(this.#dir);
      this.#fs.syncDirectory(path.dirname(this.#dir));
    }
    this.#usage.refresh();
    const { lines, nodes, skipped } = this.#withinBounds(time, letters);
    if (lines.length > 0) this.#write(time.slice(0, 10), Buffer.from(lines.join('')), nodes);
    this.#kept += lines.length;
    for (const nodeId of skipped) this.#skip(nodeId);
    if (skipped.length > 0) this.#tell(skipped.at(-1)!);
  }

  #withinBounds(time: string, letters: readonly DeadLetter[]) {
    const lines: string[] = [];
    const nodes = new Map<string, number>();
    const skipped: string[] = [];
    let total = this.#usage.total;
    for (const letter of letters) {
      const { nodeId } = letter;
      const line = jsonLine(time, this.#writer, letter);
      const bytes = Buffer.byteLength(line);
      const ofNode = (nodes.get(nodeId) ?? 0) + bytes;
      const isOver =
        total + bytes > this.#bounds.maxTotalBytes ||
        this.#usage.ofNode(nodeId) + ofNode > this.#bounds.maxNodeBytes;
      if (isOver) {
        skipped.push(nodeId);
        continue;
      }
      lines.push(line);
      nodes.set(nodeId, ofNode);
      total += bytes;
    }
    return { lines, nodes, skipped };
  }

  /**
   * A replay may rename the file between its opening and its writing, read it to the end and remove
   * it. So once the bytes are on disk, the file must still be at its place; if not, they are
   * written again, to the file that is there now.
   */
  #write(day: string, bytes: Uint8Array, nodes: ReadonlyMap<string, number>): void {
    for (let moves = 0; moves < MOVES_MAX; moves++) {
      const { file, name, isNew } = this.#openFor(day, bytes.length);
      let isInPlace: boolean;
      try {
        file.write(bytes);
        file.sync();
        isInPlace = file.isInPlace();
      } finally {
        file.close();
      }
      if (!isInPlace) continue;
      if (isNew) this.#fs.syncDirectory(this.#dir);
      this.#usage.added(name, nodes, bytes.length);
      return;
    }
    throw new OperatingError(
      'DEAD_LETTER_MOVED',
      `cannot keep dead letters in ${this.#dir}: each new file is moved away while it is written`,
    );
  }

  /** The day's file with room for `bytes`, or its next one. */
  #openFor(day: string, bytes: number): { file: WritableFile; name: string; isNew: boolean } {
    for (let part = 0; ; part++) {
      const suffix = part === 0 ? '' : `.${part}`;
      const name = `${this.#writer}-${day}${suffix}.jsonl`;
      const file = path.join(this.#dir, name);
      if (!this.#fs.exists(file)) {
        return { file: this.#fs.openForWriting(file, { append: true }), name, isNew: true };
      }
      const size = this.#fs.fileBytes(file);
      if (size > 0 && size + bytes > this.#bounds.maxFileBytes) continue;
      const output = this.#fs.openForWriting(file, { append: true });
      // A crash may have left half a line; it must not swallow the next one.
      const isTorn = size > 0 && this.#fs.readRange(file, size - 1, 1)[0] !== LINE_FEED;
      if (isTorn) output.write(Uint8Array.of(LINE_FEED));
      return { file: output, name, isNew: false };
    }
  }

  #skip(nodeId: string): void {
    countFor(this.#skipped, nodeId, 1);
    this.#skippedUnlogged += 1;
  }

  #tell(nodeId: string): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#toldMs < TOLD_EVERY_MS) return;
    this.#log('warn', 'dead letters are past their bound: counted, but not kept', {
      lastNode: nodeId,
      letters: this.#skippedUnlogged,
      nodeBytesMax: this.#bounds.maxNodeBytes,
      totalBytesMax: this.#bounds.maxTotalBytes,
    });
    this.#toldMs = nowMs;
    this.#skippedUnlogged = 0;
  }
}

interface FileUsage {
  bytes: number;
  readonly nodes: Map<string, number>;
}

/**
 * What the letters on disk take, by node. A file is read once; later, only files that another
 * process has changed are read again.
 */
class DiskUsage {
  readonly #fs: FileSystem;
  readonly #dir: string;
  readonly #prefix: string;
  readonly #files = new Map<string, FileUsage>();

  constructor(fs: FileSystem, dir: string, prefix: string) {
    this.#fs = fs;
    this.#dir = dir;
    this.#prefix = prefix;
  }

  get total(): number {
    let bytes = 0;
    for (const file of this.#files.values()) bytes += file.bytes;
    return bytes;
  }

  ofNode(nodeId: string): number {
    let bytes = 0;
    for (const { nodes } of this.#files.values()) bytes += nodes.get(nodeId) ?? 0;
    return bytes;
  }

  refresh(): void {
    const names = this.#fs
      .list(this.#dir)
      .map(({ name }) => name)
      .filter((name) => name.startsWith(this.#prefix) && name.endsWith('.jsonl'));
    const present = new Set(names);
    for (const name of this.#files.keys()) if (!present.has(name)) this.#files.delete(name);
    for (const name of names) {
      const file = path.join(this.#dir, name);
      const bytes = this.#fs.fileBytes(file);
      if (this.#files.get(name)?.bytes !== bytes) this.#files.set(name, this.#read(file, bytes));
    }
  }

  added(name: string, nodes: ReadonlyMap<string, number>, bytes: number): void {
    const usage = this.#files.get(name) ?? { bytes: 0, nodes: new Map() };
    usage.bytes += bytes;
    for (const [node, more] of nodes) usage.nodes.set(node, (usage.nodes.get(node) ?? 0) + more);
    this.#files.set(name, usage);
  }

  #read(file: string, bytes: number): FileUsage {
    const nodes = new Map<string, number>();
    for (const letter of readDeadLetters(this.#fs, file).letters) {
      const size = Buffer.byteLength(JSON.stringify(letter)) + 1;
      nodes.set(letter.node, (nodes.get(letter.node) ?? 0) + size);
    }
    return { bytes, nodes };
  }
}

/** A letter as it is in a file. */
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

function jsonLine(time: string, writer: WriterName, letter: DeadLetter): string {
  const { reason, status, nodeId: node, seq, samples, line } = letter;
  const stored: StoredLetter = { time, writer, reason, status, node, seq, samples, line };
  return `${JSON.stringify(stored)}\n`;
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
