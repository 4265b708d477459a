/**
 * A reader of the feed as a child process, which can be stopped, killed and started again, and what
 * it has got over all its lives.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { packageFile } from '../../src/lib/package-root.ts';
import { type FeedBatch, type FeedLine, readFeedLines } from './feed-lines.ts';

const PROGRAM = 'dist/trials/harness/feed-reading-program.js';

export class FeedReading {
  readonly #socketPath: string;
  readonly #file: string;
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();

  /** `file` is where the reader writes down what it gets. */
  constructor(socketPath: string, file: string) {
    this.#socketPath = socketPath;
    this.#file = file;
  }

  /** Starts the program, which goes on where it ended. */
  start(): void {
    const args = [packageFile(PROGRAM), this.#socketPath, this.#file];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    this.#child = child;
    this.#exited = new Promise((resolve) => child.once('exit', () => resolve()));
  }

  /** SIGSTOP: it holds its connection and reads nothing. */
  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  /** SIGKILL. Idempotent. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#exited;
    this.#child = undefined;
  }

  /** Everything it has written down. */
  lines(): readonly FeedLine[] {
    return readFeedLines(this.#file).lines;
  }

  /** Its place in the source; 0 before it has one. */
  seq(): number {
    const last = this.lines().findLast((line) => line.kind === 'records');
    return last?.kind === 'records' ? last.seq : 0;
  }

  /** The newest cursor that it was told. */
  cursor(): number {
    const cursors = this.lines().map((line) => ('cursor' in line ? line.cursor : 0));
    return Math.max(0, ...cursors);
  }

  /** The batches it has got, in the order in which they came. */
  batches(): FeedBatch[] {
    return this.lines().flatMap((line) => (line.kind === 'records' ? line.batches : []));
  }
}
