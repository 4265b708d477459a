/**
 * The reference client of the wire contract. It numbers batches, keeps each until the collector's
 * final verdict, resends what a lost connection left open, and waits when told to. A batch is
 * encoded once; every resend is the same bytes under the same number, so the collector can tell.
 *
 *     send ─► spool ─► ledger ─► connection ─► collector
 *               ▲         ▲           │
 *               └─────────┴── acks ◄──┘
 */
import type { RecordableHistogram } from 'node:perf_hooks';
import type { Logger } from 'pino';
import { encodeBatch } from '../codec/encode-batch.ts';
import { encodeFrame, FRAME_HEADER_BYTES } from '../codec/framing.ts';
import type { Clock } from '../lib/clock.ts';
import { errorMessage, OperatingError } from '../lib/errors.ts';
import type { QuicCredentials } from '../transport/quic-endpoint.ts';
import type { BatchAck, Hello, SampleColumns, SeriesTable } from '../domain/telemetry.ts';
import { AckLedger, type PendingBatch } from './ack-ledger.ts';
import type { ClientDeps, ClientOptions } from './client-options.ts';
import {
  type BatchFate,
  type ClientStats,
  createCounters,
  createLatencyHistogram,
} from './client-stats.ts';
import { MAX_FRAME_BYTES } from './connection-loop.ts';
import { DiskSpool } from './disk-spool.ts';
import { openRace } from './open-race.ts';
import { recoveredPositions } from './recovered-positions.ts';
import { RecoveryReport } from './recovery-report.ts';
import { RejectionLog } from './rejection-log.ts';
import { MemorySpool, type Spool, type SpooledBatch } from './spool.ts';
import type { TransportRace } from './transport-race.ts';

/**
 * What became of a batch. `spooled`: it has no verdict, and is in the spool directory for the
 * next run. `spool_failed`: the spool directory could not store it.
 */
export type SendResult =
  | { status: 'accepted' | 'duplicate' | 'partial' | 'rejected'; ack: BatchAck }
  | { status: 'dropped'; reason: DropReason }
  | { status: 'spooled' };
export type DropReason = 'spool_full' | 'closed' | 'too_large' | 'spool_failed';

interface ClientBatch extends PendingBatch, SpooledBatch {
  /** Undefined for what an earlier run left behind. */
  readonly resolve: ((result: SendResult) => void) | undefined;
}

const MIN_HOLD_MS = 10;
const MAX_HOLD_MS = 60_000;
const DEFAULT_HOLD_MS = 100;
const MAX_IN_FLIGHT_BATCHES = 64;
const MAX_IN_FLIGHT_BYTES = 8 * 1024 * 1024;
/** How many dropped batches are logged one by one before only the count goes on. */
const DROP_LOG_INTERVAL_MS = 10_000;

/** One agent's connection to the collector, across reconnects; see the head of this file. */
export class TelemetryClient {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #nodeId: string;
  readonly #spool: Spool;
  readonly #recovery: RecoveryReport;
  readonly #rejections: RejectionLog;
  readonly #ledger: AckLedger<ClientBatch>;
  readonly #connection: TransportRace;
  readonly #counters = createCounters();
  readonly #ackLatency: RecordableHistogram;
  readonly #helloWaiters = new Set<Waiter>();
  readonly #idleWaiters = new Set<(isIdle: boolean) => void>();
  /** By `epoch/sequence`: whose answer an ack is. */
  readonly #byNumber = new Map<string, ClientBatch>();
  #hello: Hello | undefined;
  #hellos = 0;
  #epoch: number;
  /** How far ahead the next epoch is when this one is refused. */
  #epochStepMs = 1;
  #nextSequence = 1;
  #nextPosition = 1;
  #heldUntilMs = 0;
  #cancelHold: (() => void) | undefined;
  #closing: Promise<void> | undefined;
  #nextDropLogMs = 0;

  /**
   * Opens the spool and begins to connect; does not wait for the collector. Rejects with the
   * spool's SPOOL_LOCKED, SPOOL_UNUSABLE or SPOOL_OF_OTHER_NODE.
   */
  static async open(options: ClientOptions, deps: ClientDeps): Promise<TelemetryClient> {
    const client = new TelemetryClient(options, deps, await openSpool(options, deps));
    client.#connection.start();
    return client;
  }

