/**
 * One connection over TLS and TCP, as the transport's seam has it: it has one bidirectional stream,
 * number 0, which the client opens. Closes and pings are control records (control-records.ts).
 */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import {
  TRANSPORT_INTERNAL_ERROR,
  TRANSPORT_NO_ERROR,
  TRANSPORT_NO_VIABLE_PATH,
  TRANSPORT_PROTOCOL_VIOLATION,
} from '../close-reason.ts';
import type {
  QuicAddress,
  QuicCloseReason,
  QuicConnection,
  QuicHandlers,
  StreamKind,
} from '../quic-endpoint.ts';
import { ControlReader, encodeClose, encodePing } from './control-records.ts';
import { FrameFollower } from './frame-follower.ts';

/** The one stream. */
export const TLS_STREAM = 0;
/** How long a close waits until the peer has taken what was written before. */
const CLOSE_WAIT_MS = 1000;

export type TlsClose = Omit<QuicCloseReason, 'wasConnected'>;

export interface TlsConnectionStart {
  readonly id: string;
  /** Of TCP; TLS stands on it. */
  readonly socket: Socket;
  readonly remote: QuicAddress;
  readonly isServer: boolean;
  readonly idleTimeoutMs: number;
  readonly handlers: QuicHandlers;
  /** A handler threw: a bug. */
  readonly onError: (error: unknown) => void;
  /** What an error of the socket means before the handshake is through. */
  readonly reasonOf: (error: unknown) => TlsClose;
  /** It no longer counts; called before the handlers hear of it. */
  readonly onEnded: (connection: TlsConnection) => void;
}

export class TlsConnection implements QuicConnection {
  readonly id: string;
  readonly remoteAddress: QuicAddress;
  /** Ends the wait for the handshake. */
  cancelTimeout = () => {};
  readonly #start: TlsConnectionStart;
  #secure: TLSSocket | undefined;
  readonly #clock: Clock;
  readonly #reader = new ControlReader();
  readonly #written = new FrameFollower();
  /** A ping or its answer waits until the present frame is written. */
  #owed: Buffer | undefined;
  #isConnected = false;
  #isOver = false;
  #isStreamOpen: boolean;
  #localClose: TlsClose | undefined;
  #mustTellDrained = false;
  #cancelClose = () => {};

