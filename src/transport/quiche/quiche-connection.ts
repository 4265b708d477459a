/**
 * One QUIC connection over quiche. Does no I/O of its own: the endpoint gives it datagrams and
 * calls `pump` once a turn of the event loop for every connection that something happened to;
 * `pump` hands what arrived to the handlers, writes what is queued, sends what quiche wants sent
 * and sets the one timer.
 *
 *   handshaking ──► open ──► closing ──► closed (onClosed was called; quiche is gone; late packets
 *        └────────────────────┘            are answered with the last datagram) ──► forgotten
 *
 * The endpoint calls `pump` for closing connections as well; a closed one ignores it.
 */
import type { Connection, Host, RecvInfo } from '@matrixai/quic/native/types.js';
import type { Clock } from '../../lib/clock.ts';
import { closeReasonOf, type LocalClose, TRANSPORT_CONNECTION_REFUSED } from '../close-reason.ts';
import type { QuicAddress, QuicConnection, QuicHandlers, StreamKind } from '../quic-endpoint.ts';
import { type StreamReader, type StreamSink, StreamWriter } from './stream-io.ts';

/** Datagrams sent for one connection in one turn, so that a wide congestion window yields too. */
const SEND_DATAGRAMS_MAX = 512;
/** How long a close waits for room in the congestion window, and then for a probe timeout. */
const CLOSE_WAIT_MS = 1000;
/** How long a closed connection answers late packets, at most. */
const LINGER_MAX_MS = 3000;
/** quiche rounds its timeout down to ms. */
const TIMER_SLACK_MS = 1;

/** What a connection needs of its endpoint. */
export interface ConnectionHost {
  readonly clock: Clock;
  /** The address of our socket, as given to quiche. */
  readonly local: Host;
  /** Scratch memory, valid within one call. */
  readonly sendBuffer: Uint8Array;
  readonly reader: StreamReader;
  /** Sends a copy of `datagram`, which the socket then owns. */
  sendCopy(datagram: Uint8Array, to: QuicAddress): Uint8Array;
  sendAgain(datagram: Uint8Array, to: QuicAddress): void;
  /** Puts the connection on the list for the next turn. */
  schedule(connection: QuicheConnection): void;
  /** The handshake is over, one way or the other. */
  onHandshakeOver(connection: QuicheConnection): void;
  /** The connection no longer counts; its ids still lead to it. */
  onClosed(): void;
  /** Nothing is left to say; the ids can go. */
  onForgotten(connection: QuicheConnection): void;
}

export interface ConnectionStart {
  readonly quiche: Connection;
  /** Keys under which datagrams find this connection. */
  readonly keys: readonly string[];
  readonly id: string;
  readonly isServer: boolean;
  readonly remote: QuicAddress;
  readonly handshakeTimeoutMs: number;
  readonly handlers: QuicHandlers;
}

export class QuicheConnection implements QuicConnection {
  readonly id: string;
  readonly keys: readonly string[];
  /**
   * Whether the endpoint has this connection on its list; the endpoint sets it, `pump` clears it.
   */
  isScheduled = false;
  readonly #host: ConnectionHost;
  readonly #handlers: QuicHandlers;
  readonly #writer: StreamWriter;
  readonly #onTimer = () => this.#timerFired();
  readonly #isReadingStopped = () => this.#isPaused || this.#isClosing;
  readonly #sink: StreamSink;
  #quiche: Connection | undefined;
  #isConnected = false;
  #isPaused = false;
  #localClose: LocalClose | undefined;
  /** The close waits for room in the congestion window. */
  #isCloseWaiting = false;
  /** When the handshake, later the close, must be through. */
  #deadlineMs: number;
  #remote: QuicAddress;
  #receiveInfo: RecvInfo;
  #mayHaveMoved = false;
  #timerDueMs = Number.POSITIVE_INFINITY;
  #cancelTimer: () => void = () => {};
  #lastDatagram: Uint8Array | undefined;
  #latePackets = 0;

