/**
 * Programs that a benchmark runs beside the daemon, told apart by what they print: lines of JSON.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import readline from 'node:readline';
import { packageFile } from '../src/lib/package-root.ts';

export class Child {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #lines: string[] = [];
  readonly #exited: Promise<void>;
  #onLine: () => void = () => {};
  #isGone = false;

  private constructor(name: string, child: ChildProcess) {
    this.#name = name;
    this.#child = child;
    if (child.stdout !== null) {
      readline.createInterface(child.stdout).on('line', (line) => {
        this.#lines.push(line);
        this.#onLine();
      });
    }
    this.#exited = new Promise((resolve) => {
      child.once('exit', () => {
        this.#isGone = true;
        this.#onLine();
        resolve();
      });
    });
  }

  /** Runs a program of bench/, as built. Its complaints go where ours go. */
  static ofBench(program: string, args: readonly string[] = []): Child {
    return Child.of(process.execPath, [packageFile(`dist/bench/${program}.js`), ...args]);
  }

  /** Runs any program; what it says on stderr is dropped with `quiet`. */
  static of(program: string, args: readonly string[], quiet = false): Child {
    const stderr = quiet ? 'ignore' : 'inherit';
    const child = spawn(program, args, { stdio: ['pipe', quiet ? 'ignore' : 'pipe', stderr] });
    return new Child(program, child);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The next line it prints, parsed. Rejects when it ends instead. */
  async line<T>(): Promise<T> {
    while (this.#lines.length === 0) {
      if (this.#isGone) throw new Error(`${this.#name} ended early (${this.#child.exitCode})`);
      await new Promise<void>((resolve) => {
        this.#onLine = resolve;
      });
    }
    return JSON.parse(this.#lines.shift() ?? '') as T;
  }

  /** Sends a line to its standard input. */
  tell(text: string): void {
    this.#child.stdin?.write(`${text}\n`);
  }

  /** Ends it, with SIGKILL unless it goes by itself. */
  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (!this.#isGone) this.#child.kill(signal);
    await this.#exited;
  }

  /** Resolves when it is gone. */
  async gone(): Promise<void> {
    await this.#exited;
  }
}
