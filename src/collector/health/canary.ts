/**
 * Proves that the daemon works even when no agent sends: every two seconds an empty batch of the
 * node `_collector` goes the way of an agent's batch. Each stage is judged by the age of the newest
 * one that has passed it.
 *
 *     encode → decode → admission → journal (on disk) ──► each writer: has passed its record
 *
 * It holds no samples, so no table, bucket or ledger shows it. It takes a number in the journal, as
 * every record does. The writers recognise a record without samples: before they let it pass, the
 * InfluxDB writer sends an empty request to the bucket, and the Parquet writer makes a file in the
 * staging directory.
 */
import { encodeBatch } from '../../codec/encode-batch.ts';
import { encodeSeriesTable } from '../../codec/series-table.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import { repeat } from '../../lib/repeat.ts';
import type { BatchAck, PeerIdentity } from '../../domain/telemetry.ts';

export const CANARY_NODE = '_collector';

const INTERVAL_MS = 2000;
/** A canary that was sent back tries again this soon: the gate opens for moments under load. */
const RETRY_MS = 250;
const LOOK_INTERVAL_MS = 500;
/** Canaries that a stage may owe; beyond, every second one is forgotten. */
const WAITING_MAX = 1024;

/** Who sends canaries, to those who want a certificate's word for it. */
export const CANARY_PEER: PeerIdentity = {
  nodeIds: [CANARY_NODE],
  fingerprint256: '',
  serialNumber: '',
  validToMs: Number.POSITIVE_INFINITY,
};

export interface CanaryDeps {
  readonly clock: Clock;
  /** The way of a frame up to its acknowledgement. */
  readonly send: (frame: Uint8Array) => Promise<BatchAck>;
  /** The newest durable record. */
  readonly headSeq: () => number;
}

/** A stage behind the journal. */
export interface CanaryWriter {
  readonly name: string;
  /** What the stage has proven to be through, as a seq of the journal. */
  readonly passedSeq: () => number;
}

/** What is known of one stage. */
export interface CanaryAge {
  readonly stage: string;
  /** Age of the newest canary that came through, since it was sent; from the start before one. */
  readonly ageMs: number;
  readonly hasPassed: boolean;
  /** For how long nothing has come through although a canary waits; 0 where none does. */
  readonly stuckMs: number;
  /** Canaries that have not come through, those that were forgotten left out. */
  readonly waiting: number;
}

export class Canary {
  readonly #deps: CanaryDeps;
  readonly #journal: Stage;
  readonly #writers: readonly WriterStage[];
  readonly #frame = canaryFrame();
  #stops: (() => void)[] = [];
  #nextMs = 0;
  #isUnderWay = false;
  #refusal = '';
  #sent = 0;
  #refused = 0;

  constructor(deps: CanaryDeps, writers: readonly CanaryWriter[]) {
    const nowMs = deps.clock.monotonicMs();
    this.#deps = deps;
    this.#journal = new Stage('journal', nowMs);
    this.#writers = writers.map((writer) => new WriterStage(writer, nowMs));
  }

