/**
 * Keeps one connection to the collector over one transport: looks the host up, connects, opens the
 * stream, waits for the Hello, hands acks upward, and starts over with a jittered delay when any of
 * it fails.
 *
 *     resolving ──► connecting ──► greeting ──Hello──► up
 *         ▲             │              │                │
 *         └── backoff ◄─┴──────────────┴────────────────┘   any close, silence or nonsense
 *
 * A TLS 1.3 client believes itself connected before the collector has looked at its certificate, so
 * only the Hello counts. The collector cannot answer on a stream it has not seen: one byte opens
 * it, the first of the first frame's length, which is zero for every frame under 16 MiB.
 */
import type { Logger } from 'pino';
import { type CollectorMessage, decodeCollectorMessage } from '../codec/collector-message.ts';
import { FrameSplitter } from '../codec/framing.ts';
import { TableNaming } from '../codec/table-naming.ts';
import { Backoff, type BackoffOptions } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { assert, errorMessage } from '../lib/errors.ts';
import type {
  QuicAddress,
  QuicCloseReason,
  QuicConnection,
  QuicCredentials,
  QuicHandlers,
  TransportName,
} from '../transport/quic-endpoint.ts';
import type { BatchAck, Hello } from '../domain/telemetry.ts';
import type { ClientEndpoints } from './client-endpoints.ts';
import { AGENT_CLOSE_CODES, describeClose, isAnswer } from './close-codes.ts';
import { type HostLookup, resolveRemote } from './remote-address.ts';

/** No frame may be longer: its first length byte must be zero. */
export const MAX_FRAME_BYTES = 2 ** 24 - 1;
/** Largest message of the collector that is believed. */
const MAX_MESSAGE_BYTES = 1024 * 1024;
const STREAM_OPENER = new Uint8Array(1);
/** A connection that stood this long is no longer a failed try, even without an ack. */
const STABLE_AFTER_MS = 10_000;

export interface ConnectionOptions {
  readonly remote: QuicAddress;
  readonly serverName: string;
  readonly handshakeTimeoutMs: number;
  /** How long the collector may owe an ack without giving any. */
  readonly ackTimeoutMs: number;
  readonly keepaliveMs: number;
  readonly backoff: BackoffOptions;
}

export interface ConnectionDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly endpoints: ClientEndpoints;
  readonly lookupHost: HostLookup;
}

/** How a try ended. */
export interface TryEnd {
  /** The Hello had come. */
  readonly wasUp: boolean;
  /** And an ack after it. */
  readonly wasAcked: boolean;
  /** The collector ended it, or is the wrong one: the network lets the transport through. */
  readonly isAnswered: boolean;
}

/** Called synchronously; neither after `close`, nor for what `stop` ended. */
export interface TryEvents {
  onTrying(): void;
  onHello(hello: Hello): void;
  /** `position` is that of the frame that is answered; undefined where it cannot be told. */
  onAck(ack: BatchAck, position: number | undefined): void;
  onEnded(end: TryEnd): void;
}

/** One try: replaced as a whole, so that nothing of an old connection can touch a new one. */
interface Attempt {
  connection: QuicConnection | undefined;
  streamId: number;
  readonly splitter: FrameSplitter;
  isUp: boolean;
  isAcked: boolean;
  /** Frames written so far, and the positions of those without an answer, by their number. */
  frames: number;
  readonly positions: Map<number, number>;
  /** Undefined where the collector must be sent every series table. */
  tables: TableNaming | undefined;
  /** The stream opener went out; the first frame goes without its first byte. */
  owesFirstByte: boolean;
  readonly cancels: (() => void)[];
}

export class ConnectionLoop {
  readonly #deps: ConnectionDeps;
  readonly #options: ConnectionOptions;
  readonly #events: TryEvents;
  readonly #backoff: Backoff;
  #credentials: QuicCredentials;
  #attempt: Attempt | undefined;
  #tries = 0;
  #isRunning = false;
  #cancelRetry = () => {};
  #lastHeardMs = 0;
  #owedAcks = 0;

  constructor(
    deps: ConnectionDeps,
    options: ConnectionOptions,
    credentials: QuicCredentials,
    events: TryEvents,
  ) {
    this.#deps = deps;
    this.#options = options;
    this.#credentials = credentials;
    this.#events = events;
    this.#backoff = new Backoff(options.backoff);
  }

  /** Whether the collector's Hello has arrived on the present connection. */
  get isUp(): boolean {
    return this.#attempt?.isUp ?? false;
  }

  get transport(): TransportName {
    return this.#deps.endpoints.transport;
  }