  private constructor(options: ClientOptions, deps: ClientDeps, spool: Spool) {
    const { clock, logger } = deps;
    this.#clock = clock;
    this.#logger = logger;
    this.#nodeId = options.nodeId;
    this.#ackLatency = deps.ackLatency ?? createLatencyHistogram();
    this.#spool = spool;
    this.#recovery = new RecoveryReport(logger);
    this.#rejections = new RejectionLog(clock, logger);
    this.#epoch = spool.epoch;
    this.#ledger = new AckLedger({
      maxInFlightBatches: options.maxInFlightBatches ?? MAX_IN_FLIGHT_BATCHES,
      maxInFlightBytes: options.maxInFlightBytes ?? MAX_IN_FLIGHT_BYTES,
      firstPosition: this.#nextPosition,
    });
    this.#recover(options.maxInFlightBatches ?? MAX_IN_FLIGHT_BATCHES);
    this.#connection = openRace(options, deps, {
      onHello: (hello) => this.#greeted(hello),
      onAck: (ack, position) => this.#acknowledged(ack, position),
      onLost: () => this.#ledger.connectionLost(),
    });
  }

  /** What new batches are numbered in. */
  get epoch(): number {
    return this.#epoch;
  }

  /** The collector's last Hello; undefined before the first. Its limits bound what may be sent. */
  get hello(): Hello | undefined {
    return this.#hello;
  }

  get isConnected(): boolean {
    return this.#connection.isUp;
  }

  /** A snapshot; `ackLatency` is the live histogram. */
  get stats(): ClientStats {
    return {
      ...this.#counters,
      transport: this.#connection.transport,
      connects: this.#connection.connects,
      fallbacks: this.#connection.fallbacks,
      pendingBatches: this.#ledger.size,
      pendingSamples: this.#ledger.samples,
      spoolBytes: this.#spool.usedBytes,
      spool: this.#spool.health,
      rejectedByReason: this.#rejections.totals,
      clockAheadMs: this.#rejections.clockAheadMs,
      ackLatency: this.#ackLatency,
    };
  }

  /**
   * Gives the samples the next number and resolves with the final verdict, however many connections
   * that takes. The columns are read before this returns and may be reused. Never rejects.
   */
  send(table: SeriesTable, samples: SampleColumns): Promise<SendResult> {
    const sampleCount = samples.series.length;
    this.#counters.offeredBatches += 1;
    this.#counters.offeredSamples += sampleCount;
    if (this.#closing !== undefined) return this.#refuse('closed', sampleCount);
    // The least that the samples can take: a full spool is noticed without the cost of encoding.
    const leastBytes = table.bytes.length + sampleCount * 8;
    if (!this.#spool.hasRoomFor(leastBytes)) return this.#refuse('spool_full', sampleCount);
    const sequence = this.#nextSequence;
    const epoch = this.#epoch;
    const payload = encodeBatch({ nodeId: this.#nodeId, epoch, sequence, table, samples });
    if (this.#isTooLarge(payload.length, sampleCount))
      return this.#refuse('too_large', sampleCount);
    const frame = encodeFrame(payload);
    if (!this.#spool.hasRoomFor(frame.length)) return this.#refuse('spool_full', sampleCount);
    this.#nextSequence += 1;
    return new Promise((resolve) => {
      const batch = { epoch, sequence, sampleCount, bytes: frame.length };
      this.#spool.put(batch, frame);
      this.#add(batch, resolve);
      this.#pump();
    });
  }

  /**
   * Resolves at the next Hello, at once where there is a connection. Rejects with CLIENT_CLOSED.
   */
  connected(): Promise<void> {
    if (this.#connection.isUp) return Promise.resolve();
    if (this.#closing !== undefined) return Promise.reject(closedError());
    return new Promise((resolve, reject) => this.#helloWaiters.add({ resolve, reject }));
  }

  /**
   * Resolves with true once nothing is without a verdict, or with false at the deadline or at
   * `close`.
   */
  drain(deadlineMs: number): Promise<boolean> {
    if (this.#ledger.size === 0) return Promise.resolve(true);
    if (this.#closing !== undefined) return Promise.resolve(false);
    return new Promise((resolve) => {
      const finish = (isIdle: boolean) => {
        cancel();
        this.#idleWaiters.delete(finish);
        resolve(isIdle);
      };
      const cancel = this.#clock.after(deadlineMs, () => finish(false));
      this.#idleWaiters.add(finish);
    });
  }

  /** Uses other credentials, and connects again with them. */
  useCredentials(credentials: QuicCredentials): void {
    this.#connection.useCredentials(credentials);
  }

  /**
   * Ends the connection; what has no verdict is dropped, or spooled for the next run. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  #recover(span: number): void {
    const { recovered } = this.#spool;
    const { positions, next } = recoveredPositions(recovered, this.#nextPosition, span);
    for (const [index, batch] of recovered.entries()) {
      this.#nextPosition = positions[index]!;
      this.#add(batch, undefined);
      this.#counters.recoveredBatches += 1;
      this.#counters.recoveredSamples += batch.sampleCount;
    }
    this.#nextPosition = next;
    const { recoveredBatches, recoveredSamples } = this.#counters;
    this.#counters.offeredBatches += recoveredBatches;
    this.#counters.offeredSamples += recoveredSamples;
    const epoch = this.#epoch;
    this.#recovery.found({ batches: recoveredBatches, samples: recoveredSamples, epoch });
  }

  #add(batch: SpooledBatch, resolve: ClientBatch['resolve']): void {
    const position = this.#nextPosition;
    this.#nextPosition += 1;
    const pending: ClientBatch = {
      ...batch,
      position,
      state: 'ready',
      firstSentMs: undefined,
      resolve,
    };
    this.#ledger.add(pending);
    this.#byNumber.set(numberOf(batch), pending);
  }

  /** Sends whatever may be sent now. */
  #pump(): void {
    if (!this.#connection.isUp || this.#closing !== undefined) return;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#heldUntilMs) return;
    for (let batch = this.#ledger.next(); batch !== undefined; batch = this.#ledger.next()) {
      const frame = this.#sendableFrame(batch);
      if (frame === undefined) continue;
      if (batch.firstSentMs === undefined) {
        this.#counters.sentBatches += 1;
        this.#counters.sentSamples += batch.sampleCount;
      } else {
        this.#counters.resentBatches += 1;
      }
      this.#ledger.markSent(batch, nowMs);
      this.#connection.write(frame, batch.position);
    }
  }

  /** The batch's frame; where it can never be sent, the batch is dropped instead. */
  #sendableFrame(batch: ClientBatch): Uint8Array | undefined {
    const frame = this.#spool.frame(batch);
    const isTooLarge = this.#isTooLarge(batch.bytes - FRAME_HEADER_BYTES, batch.sampleCount);
    if (frame !== undefined && !isTooLarge) return frame;
    this.#ledger.drop(batch);
    this.#spool.remove(batch);
    const reason = frame === undefined ? 'spool_failed' : 'too_large';
    this.#logDrop(reason);
    this.#finish(batch, 'dropped', { status: 'dropped', reason });
    return undefined;
  }

  #isTooLarge(payloadBytes: number, sampleCount: number): boolean {
    if (payloadBytes + FRAME_HEADER_BYTES > MAX_FRAME_BYTES) return true;
    if (this.#hello === undefined) return false;
    return payloadBytes > this.#hello.maxBatchBytes || sampleCount > this.#hello.maxBatchSamples;
  }

  #greeted(hello: Hello): void {
    this.#hello = hello;
    this.#ledger.limitTo(hello.sequenceWindow);
    this.#rejections.greeted(hello);
    this.#hellos += 1;
    if (this.#hellos > 1) this.#counters.reconnects += 1;
    for (const waiter of this.#helloWaiters) waiter.resolve();
    this.#helloWaiters.clear();
    this.#pump();
  }

  #acknowledged(ack: BatchAck, position: number | undefined): void {
    const batch =
      position === undefined ? this.#byNumber.get(numberOf(ack)) : this.#ledger.find(position);
    if (batch?.state !== 'in-flight') this.#counters.unknownAcks += 1;
    else if (ack.status === 'throttled') this.#throttled(batch, ack);
    else this.#settled(batch, ack, ack.status);
  }

  #throttled(batch: ClientBatch, ack: BatchAck): void {
    this.#ledger.throttle(batch.position);
    this.#counters.throttled += 1;
    const wantedMs = ack.retryAfterMs > 0 ? ack.retryAfterMs : DEFAULT_HOLD_MS;
    const holdMs = Math.min(MAX_HOLD_MS, Math.max(MIN_HOLD_MS, wantedMs));
    // A little later than asked, each by its own chance: the others were told the same.
    const untilMs = this.#clock.monotonicMs() + holdMs * (1 + Math.random() / 10);
    if (untilMs <= this.#heldUntilMs) return;
    this.#heldUntilMs = untilMs;
    this.#cancelHold?.();
    this.#cancelHold = this.#clock.after(Math.ceil(untilMs - this.#clock.monotonicMs()), () => {
      this.#heldUntilMs = 0;
      this.#pump();
    });
  }

  #settled(
    batch: ClientBatch,
    ack: BatchAck,
    status: Exclude<BatchAck['status'], 'throttled'>,
  ): void {
    this.#ledger.settle(batch.position);
    this.#spool.remove(batch);
    const sentMs = batch.firstSentMs;
    if (sentMs !== undefined) {
      const latencyUs = Math.round((this.#clock.monotonicMs() - sentMs) * 1000);
      this.#ackLatency.record(Math.min(3_600_000_000, Math.max(1, latencyUs)));
    }
    if (status === 'rejected') {
      this.#rejections.refused(ack, batch.sampleCount);
      this.#leaveForgottenEpoch(batch, ack);
    } else if (status === 'partial') {
      const rejected = Math.min(ack.rejected, batch.sampleCount);
      this.#rejections.refused(ack, rejected);
      this.#counters.rejectedSamples += rejected;
      this.#counters.ackedSamples -= rejected;
    }
    const fate = status === 'accepted' || status === 'partial' ? 'acked' : status;
    if (fate === 'acked' && batch.epoch === this.#epoch) this.#epochStepMs = 1;
    this.#finish(batch, fate, { status, ack });
    this.#pump();
  }

  /**
   * The collector cannot tell any more what it stored under these numbers, and takes nothing new
   * under them. It cannot tell whether it has this batch, so it counts as refused and is not sent
   * under another number, which could store it twice; what comes from now on gets a new epoch. It
   * must be past the largest one forgotten, which is years ahead if a clock was wrong once: so
   * each refusal in a row reaches further.
   */
  #leaveForgottenEpoch(batch: ClientBatch, ack: BatchAck): void {
    const isForgotten = ack.rejections.some(({ reason }) => reason === 'out_of_window');
    if (!isForgotten || batch.epoch !== this.#epoch) return;
    const next = Math.max(this.#epoch, this.#clock.nowMs()) + this.#epochStepMs;
    this.#epoch = Math.min(next, Number.MAX_SAFE_INTEGER);
    this.#epochStepMs *= 1000;
    this.#nextSequence = 1;
    this.#logger.warn({ epoch: this.#epoch }, 'a new epoch: the collector has forgotten the last');
  }

  #refuse(reason: DropReason, sampleCount: number): Promise<SendResult> {
    this.#counters.droppedBatches += 1;
    this.#counters.droppedSamples += sampleCount;
    this.#logDrop(reason);
    return Promise.resolve({ status: 'dropped', reason });
  }

  /** Drops come in bursts: one line now and then, the counters have the rest. */
  #logDrop(reason: DropReason): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#nextDropLogMs) return;
    this.#nextDropLogMs = nowMs + DROP_LOG_INTERVAL_MS;
    const { droppedBatches, droppedSamples } = this.#counters;
    this.#logger.warn({ reason, droppedBatches, droppedSamples }, 'dropping samples');
  }

  /**
   * The batch has left the ledger: counts it, tells its sender, and wakes who waits for idleness.
   */
  #finish(batch: ClientBatch, fate: BatchFate, result: SendResult): void {
    this.#counters[`${fate}Batches`] += 1;
    this.#counters[`${fate}Samples`] += batch.sampleCount;
    this.#byNumber.delete(numberOf(batch));
    if (batch.resolve === undefined) this.#recovery.settled(fate);
    else batch.resolve(result);
    if (this.#ledger.size > 0) return;
    for (const finish of [...this.#idleWaiters]) finish(true);
  }

  async #close(): Promise<void> {
    this.#cancelHold?.();
    this.#connection.close();
    for (const finish of [...this.#idleWaiters]) finish(false);
    await this.#closeSpool();
    for (const batch of this.#ledger.clear()) {
      if (this.#spool.isStored(batch)) this.#finish(batch, 'spooled', { status: 'spooled' });
      else this.#finish(batch, 'dropped', { status: 'dropped', reason: 'closed' });
    }
    for (const waiter of this.#helloWaiters) waiter.reject(closedError());
    this.#helloWaiters.clear();
    this.#rejections.close();
    await this.#connection.closeSockets();
  }

  async #closeSpool(): Promise<void> {
    try {
      await this.#spool.close();
    } catch (error) {
      this.#logger.error({ err: error }, `cannot close the spool: ${errorMessage(error)}`);
    }
  }
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: OperatingError) => void;
}

function closedError(): OperatingError {
  return new OperatingError('CLIENT_CLOSED', 'cannot connect: the client is closed');
}

/** Names a batch and the answer to it alike. */
function numberOf({ epoch, sequence }: Pick<BatchAck, 'epoch' | 'sequence'>): string {
  return `${epoch}/${sequence}`;
}

async function openSpool(options: ClientOptions, deps: ClientDeps): Promise<Spool> {
  const { dir, maxBytes } = options.spool;
  const epoch = options.epoch ?? deps.clock.nowMs();
  if (dir === undefined) return new MemorySpool({ epoch, maxBytes });
  return DiskSpool.open({ dir, maxBytes, newEpoch: epoch, nodeId: options.nodeId }, deps);
}
