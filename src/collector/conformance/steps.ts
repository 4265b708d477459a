/**
 * The run: what the stand-in collector does to the client, step by step, and what it waits for. The
 * rules that hold at any time are judged by ClientWatch all the while.
 */
import type { RejectReason } from '../../domain/telemetry.ts';
import { type Clock, sleep } from '../../lib/clock.ts';
import type { QuicCredentials } from '../../transport/quic-endpoint.ts';
import type { ClientWatch, WatchedBatch } from './client-watch.ts';
import type { Judge, Rule } from './rules.ts';
import type { Arrival, StandInCollector } from './stand-in-collector.ts';

export interface StepParts {
  readonly clock: Clock;
  readonly judge: Judge;
  readonly watch: ClientWatch;
  readonly collector: StandInCollector;
}

export interface StepOptions {
  /** How long the client may take to do what a step waits for. */
  readonly stepMs: number;
  readonly credentials: QuicCredentials;
  /** The same names, signed by an authority that the client does not trust. */
  readonly foreignCredentials: QuicCredentials;
  /** Called once, when a client can connect. */
  readonly onListening: () => void;
  /** Aborted when the client has ended. */
  readonly signal: AbortSignal;
}

const POLL_MS = 20;
const RETRY_AFTER_MS = 1500;
const SILENCE_MS = 3000;
/** How long a client may take to send a second batch while one is unanswered; it need not. */
const SECOND_BATCH_MS = 2000;
const RESTART_MS = 2000;
const REFUSALS = 4;
const LEAST_GAP_MS = 100;
const MORE_BATCHES = 3;

/** Runs all steps. A step that waits in vain fails its rule, and the next one is taken. */
export async function runSteps(parts: StepParts, options: StepOptions): Promise<void> {
  const steps = new Steps(parts, options);
  await steps.foreignCertificate();
  if (!(await steps.greeting())) return;
  await steps.lostAnswers();
  await steps.halfAnAnswer();
  await steps.throttled();
  await steps.rejected();
  await steps.answerWithoutNumbers();
  await steps.anyOrder();
  await steps.silence();
  await steps.refusals();
  await steps.restart();
  await steps.complete();
}

class Steps {
  readonly #clock: Clock;
  readonly #judge: Judge;
  readonly #watch: ClientWatch;
  readonly #collector: StandInCollector;
  readonly #options: StepOptions;

  constructor({ clock, judge, watch, collector }: StepParts, options: StepOptions) {
    this.#clock = clock;
    this.#judge = judge;
    this.#watch = watch;
    this.#collector = collector;
    this.#options = options;
  }

