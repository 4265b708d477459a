/**
 * nvidia-smi that stays: it prints its table again and again (`-lms`), and this cuts the output
 * into tables. Starting it costs more than asking, without persistence mode by seconds; one that
 * stays answers as fast as the driver does.
 *
 *     header, row of GPU 0, row of GPU 1, row of GPU 0, row of GPU 1, …
 *             └──────── a table ───────┘  └──────── the next ─────┘
 *
 * A table is whole when the next one begins, when every GPU of the table before is there, or when
 * nothing more came for a while. Only the latest is kept, with the time of its first row.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Clock } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import { settledWithin } from '../../client/wait.ts';
import { splitCells } from './nvidia-smi-csv.ts';

export interface TimedTable {
  /** The header and the rows, as a single call would print them. */
  readonly text: string;
  /** When its first row came, Unix ms. */
  readonly timestampMs: number;
}

export interface StreamOptions {
  readonly command: string;
  readonly fields: readonly string[];
  /** What nvidia-smi waits between two tables. */
  readonly periodMs: number;
  /** Of one table. */
  readonly maxBytes: number;
}

/** A pause this long ends the first table, whose number of rows is not known yet. */
const QUIET_MS = 1000;

export class NvidiaSmiStream {
  readonly #clock: Clock;
  readonly #options: StreamOptions;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #partialLine = '';
  #header = '';
  #uuidColumn = -1;
  #rows: string[] = [];
  #rowBytes = 0;
  #uuids = new Set<string>();
  #startedMs = 0;
  #lastStartedMs = 0;
  /** The GPUs of the last whole table. */
  #knownUuids: ReadonlySet<string> = new Set();
  #latest: TimedTable | undefined;
  #ended: string | undefined;
  #wake = () => {};
  #cancelQuiet = () => {};
  /** Whole tables so far. */
  tables = 0;
  /** Between the beginnings of the last two tables; 0 before the second. */
  gapMs = 0;

  /** Starts the program. */
  constructor(options: StreamOptions, clock: Clock) {
    this.#clock = clock;
    this.#options = options;
    const args = [
      `--query-gpu=${options.fields.join(',')}`,
      '--format=csv',
      `-lms=${options.periodMs}`,
    ];
    const child = spawn(options.command, args, {
      stdio: ['ignore', 'pipe', 'ignore'],
      windowsHide: true,
    });
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
    });
    child.stdout?.setEncoding('utf8');
    child.stdout?.on('data', (text: string) => this.#take(text));
    child.on('error', (error) => {
      this.#end(errorMessage(error));
    });
    child.on('close', (code, signal) => this.#end(`it ended (${signal ?? `exit code ${code}`})`));
  }

  /** Why there will be no more tables; undefined while there may be. */
  get ended(): string | undefined {
    return this.#ended;
  }

  /** Whether the process is gone, or goes within the time: the driver can hold one for ever. */
  async isGone(deadlineMs: number): Promise<boolean> {
    await settledWithin(this.#clock, this.#exited, deadlineMs);
    const { pid, exitCode, signalCode } = this.#child;
    return pid === undefined || exitCode !== null || signalCode !== null;
  }

  /**
   * The latest table that was not taken before, or the next one; undefined where none comes in
   * time, or any more. One caller at a time.
   */
  async next(timeoutMs: number): Promise<TimedTable | undefined> {
    if (this.#latest === undefined && this.#ended === undefined) {
      await new Promise<void>((resolve) => {
        const cancel = this.#clock.after(timeoutMs, resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
      });
    }
    const table = this.#latest;
    this.#latest = undefined;
    return table;
  }

  /** Ends the program. Idempotent. */
  close(): void {
    this.#child.kill('SIGKILL');
    this.#child.stdout?.destroy();
    this.#child.unref();
    this.#end('it was stopped');
  }

  #take(text: string): void {
    const lines = (this.#partialLine + text).split('\n');
    this.#partialLine = lines.pop() ?? '';
    for (const line of lines) this.#takeLine(line.replace(/\r$/, ''));
    if (this.#rowBytes + this.#partialLine.length > this.#options.maxBytes) this.close();
  }

  #takeLine(line: string): void {
    if (line.trim() === '') return;
    const cells = splitCells(line);
    if (this.#uuidColumn < 0) {
      this.#uuidColumn = cells.findIndex((cell) => /^(gpu_)?uuid$/.test(cell));
      if (this.#uuidColumn >= 0) this.#header = line;
      return;
    }
    // What is no row of a GPU goes with the rows beside it: an error, or a GPU that is lost, of
    // which every cell says so, the same for two of them.
    const cell = cells[this.#uuidColumn] ?? '';
    const uuid = cell.startsWith('GPU-') ? cell : '';
    if (this.#uuids.has(uuid)) this.#finish();
    if (uuid !== '' && this.#uuids.size === 0) this.#startedMs = this.#clock.nowMs();
    if (uuid !== '') this.#uuids.add(uuid);
    this.#rows.push(line);
    this.#rowBytes += line.length;
    this.#cancelQuiet();
    if (this.#knownUuids.size === 0) {
      this.#cancelQuiet = this.#clock.after(QUIET_MS, () => this.#finish());
    } else if ([...this.#knownUuids].every((known) => this.#uuids.has(known))) {
      this.#finish();
    }
  }

  #finish(): void {
    this.#cancelQuiet();
    if (this.#rows.length === 0) return;
    const text = `${[this.#header, ...this.#rows].join('\n')}\n`;
    this.#latest = { text, timestampMs: this.#startedMs };
    this.#knownUuids = this.#uuids;
    this.#uuids = new Set();
    this.#rows = [];
    this.#rowBytes = 0;
    if (this.tables > 0) this.gapMs = this.#startedMs - this.#lastStartedMs;
    this.#lastStartedMs = this.#startedMs;
    this.tables += 1;
    this.#wake();
  }

  #end(why: string): void {
    if (this.#ended !== undefined) return;
    this.#finish();
    this.#ended = why;
    this.#wake();
  }
}
