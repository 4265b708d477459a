/**
 * The agent that crashes: a process of its own with a spool on disk, which is killed and started
 * again and must finish what it had begun. This is the side that holds the obligations.
 */
import { type ChildProcess, fork } from 'node:child_process';
import type { Clock } from '../../src/lib/clock.ts';
import { sleep } from '../../src/lib/clock.ts';
import type { Obligations } from './obligations.ts';
import { PLAIN } from './samples.ts';
import type { FromSpoolAgent, SpoolAgentLife, SpoolAgentTask } from './spool-agent-messages.ts';

const DRAIN_MESSAGE = { type: 'drain' } as const;
/** Rounds left out between two lives: the last ones of a killed process may not have been told. */
const ROUNDS_BETWEEN_LIVES = 1000;

export class SpoolAgent {
  readonly #program: string;
  readonly #task: SpoolAgentTask;
  readonly #clock: Clock;
  readonly #obligations: Obligations;
  #child: ChildProcess | undefined;
  /** The first round of each life, by its epoch. */
  readonly #firstRounds = new Map<number, number>();
  #lastEpoch = 0;
  #lastRound = 0;
  /** Rounds that lay in the spool when the present process started. */
  #recovered: readonly number[] = [];
  #isDrained = false;
  #isClosed = false;
  crashes = 0;

  constructor(
    program: string,
    task: SpoolAgentTask,
    deps: { readonly clock: Clock; readonly obligations: Obligations },
  ) {
    this.#program = program;
    this.#task = task;
    this.#clock = deps.clock;
    this.#obligations = deps.obligations;
  }

  start(): void {
    const task = JSON.stringify({ ...this.#task, ...this.#newLife() });
    const child = fork(this.#program, [task], { execArgv: [] });
    this.#child = child;
    this.#recovered = [];
    this.#isDrained = false;
    child.on('message', (message) => {
      if (this.#child === child) this.#receive(message as FromSpoolAgent);
    });
  }

  /** SIGKILL, and another one on the same spool; between the two there is time for `work`. */
  async crash(work: () => void = () => {}): Promise<void> {
    this.crashes += 1;
    await this.#kill();
    try {
      work();
    } finally {
      if (!this.#isClosed) this.start();
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** No new batches; true once everything, also from earlier lives, has its answer. */
  async drain(deadlineMs: number): Promise<boolean> {
    const giveUpAtMs = this.#clock.monotonicMs() + deadlineMs;
    this.#child?.send(DRAIN_MESSAGE);
    while (!this.#isDrained) {
      if (this.#clock.monotonicMs() > giveUpAtMs) return false;
      await sleep(this.#clock, 20);
    }
    // Everything that lay in the spool has been answered, though nobody was told which answer.
    const nowMs = this.#clock.nowMs();
    for (const round of this.#recovered) {
      const batch = this.#obligations.get(this.#task.node, round);
      if (batch !== undefined) this.#obligations.promised(batch, nowMs);
    }
    return true;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#kill();
  }

  #newLife(): SpoolAgentLife {
    this.#lastEpoch = Math.max(this.#lastEpoch + 1, this.#clock.nowMs());
    this.#lastRound += ROUNDS_BETWEEN_LIVES;
    const life = { epoch: this.#lastEpoch, firstRound: this.#lastRound + 1 };
    this.#firstRounds.set(life.epoch, life.firstRound);
    return life;
  }

  async #kill(): Promise<void> {
    const child = this.#child;
    if (child?.connected === true) {
      // What it has said last comes before the end of the channel.
      const ended = new Promise((resolve) => child.once('disconnect', resolve));
      child.kill('SIGKILL');
      await ended;
    }
    this.#child = undefined;
  }

  #receive(message: FromSpoolAgent): void {
    const { node } = this.#task;
    const nowMs = this.#clock.nowMs();
    switch (message.type) {
      case 'recovered':
        this.#recovered = message.batches.map(
          ({ epoch, sequence }) => (this.#firstRounds.get(epoch) ?? 0) + sequence - 1,
        );
        for (const round of this.#recovered) this.#obligations.sent(node, round, PLAIN, nowMs);
        return;
      case 'sent':
        this.#lastRound = Math.max(this.#lastRound, message.round);
        this.#obligations.sent(node, message.round, PLAIN, message.atMs);
        return;
      case 'answered': {
        const batch = this.#obligations.get(node, message.round);
        if (batch !== undefined) this.#obligations.answered(batch, message.ack, message.atMs);
        return;
      }
      case 'drained':
        this.#isDrained = true;
    }
  }
}