  constructor(host: ConnectionHost, start: ConnectionStart) {
    this.#host = host;
    this.id = start.id;
    this.keys = start.keys;
    this.#quiche = start.quiche;
    this.#handlers = start.handlers;
    this.#remote = start.remote;
    this.#receiveInfo = { from: start.remote, to: host.local };
    this.#deadlineMs = host.clock.monotonicMs() + start.handshakeTimeoutMs;
    this.#writer = new StreamWriter(start.quiche, start.isServer);
    this.#sink = {
      onData: (streamId, bytes, fin) => this.#handlers.onData(this, streamId, bytes, fin),
      onReset: (streamId) => this.#handlers.onReset(this, streamId),
    };
  }

  get remoteAddress(): QuicAddress {
    return this.#remote;
  }

  get queuedBytes(): number {
    return this.#writer.queuedBytes;
  }

  get #isClosing(): boolean {
    return this.#quiche === undefined || this.#localClose !== undefined;
  }

  peerCertificates(): readonly Uint8Array[] {
    return this.#quiche?.peerCertChain() ?? [];
  }

  openStream(kind: StreamKind): number | undefined {
    if (this.#isClosing || !this.#isConnected) return undefined;
    return this.#writer.open(kind);
  }

  /** The second bit of an id (RFC 9000 section 2.1). */
  streamKind(streamId: number): StreamKind {
    return (streamId & 0b10) === 0 ? 'bidi' : 'uni';
  }

  write(streamId: number, bytes: Uint8Array, fin = false): void {
    if (this.#isClosing) return;
    this.#writer.write(streamId, bytes, fin);
    this.#host.schedule(this);
  }

  pauseReading(): void {
    this.#isPaused = true;
  }

  resumeReading(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#host.schedule(this);
  }

  ping(): void {
    if (this.#quiche === undefined || this.#isClosing) return;
    this.#askForAck(this.#quiche);
    this.#host.schedule(this);
  }

  close(code: number, reason: string): void {
    this.#closeWith({ by: 'local', isApplication: true, code, reason });
  }

  /** Ends the connection with a transport error, for faults of our own. */
  abort(code: number, reason: string): void {
    this.#closeWith({ by: 'local', isApplication: false, code, reason });
  }

  /** Ends a handshake so that its place is free when this returns. */
  dropHandshake(): void {
    const quiche = this.#quiche;
    if (quiche === undefined || this.#isConnected) return;
    this.#closeWith(handshakeGivenUp('another one needed its place'));
    this.#finish(quiche);
  }

  /** Takes one datagram; what it carries is delivered by the next `pump`. */
  receive(datagram: Uint8Array, fromHost: string, fromPort: number): void {
    const quiche = this.#quiche;
    if (quiche === undefined) {
      this.#answerLate();
      return;
    }
    const { from } = this.#receiveInfo;
    if (from.port !== fromPort || from.host !== fromHost) {
      this.#receiveInfo = { from: { host: fromHost, port: fromPort }, to: this.#host.local };
      this.#mayHaveMoved = true;
    }
    try {
      quiche.recv(datagram, this.#receiveInfo);
    } catch {
      // quiche has put the connection into its closing state and keeps the error for `pump`.
    }
    this.#host.schedule(this);
  }

  /** Does everything that is due; see the head of this file. */
  pump(): void {
    const quiche = this.#quiche;
    if (quiche === undefined) {
      this.isScheduled = false;
      return;
    }
    if (!this.#isConnected && quiche.isEstablished()) this.#becomeConnected();
    const hasMoreToRead = this.#read(quiche);
    // Only what happens from here on needs another turn.
    this.isScheduled = false;
    if (this.#writer.flush()) this.#handlers.onDrained(this);
    const hasMoreToSend = this.#send(quiche);
    if (this.#isCloseWaiting && this.#hasRoom(quiche)) this.#closeNow(quiche);
    if (this.#mayHaveMoved) this.#followPeer(quiche);
    if (quiche.isDraining() || quiche.isClosed()) {
      this.#finish(quiche);
      return;
    }
    this.#lastDatagram = undefined;
    if (hasMoreToRead || hasMoreToSend) this.#host.schedule(this);
    this.#armTimer(quiche);
  }

  /** Drops everything at once, without a word to anybody; for the end of the endpoint. */
  forget(): void {
    this.#cancelTimer();
    this.#quiche = undefined;
    this.#lastDatagram = undefined;
    this.#host.onForgotten(this);
  }

  #becomeConnected(): void {
    this.#isConnected = true;
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    this.#host.onHandshakeOver(this);
    this.#handlers.onConnected(this);
  }

  #read(quiche: Connection): boolean {
    if (!this.#isConnected || !quiche.isReadable()) return false;
    return this.#host.reader.read(quiche, this.#isReadingStopped, this.#sink);
  }

  /** Returns true where the bound on one turn left something unsent. */
  #send(quiche: Connection): boolean {
    const { sendBuffer } = this.#host;
    for (let sent = 0; sent < SEND_DATAGRAMS_MAX; sent += 1) {
      const datagram = trySend(quiche, sendBuffer);
      if (datagram === null) return false;
      const [length, { to }] = datagram;
      this.#lastDatagram = this.#host.sendCopy(sendBuffer.subarray(0, length), to);
    }
    return true;
  }

  #followPeer(quiche: Connection): void {
    this.#mayHaveMoved = false;
    // The events only need to be taken off their queue; the paths themselves say it better.
    while (quiche.pathEventNext());
    const active = quiche.pathStats().find((path) => path.active);
    if (active !== undefined) this.#remote = active.peerHost;
  }

  #closeWith(localClose: LocalClose): void {
    const quiche = this.#quiche;
    if (quiche === undefined || this.#localClose !== undefined) return;
    // Once closed, quiche sends nothing but the close; what was written before goes first.
    this.#writer.flush();
    this.#send(quiche);
    this.#localClose = localClose;
    this.#deadlineMs = this.#host.clock.monotonicMs() + CLOSE_WAIT_MS;
    this.#isCloseWaiting = this.#writer.queuedBytes > 0;
    this.#writer.clear();
    if (!this.#isCloseWaiting) this.#closeNow(quiche);
    this.#host.schedule(this);
  }

  /**
   * Whether one more packet fits into the congestion window. A closing quiche takes no more
   * acknowledgements, so a close that does not fit would not fit until a probe timeout.
   */
  #hasRoom(quiche: Connection): boolean {
    this.#askForAck(quiche);
    const datagram = trySend(quiche, this.#host.sendBuffer);
    if (datagram === null) return quiche.isDraining() || quiche.isClosed();
    this.#host.sendCopy(this.#host.sendBuffer.subarray(0, datagram[0]), datagram[1].to);
    return true;
  }

  /** The next packet will be one that the peer acknowledges. */
  #askForAck(quiche: Connection): void {
    try {
      quiche.sendAckEliciting();
    } catch {
      // No path is left to ask on; `pump` reports the end.
    }
  }

  #closeNow(quiche: Connection): void {
    this.#isCloseWaiting = false;
    const { isApplication, code, reason } = this.#localClose!;
    try {
      quiche.close(isApplication, code, Buffer.from(reason));
    } catch {
      // It was over already; `pump` reports how.
    }
    this.#send(quiche);
  }

  #finish(quiche: Connection): void {
    const reason = closeReasonOf(quiche, this.#localClose, this.#isConnected);
    const lingerMs = quiche.isDraining() ? Math.min(quiche.timeout() ?? 0, LINGER_MAX_MS) : 0;
    // A peer that closed needs no answer; one that we closed may have missed our last datagram.
    if (reason.by === 'peer') this.#lastDatagram = undefined;
    this.#cancelTimer();
    this.#quiche = undefined;
    this.#writer.clear();
    if (!this.#isConnected) this.#host.onHandshakeOver(this);
    this.#host.onClosed();
    if (lingerMs > 0) this.#cancelTimer = this.#host.clock.after(lingerMs, () => this.forget());
    else this.forget();
    this.#handlers.onClosed(this, reason);
  }

  /** Repeats the close, ever more rarely (RFC 9000 section 10.2.1). */
  #answerLate(): void {
    this.#latePackets += 1;
    const isPowerOfTwo = (this.#latePackets & (this.#latePackets - 1)) === 0;
    if (isPowerOfTwo && this.#lastDatagram !== undefined) {
      this.#host.sendAgain(this.#lastDatagram, this.#remote);
    }
  }

  /** Moves the timer only when it would fire too late; one that fires early looks again. */
  #armTimer(quiche: Connection): void {
    const nowMs = this.#host.clock.monotonicMs();
    const timeoutMs = quiche.timeout();
    let dueMs = timeoutMs === null ? Number.POSITIVE_INFINITY : nowMs + timeoutMs + TIMER_SLACK_MS;
    dueMs = Math.min(dueMs, this.#deadlineMs);
    if (dueMs >= this.#timerDueMs) return;
    this.#cancelTimer();
    this.#timerDueMs = dueMs;
    this.#cancelTimer = this.#host.clock.after(Math.max(0, dueMs - nowMs), this.#onTimer);
  }

  #timerFired(): void {
    this.#timerDueMs = Number.POSITIVE_INFINITY;
    const quiche = this.#quiche;
    if (quiche === undefined) return;
    if (this.#host.clock.monotonicMs() >= this.#deadlineMs) {
      this.#deadlinePassed(quiche);
      return;
    }
    const timeoutMs = quiche.timeout();
    if (timeoutMs !== null && timeoutMs > 0) {
      this.#armTimer(quiche);
      return;
    }
    quiche.onTimeout();
    this.#mayHaveMoved = true;
    this.#host.schedule(this);
  }

  #deadlinePassed(quiche: Connection): void {
    if (this.#isCloseWaiting) {
      this.#deadlineMs += CLOSE_WAIT_MS;
      this.#closeNow(quiche);
      this.#host.schedule(this);
      return;
    }
    if (this.#localClose !== undefined) {
      this.#finish(quiche);
      return;
    }
    this.#closeWith(handshakeGivenUp('handshake took too long'));
  }
}

function handshakeGivenUp(reason: string): LocalClose {
  const code = TRANSPORT_CONNECTION_REFUSED;
  return { by: 'handshake-timeout', isApplication: false, code, reason };
}

/** One datagram, or null where there is none. */
function trySend(quiche: Connection, buffer: Uint8Array): ReturnType<Connection['send']> {
  try {
    return quiche.send(buffer);
  } catch {
    // For example no path is left: the timers of quiche decide what becomes of the connection.
    return null;
  }
}
