/**
 * The real daemon as a child process, judged from outside: by its exit, its log lines, its HTTP
 * side.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import readline from 'node:readline';
import { parsePrometheusText } from '../../src/agent/sources/prometheus-text.ts';
import { sleep, systemClock } from '../../src/lib/clock.ts';
import { packageFile } from '../../src/lib/package-root.ts';
import type { Deployment } from './deployment.ts';
import { MetricsPage } from './metrics-page.ts';

const START_DEADLINE_MS = 30_000;
const STOP_DEADLINE_MS = 60_000;
/** A daemon that holds still, or that ends as it is asked, must not hold up who asks. */
const ANSWER_DEADLINE_MS = 15_000;
const LOG_LINES_KEPT = 5000;

export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class DaemonProcess {
  readonly deployment: Deployment;
  readonly exited: Promise<Exit>;
  /** The newest log lines; lines that are not JSON stand under `msg` with the level "text". */
  readonly log: LogLine[] = [];
  readonly #child: ChildProcess;
  #exit: Exit | undefined;

  private constructor(
    deployment: Deployment,
    env: NodeJS.ProcessEnv,
    program: string,
    wrapper: readonly string[],
  ) {
    this.deployment = deployment;
    const command = [...wrapper, process.execPath, program, deployment.configPath];
    this.#child = spawn(command[0]!, command.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env,
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream !== null) readline.createInterface(stream).on('line', (line) => this.#keep(line));
    }
    this.exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        this.#exit = { code, signal };
        resolve(this.#exit);
      });
    });
  }

  /**
   * Starts the daemon and returns at once. `program` is the main.js of another build; `wrapper` a
   * command that ends as the daemon, whose command line it is given.
   */
  static launch(
    deployment: Deployment,
    options: {
      readonly env?: NodeJS.ProcessEnv;
      readonly program?: string;
      readonly wrapper?: readonly string[];
    } = {},
  ): DaemonProcess {
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...options.env };
    const program = options.program ?? packageFile('dist/src/collector/main.js');
    return new DaemonProcess(deployment, env, program, options.wrapper ?? []);
  }

  /**
   * Starts the daemon, or the main.js of another build, and waits until it is ready; throws with
   * its last log lines otherwise.
   */
  static async start(
    deployment: Deployment,
    env: NodeJS.ProcessEnv = {},
    program?: string,
  ): Promise<DaemonProcess> {
    const daemon = DaemonProcess.launch(deployment, { env, ...(program && { program }) });
    await daemon.waitFor(
      'the daemon to be ready',
      () => daemon.hasLogged('ready'),
      START_DEADLINE_MS,
    );
    return daemon;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  hasLogged(message: string): boolean {
    return this.log.some((line) => line.msg === message);
  }

  /** Polls `condition` until it holds; throws after `deadlineMs`, or when the daemon ends first. */
  async waitFor(
    what: string,
    condition: () => boolean | Promise<boolean>,
    deadlineMs = 20_000,
  ): Promise<void> {
    const giveUpAtMs = systemClock.monotonicMs() + deadlineMs;
    while (!(await condition())) {
      const ended = this.#exit;
      if (ended !== undefined) {
        throw new Error(
          `the daemon ended (${ended.code ?? ended.signal}) before ${what}\n${this.#tail()}`,
        );
      }
      if (systemClock.monotonicMs() > giveUpAtMs) {
        throw new Error(`waited ${deadlineMs} ms in vain for ${what}\n${this.#tail()}`);
      }
      await sleep(systemClock, 25);
    }
  }

  async metrics(): Promise<MetricsPage> {
    const response = await this.#get('/metrics');
    return new MetricsPage(parsePrometheusText(await response.text()).samples);
  }

  /** The body of /readyz and whether it said ready. */
  async readiness(): Promise<{
    ready: boolean;
    checks: Record<string, { ok: boolean; reason?: string }>;
  }> {
    const response = await this.#get('/readyz');
    return (await response.json()) as Awaited<ReturnType<DaemonProcess['readiness']>>;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** SIGTERM, and wait until it has drained and gone. */
  async stop(): Promise<Exit> {
    if (this.#exit === undefined) this.signal('SIGTERM');
    return this.#awaitExit();
  }

  /** SIGKILL: no chance to do anything. */
  async kill(): Promise<Exit> {
    if (this.#exit === undefined) this.signal('SIGKILL');
    return this.#awaitExit();
  }

  #get(page: string): Promise<Response> {
    const signal = AbortSignal.timeout(ANSWER_DEADLINE_MS);
    return fetch(`${this.deployment.metricsUrl}${page}`, { signal });
  }

  async #awaitExit(): Promise<Exit> {
    const giveUp = new AbortController();
    const late = sleep(systemClock, STOP_DEADLINE_MS, giveUp.signal).then(() => undefined);
    const exit = await Promise.race([this.exited, late]);
    giveUp.abort();
    if (exit !== undefined) return exit;
    this.signal('SIGKILL');
    throw new Error(`the daemon did not end within ${STOP_DEADLINE_MS} ms\n${this.#tail()}`);
  }

  #keep(line: string): void {
    if (this.log.length >= LOG_LINES_KEPT) this.log.shift();
    this.log.push(parseLogLine(line));
  }

  #tail(): string {
    return this.log
      .slice(-15)
      .map((line) => JSON.stringify(line))
      .join('\n');
  }
}

function parseLogLine(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return { level: 'text', msg: line };
  }
}