  /** Canaries sent so far, and those of them that the journal did not take. */
  get counts(): { readonly sent: number; readonly refused: number } {
    return { sent: this.#sent, refused: this.#refused };
  }

  /** Why the last canary did not get into the journal; '' where it did. */
  get refusal(): string {
    return this.#refusal;
  }

  /** The stages in their order, as of now. */
  get ages(): CanaryAge[] {
    this.#look();
    const nowMs = this.#deps.clock.monotonicMs();
    return [this.#journal, ...this.#writers].map((stage) => stage.age(nowMs));
  }

  /** Sends the first one now. */
  start(): void {
    const { clock } = this.#deps;
    this.#sendIfDue();
    this.#stops = [
      repeat(clock, RETRY_MS, () => this.#sendIfDue()),
      repeat(clock, LOOK_INTERVAL_MS, () => this.#look()),
    ];
  }

  close(): void {
    for (const stop of this.#stops) stop();
  }

  /** One at a time: a canary that never returns is the last one. */
  #sendIfDue(): void {
    if (this.#isUnderWay || this.#deps.clock.monotonicMs() < this.#nextMs) return;
    this.#isUnderWay = true;
    void this.#send().finally(() => {
      this.#isUnderWay = false;
    });
  }

  async #send(): Promise<void> {
    const { clock, send, headSeq } = this.#deps;
    const sentMs = clock.monotonicMs();
    this.#nextMs = sentMs + INTERVAL_MS;
    this.#sent += 1;
    this.#journal.sent(sentMs);
    try {
      const ack = await send(this.#frame);
      this.#refusal = ack.status === 'accepted' ? '' : `${ack.status}: ${ack.message}`;
    } catch (error) {
      this.#refusal = errorMessage(error);
    }
    if (this.#refusal !== '') {
      this.#refused += 1;
      this.#nextMs = 0;
      return;
    }
    const nowMs = clock.monotonicMs();
    this.#journal.passed(sentMs, nowMs);
    // Its own seq or a later one of the same moment; both stand for the same work.
    for (const stage of this.#writers) stage.note(headSeq(), sentMs);
    this.#look();
  }

  #look(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    for (const stage of this.#writers) stage.look(nowMs);
  }
}

function canaryFrame(): Uint8Array {
  const nothing = {
    series: new Uint32Array(0),
    timestampsMs: new Float64Array(0),
    values: new Float64Array(0),
  };
  const batch = { nodeId: CANARY_NODE, epoch: 0, sequence: 0, table: encodeSeriesTable([]) };
  return encodeBatch({ ...batch, samples: nothing });
}

class Stage {
  readonly #name: string;
  /** When the newest canary that came through was sent. */
  #passedSentMs: number;
  #hasPassed = false;
  /** The last time that something came through, or that something began to wait. */
  #movedMs: number;
  #isWaiting = false;

  constructor(name: string, startedMs: number) {
    this.#name = name;
    this.#passedSentMs = startedMs;
    this.#movedMs = startedMs;
  }

  /** Something waits from now on. */
  sent(nowMs: number): void {
    if (!this.#isWaiting) this.#movedMs = nowMs;
    this.#isWaiting = true;
  }

  /** Something that counts as work came through, a canary or not. */
  moved(nowMs: number): void {
    this.#movedMs = nowMs;
  }

  passed(sentMs: number, nowMs: number, isMoreWaiting = false): void {
    this.#passedSentMs = sentMs;
    this.#hasPassed = true;
    this.#movedMs = nowMs;
    this.#isWaiting = isMoreWaiting;
  }

  age(nowMs: number, waiting = this.#isWaiting ? 1 : 0): CanaryAge {
    return {
      waiting,
      stage: this.#name,
      ageMs: nowMs - this.#passedSentMs,
      hasPassed: this.#hasPassed,
      stuckMs: this.#isWaiting ? nowMs - this.#movedMs : 0,
    };
  }
}

class WriterStage {
  readonly #writer: CanaryWriter;
  readonly #stage: Stage;
  #waiting: { readonly seq: number; readonly sentMs: number }[] = [];
  #passedSeq: number;

  constructor(writer: CanaryWriter, startedMs: number) {
    this.#writer = writer;
    this.#stage = new Stage(writer.name, startedMs);
    this.#passedSeq = writer.passedSeq();
  }

  note(seq: number, sentMs: number): void {
    this.#stage.sent(sentMs);
    this.#waiting.push({ seq, sentMs });
    if (this.#waiting.length <= WAITING_MAX) return;
    this.#waiting = this.#waiting.filter((_, index) => index % 2 === 1);
  }

  look(nowMs: number): void {
    const passedSeq = this.#writer.passedSeq();
    // Not "more than before": a writer that failed reads again from its cursor.
    if (passedSeq !== this.#passedSeq) this.#stage.moved(nowMs);
    this.#passedSeq = passedSeq;
    const through = this.#waiting.filter(({ seq }) => seq <= passedSeq).length;
    const last = this.#waiting[through - 1];
    if (last === undefined) return;
    this.#waiting = this.#waiting.slice(through);
    this.#stage.passed(last.sentMs, nowMs, this.#waiting.length > 0);
  }

  age(nowMs: number): CanaryAge {
    return this.#stage.age(nowMs, this.#waiting.length);
  }
}
