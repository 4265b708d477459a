/**
 * Keeps the daemon running, as systemd would: whatever ends it, it is started again. Measures how
 * long it takes until the next acknowledgement, and keeps the log of every daemon that ever ran.
 */
import fs from 'node:fs';
import path from 'node:path';
import { DaemonProcess, type Exit } from '../harness/daemon-process.ts';
import type { Deployment } from '../harness/deployment.ts';
import { type Clock, sleep } from '../src/lib/clock.ts';

export interface Build {
  /** The daemon's main.js. */
  readonly program: string;
  /** Loaded before it: the module with the fault points. */
  readonly preload: string;
}

export interface EndedDaemon {
  readonly atMs: number;
  readonly exit: Exit;
  /** The fault that ended it; undefined where it ended by itself. */
  readonly fault: string | undefined;
}

export interface SupervisorEvents {
  /** `ms` from the start of a daemon to the first new acknowledgement. */
  recovered(fault: string, ms: number): void;
  ended(ended: EndedDaemon): void;
}

const RESTART_PAUSE_MS = 50;
const RESTART_AFTER_FAILURE_MS = 300;

export class DaemonSupervisor {
  readonly #deployment: Deployment;
  readonly #build: Build;
  readonly #clock: Clock;
  readonly #events: SupervisorEvents;
  readonly #logDir: string;
  readonly #controlPath: string;
  #daemon: DaemonProcess | undefined;
  #startedMs = 0;
  #starts = 0;
  #isHeld = true;
  #awaitsAck = false;
  /** What is to blame for the next end. */
  #blame: string | undefined;
  #lastFault = 'start';
  #loop: Promise<void> = Promise.resolve();
  #acks = 0;

  constructor(
    deployment: Deployment,
    build: Build,
    deps: { readonly clock: Clock; readonly events: SupervisorEvents },
  ) {
    this.#deployment = deployment;
    this.#build = build;
    this.#clock = deps.clock;
    this.#events = deps.events;
    this.#logDir = path.join(deployment.dir, 'logs');
    this.#controlPath = path.join(deployment.dir, 'fault-point.json');
    fs.mkdirSync(this.#logDir, { recursive: true });
    this.disarm();
  }

  get logDir(): string {
    return this.#logDir;
  }

  /** The daemon that runs or is starting; undefined between two. */
  get daemon(): DaemonProcess | undefined {
    return this.#daemon;
  }

  /** How long the present daemon has been running; 0 between two. */
  get uptimeMs(): number {
    return this.#daemon === undefined ? 0 : this.#clock.monotonicMs() - this.#startedMs;
  }

  get starts(): number {
    return this.#starts;
  }

  /** Starts the first daemon; from now on there always is one. */
  start(): void {
    this.#isHeld = false;
    this.#loop = this.#run();
  }

  /** An agent got a new acknowledgement. */
  acknowledged(): void {
    this.#acks += 1;
    if (!this.#awaitsAck || this.#daemon === undefined) return;
    this.#awaitsAck = false;
    this.#events.recovered(this.#lastFault, this.#clock.monotonicMs() - this.#startedMs);
  }

  get acks(): number {
    return this.#acks;
  }

  /** Until then, ends of the daemon are the fault's doing. */
  blame(fault: string | undefined): void {
    this.#blame = fault;
  }

  /** Has the daemon do `action` at the `nth` occurrence of `point` from now on. */
  arm(point: string, nth: number, action: string, delayUs = 0): void {
    this.#writeControl({ id: this.#clock.monotonicMs(), point, nth, action, delayUs });
  }

  disarm(): void {
    this.#writeControl({});
  }

  signal(signal: NodeJS.Signals): void {
    this.#daemon?.signal(signal);
  }

  /** Waits until the present daemon has ended; false at the deadline. */
  async ended(deadlineMs: number): Promise<boolean> {
    const daemon = this.#daemon;
    if (daemon === undefined) return true;
    return this.#waitUntil(() => this.#daemon !== daemon, deadlineMs);
  }

  /** Waits until a daemon runs that has acknowledged something; false at the deadline. */
  async recovered(deadlineMs: number): Promise<boolean> {
    return this.#waitUntil(() => this.#daemon !== undefined && !this.#awaitsAck, deadlineMs);
  }

  /** Waits until a process has been started; false at the deadline. */
  async launched(deadlineMs: number): Promise<boolean> {
    return this.#waitUntil(() => this.#daemon !== undefined, deadlineMs);
  }

  /** Ends the daemon, does `work` while there is none, and starts the next one. */
  async whileDown(signal: NodeJS.Signals, work: () => Promise<void>): Promise<void> {
    this.#isHeld = true;
    try {
      this.signal(signal);
      await this.#waitUntil(() => this.#daemon === undefined, 30_000);
      await work();
    } finally {
      this.#isHeld = false;
    }
  }

  /** Stops the daemon for good. */
  async stop(): Promise<Exit | undefined> {
    this.#isHeld = true;
    this.blame('the end of the run');
    const exit = await this.#daemon?.stop();
    this.#isStopped = true;
    await this.#loop;
    return exit;
  }

  async kill(): Promise<void> {
    this.#isHeld = true;
    this.#isStopped = true;
    this.signal('SIGCONT');
    await this.#daemon?.kill();
    await this.#loop;
  }

  #isStopped = false;

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      if (this.#isHeld) {
        await sleep(this.#clock, 10);
        continue;
      }
      const exit = await this.#runOne();
      const failed = exit.signal === null && exit.code !== 0;
      await sleep(this.#clock, failed ? RESTART_AFTER_FAILURE_MS : RESTART_PAUSE_MS);
    }
  }

  async #runOne(): Promise<Exit> {
    const options = `--import ${this.#build.preload}?control=${this.#controlPath}`;
    const daemon = DaemonProcess.launch(this.#deployment, {
      program: this.#build.program,
      env: { NODE_OPTIONS: options },
    });
    this.#starts += 1;
    this.#startedMs = this.#clock.monotonicMs();
    this.#awaitsAck = true;
    this.#daemon = daemon;
    const exit = await daemon.exited;
    this.#daemon = undefined;
    const fault = this.#blame;
    this.#lastFault = fault ?? 'ended by itself';
    this.#keepLog(daemon);
    this.#events.ended({ atMs: this.#clock.nowMs(), exit, fault });
    return exit;
  }

  #keepLog(daemon: DaemonProcess): void {
    const name = `daemon-${String(this.#starts).padStart(4, '0')}.jsonl`;
    const lines = daemon.log.map((line) => `${JSON.stringify(line)}\n`);
    fs.writeFileSync(path.join(this.#logDir, name), lines.join(''));
  }

  #writeControl(content: Readonly<Record<string, unknown>>): void {
    fs.writeFileSync(`${this.#controlPath}.new`, JSON.stringify(content));
    fs.renameSync(`${this.#controlPath}.new`, this.#controlPath);
  }

  async #waitUntil(condition: () => boolean, deadlineMs: number): Promise<boolean> {
    const giveUpAtMs = this.#clock.monotonicMs() + deadlineMs;
    while (!condition()) {
      if (this.#clock.monotonicMs() > giveUpAtMs) return false;
      await sleep(this.#clock, 5);
    }
    return true;
  }
}
