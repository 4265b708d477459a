/**
 * A fleet of agents, lean, so that it is not what is measured: real connections, real frames,
 * acknowledgements read and counted; no spool, and nothing is sent again but what the collector
 * sends back. One socket for all connections.
 */
import { createLatencyHistogram } from '../src/client/client-stats.ts';
import { decodeCollectorMessage } from '../src/codec/collector-message.ts';
import { FrameSplitter } from '../src/codec/framing.ts';
import { systemClock } from '../src/lib/clock.ts';
import { assert } from '../src/lib/errors.ts';
import type { QuicConnection, QuicEndpoint } from '../src/transport/quic-endpoint.ts';
import type { BatchAck } from '../src/domain/telemetry.ts';
import { LoadNode } from './load-node.ts';
import { type LoadTask, loadNodeId } from './load-task.ts';
import { pause } from './pause.ts';
import { onSchedule } from './schedule.ts';

const HOUR_MS = 3_600_000;
const MAX_MESSAGE_BYTES = 64 * 1024;
const DRAIN_DEADLINE_MS = 60_000;
/** More handshakes at once only make each of them slower. */
const HANDSHAKES_AT_ONCE = 64;
/** Connections are kept alive in turn: ten thousand at once would not fit a socket's buffer. */
const KEEPALIVE_TICKS = 100;
const KEEPALIVE_TICK_MS = 60;
/** First batches carry tables and make new series: of a large fleet they do not come at once. */
const FIRST_BATCHES_PER_SECOND = 200;
const SETTLE_MS = 100;
const STARTED_AT_ONCE = 50;
const START_PAUSE_MS = 20;
/** The first byte of a frame's length, which is under 16 MiB; it opens the stream. */
const OPENER = new Uint8Array(1);

interface Line {
  readonly connection: QuicConnection;
  readonly streamId: number;
  /** The stream's first byte is out; the first frame goes without it. */
  owesOpener: boolean;
}

interface Sender {
  readonly node: LoadNode;
  readonly line: Line;
  /** When a batch was sent or due, by sequence. */
  readonly unanswered: Map<number, number>;
}

export class LoadFleet {
  /** Microseconds from sending a batch, or from its due time, to its acknowledgement. */
  readonly latency = createLatencyHistogram();
  /** Microseconds that batches of a schedule left late; part of their latency. */
  readonly lateness = createLatencyHistogram();
  readonly totals = { sent: 0, acked: 0, rejected: 0, throttled: 0 };
  readonly #endpoint: QuicEndpoint;
  readonly #task: LoadTask;
  readonly #fail: (error: Error) => void;
  readonly #senders: Sender[] = [];
  readonly #byEpoch = new Map<number, Sender>();
  #isOver = false;
  #keepAlive: NodeJS.Timeout | undefined;
  #unanswered = 0;
  #onIdle: () => void = () => {};

  /** `fail` is called when a connection is lost or a batch refused: then nothing counts. */
  constructor(endpoint: QuicEndpoint, task: LoadTask, fail: (error: Error) => void) {
    this.#endpoint = endpoint;
    this.#task = task;
    this.#fail = fail;
  }

