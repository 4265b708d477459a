/**
 * An agent under torture: sends batch after batch through the reference client, and notes what was
 * promised. On demand it forgets its epoch, speaks over two connections at once, sends old epochs
 * again, has a clock that jumps, changes its series table with each batch, or sends times of many
 * hours.
 */
import { pino } from 'pino';
import { type SendResult, TelemetryClient } from '../../src/client/client.ts';
import { stacksFor, type TransportChoice } from '../../src/client/transport-choice.ts';
import { type Clock, sleep } from '../../src/lib/clock.ts';
import type { QuicAddress, QuicCredentials } from '../../src/transport/quic-endpoint.ts';
import { quinnStack } from '../../src/transport/quinn/quinn-endpoint.ts';
import { tlsStack } from '../../src/transport/tls/tls-endpoint.ts';
import type { Obligations } from './obligations.ts';
import { type BatchForm, LABELLED_TABLES, nodeName } from './samples.ts';
import { tortureBatch, tortureTable } from './samples.ts';

export interface TortureAgentOptions {
  readonly node: number;
  readonly baseMs: number;
  readonly remote: QuicAddress;
  readonly credentials: QuicCredentials;
  readonly transport: TransportChoice;
  readonly intervalMs: number;
}

export interface TortureAgentDeps {
  readonly clock: Clock;
  readonly obligations: Obligations;
}

interface SentRound {
  readonly round: number;
  readonly form: BatchForm;
}

/** One epoch: what was sent in it, in sequence order, and over which connections. */
interface Generation {
  readonly epoch: number;
  readonly sent: SentRound[];
  clients: TelemetryClient[];
  /** How often the collector had lost numbers when it began. */
  readonly losses: number;
}

/** Impatient, so that a killed collector is noticed soon. */
export const IMPATIENT = {
  idleTimeoutMs: 1000,
  keepaliveMs: 300,
  handshakeTimeoutMs: 2000,
  ackTimeoutMs: 2500,
  transportFallbackMs: 500,
  transportRetryMs: 2000,
  backoff: { initialMs: 20, maxMs: 250 },
} as const;

/** More than this waiting for an answer, and the agent pauses. */
const WAITING_MAX = 60;
/** Now and then many batches at once, so that several share a commit. */
const BURST_EVERY = 40;
const BURST_BATCHES = 20;
/** Well under the eight epochs of a node that the collector remembers. */
const EPOCHS_KEPT = 4;
const RESEND_DEADLINE_MS = 60_000;
/** Half of them with labels of their own, half that differ from others in their order alone. */
const TABLES = 2 * LABELLED_TABLES;

export class TortureAgent {
  readonly #options: TortureAgentOptions;
  readonly #deps: TortureAgentDeps;
  readonly #usualTable = tortureTable();
  readonly #stop = new AbortController();
  readonly #old: Generation[] = [];
  #generation: Generation | undefined;
  #nextRound = 1;
  #lastEpoch = 0;
  #losses = 0;
  #strayRounds = 0;
  #scatteredRounds = 0;
  /** The number of the next batch's table; 0 is the usual one for all. */
  #nextTable = 0;
  #running: Promise<void> = Promise.resolve();
  /** One change of generation at a time. */
  #changing: Promise<void> = Promise.resolve();