  async foreignCertificate(): Promise<void> {
    const { credentials, foreignCredentials } = this.#options;
    const collector = this.#collector;
    collector.credentials = foreignCredentials;
    await collector.start();
    this.#options.onListening();
    await this.#until('certificate', 'try to connect', () => {
      return collector.failedHandshakes > 0 || collector.streamBytes > 0;
    });
    const why = 'sent to a collector whose certificate is of another authority';
    if (collector.streamBytes > 0) this.#judge.fail('certificate', why);
    collector.credentials = credentials;
    collector.closeConnections();
  }

  async greeting(): Promise<boolean> {
    this.#settle();
    const came = await this.#moreBatches('greeting');
    if (came) this.#judge.saw('evolution');
    return came;
  }

  /** Nothing is answered, then the connection closes: all of it comes again. */
  async lostAnswers(): Promise<void> {
    this.#collector.onBatch = () => {};
    await this.#until('greeting', 'send a batch', () => this.#watch.open.length > 0);
    await this.#wait(SECOND_BATCH_MS, () => this.#watch.open.length > 1);
    const open = this.#watch.open;
    this.#settle();
    this.#collector.closeConnections();
    await this.#settled('resend', open);
  }

  /** The connection closes in the middle of an answer. */
  async halfAnAnswer(): Promise<void> {
    const arrival = await this.#nextNew();
    if (arrival === undefined) return;
    this.#collector.answerInHalf(arrival);
    await this.#settled('reconnect', [arrival.batch]);
  }

  async throttled(): Promise<void> {
    const arrival = await this.#nextNew();
    if (arrival === undefined) return;
    const verdict = { status: 'throttled', retryAfterMs: RETRY_AFTER_MS } as const;
    this.#collector.answer(arrival, verdict);
    await this.#settled('throttled', [arrival.batch]);
  }

  async rejected(): Promise<void> {
    const arrival = await this.#nextNew();
    if (arrival === undefined) return;
    const reason = 'reason_of_a_later_version' as RejectReason;
    const rejections = [{ reason, count: arrival.batch.samples, firstSeries: '' }];
    this.#collector.answer(arrival, { status: 'rejected', rejections });
    await this.#moreBatches('rejected');
    this.#notAgain('rejected', arrival.batch);
  }

  /** As a collector answers that could not read the batch: only the frame tells which it was. */
  async answerWithoutNumbers(): Promise<void> {
    const arrival = await this.#nextNew();
    if (arrival === undefined) return;
    this.#collector.answer(arrival, { status: 'rejected', epoch: 0, sequence: 0 });
    await this.#moreBatches('frame');
    await sleep(this.#clock, SECOND_BATCH_MS);
    this.#collector.closeConnections();
    await this.#moreBatches('frame');
    this.#notAgain('frame', arrival.batch);
  }

  async anyOrder(): Promise<void> {
    const arrivals: Arrival[] = [];
    this.#collector.onBatch = (arrival) => arrivals.push(arrival);
    await this.#until('order', 'send a batch', () => arrivals.length > 0);
    await this.#wait(SECOND_BATCH_MS, () => arrivals.length > 2);
    this.#settle();
    for (const arrival of arrivals.reverse()) this.#accept(arrival);
    await this.#moreBatches('order');
  }

  /** A collector that takes its time: the client must stop within the window. */
  async silence(): Promise<void> {
    const arrivals: Arrival[] = [];
    this.#collector.onBatch = (arrival) => arrivals.push(arrival);
    await this.#wait(SILENCE_MS, () => false);
    this.#settle();
    for (const arrival of arrivals) this.#accept(arrival);
    await this.#moreBatches('window');
  }

  async refusals(): Promise<void> {
    const collector = this.#collector;
    const before = collector.connectedAtMs.length;
    collector.refuses = true;
    collector.closeConnections();
    const tries = () => collector.connectedAtMs.slice(before);
    await this.#until('backoff', `try ${REFUSALS} times`, () => tries().length >= REFUSALS);
    collector.refuses = false;
    const [first = 0, last = 0] = [tries()[0], tries()[REFUSALS - 1]];
    const gapMs = Math.round((last - first) / (REFUSALS - 1));
    if (gapMs < LEAST_GAP_MS) this.#judge.fail('backoff', `waited ${gapMs} ms on average`);
    await this.#moreBatches('reconnect');
  }

  /** The collector is gone for a while, and wants whole tables afterwards. */
  async restart(): Promise<void> {
    await this.#collector.stop();
    await this.#wait(RESTART_MS, () => false);
    this.#collector.hello = { ...this.#collector.hello, acceptsSeriesTableId: false };
    await this.#collector.start();
    await this.#moreBatches('reconnect');
  }

  async complete(): Promise<void> {
    await this.#settled('complete', this.#watch.open);
    this.#judge.saw('final');
  }

  /** From now on: ACCEPTED for what is new, DUPLICATE for what came before. */
  #settle(): void {
    this.#collector.onBatch = (arrival) => this.#accept(arrival);
  }

  #accept(arrival: Arrival): void {
    const status = arrival.batch.arrivals > 1 ? 'duplicate' : 'accepted';
    this.#collector.answer(arrival, { status });
  }

  /** The next batch that comes for the first time, unanswered; everything else is settled. */
  async #nextNew(): Promise<Arrival | undefined> {
    let next: Arrival | undefined;
    this.#collector.onBatch = (arrival) => {
      if (next === undefined && arrival.batch.arrivals === 1) next = arrival;
      else this.#accept(arrival);
    };
    await this.#until('greeting', 'send a new batch', () => next !== undefined);
    this.#settle();
    return next;
  }

  #settled(rule: Rule, batches: readonly WatchedBatch[]): Promise<boolean> {
    const names = batches.map(({ sequence }) => sequence).join(', ');
    return this.#until(rule, `send again what had no answer: ${names}`, () =>
      batches.every(({ final }) => final !== undefined),
    );
  }

  /** Whether the client goes on. */
  #moreBatches(rule: Rule): Promise<boolean> {
    const before = this.#watch.batches.length;
    const what = `send ${MORE_BATCHES} more batches`;
    return this.#until(rule, what, () => this.#watch.batches.length >= before + MORE_BATCHES);
  }

  #notAgain(rule: Rule, { arrivals, sequence }: WatchedBatch): void {
    if (arrivals > 1) this.#judge.fail(rule, `${sequence} came again after its final answer`);
  }

  async #until(rule: Rule, what: string, condition: () => boolean): Promise<boolean> {
    const { stepMs, signal } = this.#options;
    if (await this.#wait(stepMs, condition)) {
      this.#judge.saw(rule);
      return true;
    }
    const end = signal.aborted ? 'before it ended' : `within ${stepMs / 1000} s`;
    this.#judge.fail(rule, `did not ${what} ${end}`);
    return false;
  }

  /** Whether the condition came true in time. */
  async #wait(deadlineMs: number, condition: () => boolean): Promise<boolean> {
    const endMs = this.#clock.monotonicMs() + deadlineMs;
    const { signal } = this.#options;
    while (!condition()) {
      if (signal.aborted || this.#clock.monotonicMs() >= endMs) return false;
      await sleep(this.#clock, POLL_MS, signal);
    }
    return true;
  }
}