  /** Connects everybody; resolves once the collector has greeted them all. */
  async connect(): Promise<void> {
    const lines: Line[] = [];
    // From now on: ten thousand handshakes take longer than an idle connection lasts.
    let tick = 0;
    this.#keepAlive = setInterval(() => {
      for (let line = tick; line < lines.length; line += KEEPALIVE_TICKS) {
        lines[line]?.connection.ping();
      }
      tick = (tick + 1) % KEEPALIVE_TICKS;
    }, KEEPALIVE_TICK_MS);
    let next = 0;
    const opener = async () => {
      while (next < this.#task.connections) {
        const index = next;
        next += 1;
        lines[index] = await this.#openLine(index);
      }
    };
    await Promise.all(Array.from({ length: HANDSHAKES_AT_ONCE }, opener));
    // From the start of an hour that is over: one partition, and no time ahead of the clock.
    const startMs = (Math.floor(systemClock.nowMs() / HOUR_MS) - 2) * HOUR_MS;
    const firstEpoch = systemClock.nowMs() * 16;
    for (let index = 0; index < this.#task.nodes; index += 1) {
      const line = lines[index % lines.length];
      assert(line !== undefined, 'every node has a connection');
      const nodeId = loadNodeId(this.#task.firstNode + index);
      const node = new LoadNode(nodeId, this.#task.shape, startMs, firstEpoch + index);
      const sender = { node, line, unanswered: new Map<number, number>() };
      this.#senders.push(sender);
      this.#byEpoch.set(firstEpoch + index, sender);
    }
  }

  /** Sends as the task says and waits for the last answer. */
  async run(): Promise<void> {
    const { pace, seconds } = this.#task;
    const idle = new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
    if (pace.kind === 'schedule') {
      await this.#sendOnSchedule(pace.batchesPerSecond, seconds);
    } else if (pace.kind === 'once') {
      for (const sender of this.#senders) {
        this.#send(sender, systemClock.monotonicMs());
        // Windows are small beside a fleet of thousands on one connection.
        if (sender.line.connection.queuedBytes > 1_000_000) await pause(20);
      }
    } else {
      for (const [index, sender] of this.#senders.entries()) {
        for (let batch = 0; batch < pace.inFlight; batch += 1) {
          this.#send(sender, systemClock.monotonicMs());
        }
        // Thousands of batches at once would only overflow sockets.
        if (index % STARTED_AT_ONCE === STARTED_AT_ONCE - 1) await pause(START_PAUSE_MS);
      }
      await pause(seconds * 1000);
    }
    this.#isOver = true;
    if (this.#unanswered > 0) {
      const giveUp = setTimeout(
        () => this.#fail(new Error(`${this.#unanswered} batches stay unanswered`)),
        DRAIN_DEADLINE_MS,
      );
      await idle;
      clearTimeout(giveUp);
    }
    clearInterval(this.#keepAlive);
  }

  async #sendOnSchedule(batchesPerSecond: number, seconds: number): Promise<void> {
    const send = (batch: number, dueMs: number) => {
      record(this.lateness, systemClock.monotonicMs() - dueMs);
      const sender = this.#senders[batch % this.#senders.length];
      if (sender !== undefined) this.#send(sender, dueMs);
    };
    if (batchesPerSecond > FIRST_BATCHES_PER_SECOND) {
      await onSchedule(
        FIRST_BATCHES_PER_SECOND,
        this.#senders.length / FIRST_BATCHES_PER_SECOND,
        send,
      );
      while (this.#unanswered > 0) await pause(SETTLE_MS);
      this.latency.reset();
      this.lateness.reset();
    }
    await onSchedule(batchesPerSecond, seconds, send);
  }

  #send(sender: Sender, sinceMs: number, again?: number): void {
    const { node, line, unanswered } = sender;
    const { head, body } = node.next(again);
    line.connection.write(line.streamId, line.owesOpener ? head.subarray(1) : head);
    line.connection.write(line.streamId, body);
    line.owesOpener = false;
    unanswered.set(again ?? node.sequence, sinceMs);
    this.#unanswered += 1;
    if (again === undefined) this.totals.sent += node.samples;
  }

  #answered(ack: BatchAck): void {
    const sender = this.#byEpoch.get(ack.epoch);
    const sinceMs = sender?.unanswered.get(ack.sequence);
    if (sender === undefined || sinceMs === undefined) {
      this.#fail(new Error(`nobody asked for ${JSON.stringify(ack)}`));
      return;
    }
    if (ack.status === 'throttled') {
      this.totals.throttled += 1;
      setTimeout(() => {
        this.#unanswered -= 1;
        this.#send(sender, sinceMs, ack.sequence);
      }, ack.retryAfterMs);
      return;
    }
    sender.unanswered.delete(ack.sequence);
    this.#unanswered -= 1;
    if (ack.status === 'rejected' || ack.status === 'duplicate') {
      this.#fail(new Error(`a batch was refused: ${JSON.stringify(ack)}`));
    }
    this.totals.acked += ack.accepted;
    this.totals.rejected += ack.rejected;
    const nowMs = systemClock.monotonicMs();
    record(this.latency, nowMs - sinceMs);
    if (!this.#isOver && this.#task.pace.kind === 'full speed') this.#send(sender, nowMs);
    else if (this.#isOver && this.#unanswered === 0) this.#onIdle();
  }

  /** Resolves with the collector's Hello. */
  #openLine(index: number): Promise<Line> {
    const { credentials, remote } = this.#task;
    const own = credentials[index % credentials.length];
    assert(own !== undefined, 'there are credentials');
    const splitter = new FrameSplitter(MAX_MESSAGE_BYTES);
    return new Promise((resolve) => {
      let streamId = -1;
      const take = (connection: QuicConnection, frame: Uint8Array) => {
        const message = decodeCollectorMessage(frame);
        if ('ack' in message) this.#answered(message.ack);
        else resolve({ connection, streamId, owesOpener: true });
      };
      this.#endpoint.connect({
        remote,
        serverName: 'localhost',
        credentials: own,
        handshakeTimeoutMs: 60_000,
        handlers: {
          onConnected(connection) {
            streamId = connection.openStream('bidi') ?? -1;
            connection.write(streamId, OPENER);
          },
          onData: (connection, _streamId, bytes) => {
            splitter.push(bytes, (frame) => take(connection, frame));
          },
          onReset: () => this.#fail(new Error('the collector reset a stream')),
          onDrained: () => {},
          onClosed: (_connection, reason) => {
            if (this.#isOver && this.#unanswered === 0) return;
            this.#fail(new Error(`connection ${index} was lost: ${JSON.stringify(reason)}`));
          },
        },
      });
    });
  }
}

function record(histogram: LoadFleet['latency'], ms: number): void {
  histogram.record(Math.min(3_600_000_000, Math.max(1, Math.round(ms * 1000))));
}