  constructor(options: TortureAgentOptions, deps: TortureAgentDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  get node(): number {
    return this.#options.node;
  }

  async start(connections = 1): Promise<void> {
    await this.#open(connections);
    this.#running = this.#run();
  }

  /** Forgets the epoch, as an agent without a spool does when it starts anew. */
  newEpoch(): Promise<void> {
    return this.#change(() => this.#open(1));
  }

  /** A new epoch whose every batch goes over two connections at once. */
  twins(): Promise<void> {
    return this.#change(() => this.#open(2));
  }

  /** The next `rounds` batches have samples with times out of bounds. */
  clockJump(rounds: number): void {
    this.#strayRounds = rounds;
  }

  /** The next `rounds` batches have samples of many hours. */
  scatter(rounds: number): void {
    this.#scatteredRounds = rounds;
  }

  /** Whether each batch comes with another series table from now on. */
  changeTables(isOn: boolean): void {
    this.#nextTable = isOn ? Math.max(1, this.#nextTable) : 0;
  }

  /** Never sends again what earlier epochs have sent: the collector has lost their numbers. */
  forgetOld(): void {
    this.#old.length = 0;
    this.#losses += 1;
  }

  /** Sends everything of an old epoch once more, under its old numbers. */
  async resendOld(pick: number): Promise<boolean> {
    const old = this.#old[Math.floor(pick * this.#old.length)];
    if (old === undefined) return false;
    const client = await this.#openClient(old.epoch);
    try {
      const results = old.sent.slice(0, 900).map((sent) => this.#send(client, sent));
      await client.drain(RESEND_DEADLINE_MS);
      await client.close();
      await Promise.all(results);
      return true;
    } finally {
      await client.close();
    }
  }

  /** Sends nothing new any more. */
  async pause(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#changing;
  }

  /** Everything sent in the present epoch has its answer; false at the deadline. */
  async drain(deadlineMs: number): Promise<boolean> {
    const clients = this.#generation?.clients ?? [];
    const drained = await Promise.all(clients.map((client) => client.drain(deadlineMs)));
    return drained.every((one) => one);
  }

  /** One more batch, after everything else; whether it was acknowledged in time. */
  async sendFresh(deadlineMs: number): Promise<boolean> {
    const before = this.#nextRound;
    this.#sendRound();
    if (!(await this.drain(deadlineMs))) return false;
    return this.#deps.obligations.get(this.node, before)?.ackedMs !== undefined;
  }

  async close(): Promise<void> {
    await this.pause();
    await this.#closeGeneration();
  }

  async #run(): Promise<void> {
    const { clock } = this.#deps;
    for (let turn = 1; !this.#stop.signal.aborted; turn += 1) {
      const clients = this.#generation?.clients ?? [];
      if (clients.every(({ stats }) => stats.pendingBatches < WAITING_MAX)) {
        const batches = turn % BURST_EVERY === 0 ? BURST_BATCHES : 1;
        for (let sent = 0; sent < batches; sent += 1) this.#sendRound();
      }
      await sleep(clock, this.#options.intervalMs, this.#stop.signal);
    }
  }

  #sendRound(): void {
    const generation = this.#generation;
    if (generation === undefined) return;
    const sent = { round: this.#nextRound, form: this.#nextForm() };
    this.#nextRound += 1;
    generation.sent.push(sent);
    for (const client of generation.clients) void this.#send(client, sent);
  }

  #nextForm(): BatchForm {
    const stray = this.#strayRounds > 0;
    const scattered = !stray && this.#scatteredRounds > 0;
    if (stray) this.#strayRounds -= 1;
    if (scattered) this.#scatteredRounds -= 1;
    const table = this.#nextTable;
    if (table > 0) this.#nextTable = (table % TABLES) + 1;
    return { stray, scattered, table };
  }

  async #send(client: TelemetryClient, { round, form }: SentRound): Promise<void> {
    const { clock, obligations } = this.#deps;
    const { baseMs, node } = this.#options;
    const batch = obligations.sent(node, round, form, clock.nowMs());
    const { table, order } = form.table === 0 ? this.#usualTable : tortureTable(form.table);
    const columns = tortureBatch(baseMs, { node, round }, form, order);
    const result: SendResult = await client.send(table, columns);
    if ('ack' in result) obligations.answered(batch, result.ack, clock.nowMs());
    else obligations.givenUp(batch);
  }

  #change(work: () => Promise<void>): Promise<void> {
    this.#changing = this.#changing.then(work);
    return this.#changing;
  }

  async #open(connections: number): Promise<void> {
    await this.#closeGeneration();
    this.#lastEpoch = Math.max(this.#lastEpoch + 1, this.#deps.clock.nowMs());
    const epoch = this.#lastEpoch;
    const clients: TelemetryClient[] = [];
    for (let i = 0; i < connections; i += 1) clients.push(await this.#openClient(epoch));
    this.#generation = { epoch, sent: [], clients, losses: this.#losses };
  }

  #openClient(epoch: number): Promise<TelemetryClient> {
    const { remote, credentials, node, transport } = this.#options;
    return TelemetryClient.open(
      {
        remote,
        serverName: 'localhost',
        credentials,
        nodeId: nodeName(node),
        epoch,
        spool: { maxBytes: 64 * 1024 * 1024 },
        ...IMPATIENT,
      },
      {
        clock: this.#deps.clock,
        logger: pino({ enabled: false }),
        ...stacksFor(transport, { quic: quinnStack, tls: tlsStack }),
      },
    );
  }

  async #closeGeneration(): Promise<void> {
    const old = this.#generation;
    if (old === undefined) return;
    this.#generation = undefined;
    await Promise.all(old.clients.map((client) => client.close()));
    old.clients = [];
    if (old.losses !== this.#losses) return;
    this.#old.push(old);
    if (this.#old.length > EPOCHS_KEPT) this.#old.shift();
  }
}