  /** Whether it is connected, connects, or waits to do so. */
  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Begins to connect, and never gives up until `stop`. Idempotent. */
  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#backoff.reset();
    void this.#connect();
  }

  /** Does not wait any longer for the next try, if it does. */
  tryNow(): void {
    if (this.#isRunning && this.#attempt === undefined) this.#retryIn(0);
  }

  /** Ends the connection, or the tries for one, until the next `start`. Idempotent. */
  stop(code: keyof typeof AGENT_CLOSE_CODES, reason: string): void {
    this.#isRunning = false;
    this.#cancelRetry();
    this.#giveUp(AGENT_CLOSE_CODES[code], reason);
  }

  /** Sends the frame of a batch, which is copied. Only while `isUp`. */
  write(frame: Uint8Array, position: number): void {
    const attempt = this.#attempt;
    assert(attempt?.isUp === true, 'frames are written only while the connection is up');
    assert(frame[0] === 0 && frame.length <= MAX_FRAME_BYTES, 'a frame is under 16 MiB');
    if (this.#owedAcks === 0) this.#lastHeardMs = this.#deps.clock.monotonicMs();
    this.#owedAcks += 1;
    attempt.frames += 1;
    attempt.positions.set(attempt.frames, position);
    for (const part of attempt.tables?.shorten(frame) ?? [frame]) {
      const bytes = attempt.owesFirstByte ? part.subarray(1) : part;
      attempt.owesFirstByte = false;
      attempt.connection?.write(attempt.streamId, bytes);
    }
  }

  /** Uses other credentials from now on, and connects again with them at once. */
  useCredentials(credentials: QuicCredentials): void {
    this.#credentials = credentials;
    if (!this.#isRunning) return;
    const lost = this.#giveUp(AGENT_CLOSE_CODES.newCredentials, 'new credentials');
    this.#backoff.reset();
    this.#retryIn(0);
    if (lost?.wasUp === true) this.#events.onEnded({ ...lost, isAnswered: true });
  }

  /** After `stop`: closes the endpoints, once what they still send is out. */
  closeSockets(): Promise<void> {
    return this.#deps.endpoints.close();
  }

  async #connect(): Promise<void> {
    const { clock, endpoints, lookupHost } = this.#deps;
    const { remote, handshakeTimeoutMs, serverName } = this.#options;
    const attempt = newAttempt();
    this.#attempt = attempt;
    this.#events.onTrying();
    try {
      const family = endpoints.family;
      const address = await resolveRemote(clock, lookupHost, {
        remote,
        tries: this.#tries,
        timeoutMs: handshakeTimeoutMs,
        ...(family === undefined ? {} : { family }),
      });
      this.#tries += 1;
      const endpoint = await endpoints.for(address.host);
      if (this.#attempt !== attempt) return;
      attempt.connection = endpoint.connect({
        remote: address,
        serverName,
        credentials: this.#credentials,
        handshakeTimeoutMs,
        handlers: this.#handlers(attempt, address),
      });
    } catch (error) {
      if (this.#attempt === attempt) this.#fail(attempt, errorMessage(error), false);
    }
  }

  #handlers(attempt: Attempt, address: QuicAddress): QuicHandlers {
    const { serverName } = this.#options;
    const isCurrent = () => this.#attempt === attempt;
    return {
      onConnected: (connection) => {
        if (isCurrent()) this.#greet(attempt, connection);
      },
      onData: (_connection, streamId, bytes, fin) => {
        if (!isCurrent() || streamId !== attempt.streamId) return;
        this.#receive(attempt, bytes);
        if (fin && isCurrent())
          this.#abandon(attempt, 'badMessage', 'the collector ended the stream');
      },
      onReset: () => {
        if (isCurrent()) this.#abandon(attempt, 'badMessage', 'the collector reset the stream');
      },
      onDrained: () => {},
      onClosed: (_connection: QuicConnection, reason: QuicCloseReason) => {
        if (!isCurrent()) return;
        const target = { transport: this.transport, address, serverName };
        this.#fail(attempt, describeClose(reason, target), isAnswer(reason));
      },
    };
  }

  #greet(attempt: Attempt, connection: QuicConnection): void {
    attempt.connection = connection;
    const streamId = connection.openStream('bidi');
    if (streamId === undefined) {
      this.#abandon(attempt, 'silent', 'the collector allows no stream');
      return;
    }
    attempt.streamId = streamId;
    attempt.owesFirstByte = true;
    connection.write(streamId, STREAM_OPENER);
    const { clock } = this.#deps;
    const waitMs = this.#options.handshakeTimeoutMs;
    attempt.cancels.push(
      clock.after(waitMs, () => {
        if (!attempt.isUp) this.#abandon(attempt, 'silent', `no Hello within ${waitMs} ms`);
      }),
    );
  }

  #receive(attempt: Attempt, bytes: Uint8Array): void {
    let trouble: string | undefined;
    const isWhole = attempt.splitter.push(bytes, (frame) => {
      if (trouble !== undefined || this.#attempt !== attempt) return;
      try {
        this.#take(attempt, decodeCollectorMessage(frame));
      } catch (error) {
        trouble = errorMessage(error);
      }
    });
    if (!isWhole) trouble ??= attempt.splitter.brokenReason ?? 'a bad frame';
    if (trouble !== undefined && this.#attempt === attempt) {
      this.#abandon(attempt, 'badMessage', `cannot understand the collector: ${trouble}`);
    }
  }

  #take(attempt: Attempt, message: CollectorMessage): void {
    this.#lastHeardMs = this.#deps.clock.monotonicMs();
    if ('hello' in message) {
      if (!attempt.isUp) this.#up(attempt, message.hello);
      return;
    }
    this.#owedAcks = Math.max(0, this.#owedAcks - 1);
    this.#backoff.reset();
    attempt.isAcked = true;
    const position = attempt.positions.get(message.frame);
    attempt.positions.delete(message.frame);
    // A collector from before frames were counted: its answers name batches by their numbers.
    if (message.frame === 0) attempt.positions.clear();
    this.#events.onAck(message.ack, position);
  }

  #up(attempt: Attempt, hello: Hello): void {
    const { clock, logger } = this.#deps;
    attempt.isUp = true;
    // A collector from before these fields promises to remember the newest table.
    const most = { tables: hello.rememberedTables, bytes: hello.rememberedTableBytes };
    if (hello.acceptsSeriesTableId) attempt.tables = new TableNaming(most);
    this.#owedAcks = 0;
    attempt.cancels.push(clock.after(STABLE_AFTER_MS, () => this.#backoff.reset()));
    this.#keepAlive(attempt);
    this.#watchAcks(attempt, this.#options.ackTimeoutMs);
    const { host, port } = attempt.connection?.remoteAddress ?? this.#options.remote;
    const { collectorId, nodeId } = hello;
    const { transport } = this;
    logger.info({ collector: `${host}:${port}`, transport, collectorId, nodeId }, 'connected');
    this.#events.onHello(hello);
  }

  #keepAlive(attempt: Attempt): void {
    const cancel = this.#deps.clock.after(this.#options.keepaliveMs, () => {
      attempt.cancels[0] = () => {};
      attempt.connection?.ping();
      this.#keepAlive(attempt);
    });
    attempt.cancels[0] = cancel;
  }

  #watchAcks(attempt: Attempt, delayMs: number): void {
    const cancel = this.#deps.clock.after(delayMs, () => {
      const { ackTimeoutMs } = this.#options;
      const silentMs = this.#deps.clock.monotonicMs() - this.#lastHeardMs;
      if (this.#owedAcks > 0 && silentMs >= ackTimeoutMs) {
        this.#abandon(attempt, 'silent', `no ack within ${ackTimeoutMs} ms`);
        return;
      }
      const restMs = this.#owedAcks > 0 ? ackTimeoutMs - silentMs : ackTimeoutMs;
      this.#watchAcks(attempt, Math.max(1, restMs));
    });
    attempt.cancels[1] = cancel;
  }

  /** Closes a connection that is of no more use, and tries again later. */
  #abandon(attempt: Attempt, code: keyof typeof AGENT_CLOSE_CODES, why: string): void {
    const { connection } = attempt;
    this.#fail(attempt, why, code !== 'silent');
    connection?.close(AGENT_CLOSE_CODES[code], why.slice(0, 100));
  }

  /** The attempt has ended: says why, and plans the next one. */
  #fail(attempt: Attempt, why: string, isAnswered: boolean): void {
    const { isUp: wasUp, isAcked: wasAcked } = attempt;
    this.#discard(attempt);
    const { host, port } = this.#options.remote;
    const nextTryMs = Math.round(this.#backoff.nextDelayMs());
    const { failures } = this.#backoff;
    this.#retryIn(nextTryMs);
    this.#events.onEnded({ wasUp, wasAcked, isAnswered });
    const fields = {
      collector: `${host}:${port}`,
      transport: this.transport,
      why,
      // Where the other transport is in use, this one rests.
      ...(this.#isRunning ? { nextTryMs } : {}),
      failures,
    };
    this.#deps.logger.warn(fields, wasUp ? 'connection lost' : 'cannot connect');
  }

  /** What is ended by this, if anything. */
  #giveUp(code: number, reason: string): Omit<TryEnd, 'isAnswered'> | undefined {
    const attempt = this.#attempt;
    if (attempt === undefined) return undefined;
    const { connection, isUp: wasUp, isAcked: wasAcked } = attempt;
    this.#discard(attempt);
    connection?.close(code, reason);
    return { wasUp, wasAcked };
  }

  #discard(attempt: Attempt): void {
    for (const cancel of attempt.cancels) cancel();
    attempt.isUp = false;
    this.#attempt = undefined;
  }

  #retryIn(delayMs: number): void {
    this.#cancelRetry();
    this.#cancelRetry = this.#deps.clock.after(delayMs, () => void this.#connect());
  }
}

function newAttempt(): Attempt {
  return {
    connection: undefined,
    streamId: -1,
    splitter: new FrameSplitter(MAX_MESSAGE_BYTES),
    isUp: false,
    isAcked: false,
    frames: 0,
    positions: new Map(),
    tables: undefined,
    owesFirstByte: false,
    // The first two places belong to the keepalive and the ack watch, which renew themselves.
    cancels: [() => {}, () => {}],
  };
}