  constructor(start: TlsConnectionStart, clock: Clock) {
    this.#start = start;
    this.#clock = clock;
    this.id = start.id;
    this.remoteAddress = start.remote;
    this.#isStreamOpen = start.isServer;
    const { socket } = start;
    socket.on('error', (error) => this.#failed(error));
    socket.on('close', () => this.#finish(this.#localClose ?? lost('the peer is gone')));
  }

  /** TLS is there, though its handshake may not be through. */
  attach(secure: TLSSocket): void {
    this.#secure = secure;
    secure.on('data', (chunk: Buffer) => this.#safely(() => this.#received(chunk)));
    secure.on('drain', () => this.#safely(() => this.#drained()));
    secure.on('end', () => this.#safely(() => this.#ended()));
    secure.on('timeout', () => this.#idle());
    secure.on('error', (error) => this.#failed(error));
    secure.on('close', () => this.#finish(this.#localClose ?? lost('the peer is gone')));
  }

  get bytesReceived(): number {
    return this.#start.socket.bytesRead;
  }

  get bytesSent(): number {
    return this.#start.socket.bytesWritten;
  }

  get queuedBytes(): number {
    return this.#isOver ? 0 : (this.#secure?.writableLength ?? 0);
  }

  get #isEnding(): boolean {
    return this.#isOver || this.#localClose !== undefined;
  }

  /** The handshake is complete and the peer's certificate verified. */
  connected(): void {
    if (this.#isEnding) return;
    this.#isConnected = true;
    this.#secure?.setTimeout(this.#start.idleTimeoutMs);
    this.#safely(() => this.#start.handlers.onConnected(this));
  }

  peerCertificates(): readonly Uint8Array[] {
    const chain: Uint8Array[] = [];
    let certificate = this.#secure?.getPeerX509Certificate();
    // A root names itself as its issuer.
    while (certificate !== undefined && chain.length < 10) {
      chain.push(certificate.raw);
      const issuer = certificate.issuerCertificate;
      certificate = issuer?.raw.equals(certificate.raw) ? undefined : issuer;
    }
    return chain;
  }

  openStream(kind: StreamKind): number | undefined {
    if (this.#isEnding || !this.#isConnected || kind === 'uni' || this.#isStreamOpen) {
      return undefined;
    }
    this.#isStreamOpen = true;
    return TLS_STREAM;
  }

  streamKind(): StreamKind {
    return 'bidi';
  }

  write(streamId: number, bytes: Uint8Array, fin = false): void {
    const socket = this.#secure;
    if (this.#isEnding || streamId !== TLS_STREAM || socket === undefined) return;
    if (socket.writableEnded) return;
    if (bytes.length > 0 && !socket.write(Buffer.from(bytes))) this.#mustTellDrained = true;
    this.#written.advance(bytes);
    if (this.#owed !== undefined) this.#control(this.#owed);
    if (fin) socket.end();
  }

  pauseReading(): void {
    if (!this.#isOver) this.#secure?.pause();
  }

  resumeReading(): void {
    if (!this.#isOver) this.#secure?.resume();
  }

  ping(): void {
    this.#control(encodePing(false));
  }

  close(code: number, reason: string): void {
    this.closeWith({ by: 'local', isApplication: true, code, reason });
  }

  /** The first close counts. What was written before goes first. */
  closeWith(localClose: TlsClose): void {
    if (this.#isEnding) return;
    this.#localClose = localClose;
    const socket = this.#secure;
    if (socket === undefined) {
      this.#finish(localClose);
      return;
    }
    // What the peer still says is of no interest any more, but its end is waited for.
    socket.resume();
    this.#cancelClose = this.#clock.after(CLOSE_WAIT_MS, () => this.#finish(localClose));
    if (socket.writableEnded) return;
    // In the middle of a frame nothing can be said; the peer sees the end then.
    if (this.#written.isBetweenFrames) socket.end(encodeClose(localClose));
    else socket.end();
  }

  /** Ends it at once, without a word. */
  abandon(reason: TlsClose): void {
    this.#finish(reason);
  }

  #received(chunk: Buffer): void {
    if (this.#isEnding) return;
    const reader = this.#reader;
    for (const bytes of reader.push(chunk)) {
      this.#start.handlers.onData(this, TLS_STREAM, bytes, false);
    }
    // However many came, one answer shows that we are there.
    if (reader.takePings() > 0) this.#control(encodePing(true));
    if (reader.close !== undefined) this.#finish({ by: 'peer', ...reader.close });
    else if (reader.isBroken) this.closeWith(protocolViolation('unknown control record'));
  }

  #control(record: Buffer): void {
    const socket = this.#secure;
    if (socket === undefined) return;
    // A peer that reads nothing gets no more of them than fit into the socket.
    if (this.#isEnding || socket.writableEnded || socket.writableNeedDrain) return;
    this.#owed = this.#written.isBetweenFrames ? undefined : record;
    if (this.#owed === undefined) socket.write(record);
  }

  #drained(): void {
    if (!this.#mustTellDrained || this.#isEnding) return;
    this.#mustTellDrained = false;
    this.#start.handlers.onDrained(this);
  }

  /** The peer has ended its side without a close: that is the end of the stream. */
  #ended(): void {
    if (this.#localClose !== undefined) {
      this.#finish(this.#localClose);
      return;
    }
    if (this.#isConnected) {
      this.#start.handlers.onData(this, TLS_STREAM, Buffer.alloc(0), true);
    }
  }

  #idle(): void {
    const reason = 'idle timeout';
    this.#finish({ by: 'idle', isApplication: false, code: TRANSPORT_NO_ERROR, reason });
  }

  #failed(error: unknown): void {
    const { reasonOf } = this.#start;
    const reason = this.#isConnected ? lost(errorMessage(error)) : reasonOf(error);
    this.#finish(this.#localClose ?? reason);
  }

  #finish(reason: TlsClose): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.cancelTimeout();
    this.#cancelClose();
    this.#secure?.destroy();
    this.#start.socket.destroy();
    this.#start.onEnded(this);
    const wasConnected = this.#isConnected;
    this.#safely(() => this.#start.handlers.onClosed(this, { ...reason, wasConnected }));
  }

  /** A handler that throws costs its own connection. */
  #safely(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#start.onError(error);
      const reason = 'internal error';
      const code = TRANSPORT_INTERNAL_ERROR;
      this.closeWith({ by: 'local', isApplication: false, code, reason });
    }
  }
}

function protocolViolation(reason: string): TlsClose {
  return { by: 'local', isApplication: false, code: TRANSPORT_PROTOCOL_VIOLATION, reason };
}

function lost(reason: string): TlsClose {
  return { by: 'peer', isApplication: false, code: TRANSPORT_NO_VIABLE_PATH, reason };
}
