/**
 * Keeps the daemon running, as systemd would: whatever ends it, it is started again. Measures how
 * long it takes until the next acknowledgement, and keeps the log of every daemon that ever ran.
 */
import fs from 'node:fs';
import path from 'node:path';
import { DaemonProcess, type Exit } from '../harness/daemon-process.ts';
import type { Deployment } from '../harness/deployment.ts';
import { type Clock, sleep } from '../../src/lib/clock.ts';

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
  readonly wasReady: boolean;
}

/**
 * A reason why the daemon may end: at any time, or only before it is ready, as with a disk that is
 * full when it starts.
 */
export interface Blame {
  readonly fault: string;
  readonly scope: 'any' | 'start';
}

interface Order {
  readonly id: number;
  readonly point: string;
  readonly nth: number;
  readonly action: string;
  readonly delayUs: number;
}

export interface SupervisorEvents {
  /** `ms` from the start of a daemon to the first new acknowledgement. */
  recovered(fault: string, ms: number): void;
  ended(ended: EndedDaemon): void;
}

const RESTART_PAUSE_MS = 50;
const RESTART_AFTER_FAILURE_MS = 300;
const DOWN_DEADLINE_MS = 45_000;

export class DaemonSupervisor {
  readonly #deployment: Deployment;
  readonly #build: Build;
  readonly #clock: Clock;
  readonly #events: SupervisorEvents;
  readonly #logDir: string;
  readonly #controlPath: string;
  #daemon: DaemonProcess | undefined;
  #startedMs = 0;
  readonly #startsMs: number[] = [];
  /** Who wants no daemon just now; the first is whoever has yet to call `start`. */
  #holds = 1;
  #awaitsAck = false;
  /** What may be to blame for an end. */
  readonly #blames = new Set<Blame>();
  readonly #orders = new Map<number, Order>();
  #nextOrder = 1;
  #lastFault = 'start';
  readonly #culpritsOf = new WeakMap<DaemonProcess, readonly string[]>();
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
    this.#writeOrders();
  }

  get logDir(): string {
    return this.#logDir;
  }

  /** The main.js of the daemons that it starts. */
  get program(): string {
    return this.#build.program;
  }

  /** The daemon that runs or is starting; undefined between two. */
  get daemon(): DaemonProcess | undefined {
    return this.#daemon;
  }

  /** How long the present daemon has been running; 0 between two. */
  get uptimeMs(): number {
    return this.#daemon === undefined ? 0 : this.#clock.monotonicMs() - this.#startedMs;
  }

  /** When daemons were started, Unix ms, oldest first. */
  get startsMs(): readonly number[] {
    return this.#startsMs;
  }

  /** The faults that could have ended that daemon; empty where it lives, or none was to. */
  culpritsOf(daemon: DaemonProcess): readonly string[] {
    return this.#culpritsOf.get(daemon) ?? [];
  }

  /** Starts the first daemon; from now on there always is one. */
  start(): void {
    this.#holds -= 1;
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

  /** Until the returned function is called, ends of the daemon are the fault's doing. */
  blame(fault: string, scope: Blame['scope'] = 'any'): () => void {
    const blame = { fault, scope };
    this.#blames.add(blame);
    return () => void this.#blames.delete(blame);
  }

  /** Whether a fault of the process or of a disk is under way. */
  get isTroubled(): boolean {
    return this.#blames.size > 0;
  }

  /**
   * Has the daemon do `action` at the `nth` occurrence of `point` from now on. Returns how to take
   * that back.
   */
  arm(point: string, nth: number, action: string, delayUs = 0): () => void {
    const id = this.#nextOrder;
    this.#nextOrder += 1;
    this.#orders.set(id, { id, point, nth, action, delayUs });
    this.#writeOrders();
    return () => {
      this.#orders.delete(id);
      this.#writeOrders();
    };
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

  /** No daemon is started until the returned function is called; one that runs runs on. */
  holdStarts(): () => void {
    this.#holds += 1;
    return () => {
      this.#holds -= 1;
    };
  }

  /** Ends the daemon, does `work` while there is none, and starts the next one. */
  async whileDown(signal: NodeJS.Signals, work: () => Promise<void>): Promise<void> {
    this.#holds += 1;
    try {
      this.signal(signal);
      const isDown = await this.#waitUntil(() => this.#daemon === undefined, DOWN_DEADLINE_MS);
      if (!isDown) throw new Error(`the daemon did not end within ${DOWN_DEADLINE_MS} ms`);
      await work();
    } finally {
      this.#holds -= 1;
    }
  }

  /** Stops the daemon for good. */
  async stop(): Promise<Exit | undefined> {
    this.#holds += 1;
    this.blame('the end of the run');
    const exit = await this.#daemon?.stop();
    this.#isStopped = true;
    await this.#loop;
    return exit;
  }

  async kill(): Promise<void> {
    this.#holds += 1;
    this.#isStopped = true;
    this.signal('SIGCONT');
    await this.#daemon?.kill();
    await this.#loop;
  }

  #isStopped = false;

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      if (this.#holds > 0) {
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
    this.#startsMs.push(this.#clock.nowMs());
    this.#startedMs = this.#clock.monotonicMs();
    this.#awaitsAck = true;
    this.#daemon = daemon;
    const exit = await daemon.exited;
    this.#daemon = undefined;
    const wasReady = daemon.hasLogged('ready');
    const culprits = this.#culprits(wasReady);
    this.#culpritsOf.set(daemon, culprits);
    const fault = culprits[0];
    this.#lastFault = fault ?? 'ended by itself';
    this.#keepLog(daemon);
    this.#events.ended({ atMs: this.#clock.nowMs(), exit, fault, wasReady });
    return exit;
  }

  /** What ends the process comes before what only may. */
  #culprits(wasReady: boolean): string[] {
    const blames = [...this.#blames].filter(({ scope }) => scope === 'any' || !wasReady);
    const of = (which: Blame['scope']) => blames.filter(({ scope }) => scope === which);
    return [...of('any'), ...of('start')].map(({ fault }) => fault);
  }

  #keepLog(daemon: DaemonProcess): void {
    const name = `daemon-${String(this.#startsMs.length).padStart(4, '0')}.jsonl`;
    const lines = daemon.log.map((line) => `${JSON.stringify(line)}\n`);
    fs.writeFileSync(path.join(this.#logDir, name), lines.join(''));
  }

  #writeOrders(): void {
    fs.writeFileSync(`${this.#controlPath}.new`, JSON.stringify([...this.#orders.values()]));
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
