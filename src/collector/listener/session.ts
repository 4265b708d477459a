/**
 * One authenticated connection: cuts its streams into frames, hands each to the door and writes the
 * answers back in the order in which they come.
 *
 *   first bytes of a bidi stream ──► Hello
 *   frame ──► door.receive ──► ack on the same stream      (uni stream: no Hello, no ack)
 *   end of the stream, everything answered ──► our end of the stream
 *
 * What one connection can make the collector hold is bounded: bytes of unfinished frames, frames
 * without an answer, and answers that the peer does not read.
 */
import { encodeAck, encodeHello } from '../../codec/collector-message.ts';
import type { FrameBuffers } from '../../codec/frame-buffers.ts';
import { encodeFrame, FrameSplitter } from '../../codec/framing.ts';
import type { QuicConnection, TransportName } from '../../transport/quic-endpoint.ts';
import type { BatchAck, Hello, PeerIdentity } from '../../domain/telemetry.ts';
import { CLOSE_CODES, type CloseWord } from './close-codes.ts';
import type { TrafficCounters } from './listener-metrics.ts';

/** Past this many queued bytes of answers the connection is not read until they are through. */
const QUEUED_ACK_BYTES_HIGH = 256 * 1024;
/** Past this many queued bytes of answers the peer is taken not to read them. */
const UNREAD_ACK_BYTES_MAX = 1024 * 1024;
/** So is one that never has all its answers for so long. */
const UNREAD_ACKS_MAX_MS = 30_000;
/** Frames of one connection without an answer; past this it is not read until half are answered. */
const FRAMES_IN_FLIGHT_MAX = 1024;
/** Unfinished frames of one connection in all, in units of the largest frame. */
const UNFINISHED_FRAMES_MAX = 8;

/** The way into the collector for one connection. */
export interface DoorSession {
  readonly hello: Hello;
  /** Never rejects. The frame is valid only until the call returns. */
  receive(frame: Uint8Array): Promise<BatchAck>;
}

/** Sums over all sessions, kept by the sessions. */
export interface SessionTotals extends TrafficCounters {
  streams: number;
  framesInFlight: number;
  unfinishedFrameBytes: number;
}

export interface SessionOptions {
  readonly peer: PeerIdentity;
  readonly transport: TransportName;
  readonly maxFrameBytes: number;
  /** Shared by all sessions. */
  readonly frameBuffers: FrameBuffers;
  readonly monotonicMs: () => number;
}

interface StreamState {
  readonly id: number;
  readonly isBidi: boolean;
  readonly splitter: FrameSplitter;
  /** Whole frames so far: the number of the newest. */
  frames: number;
  framesInFlight: number;
  isEnded: boolean;
}

export class Session {
  readonly peer: PeerIdentity;
  readonly transport: TransportName;
  readonly openedAtMs: number;
  /** When the newest whole frame came, or the connection where none did; infinite once closed. */
  lastFrameMs: number;
  readonly #connection: QuicConnection;
  readonly #door: DoorSession;
  readonly #totals: SessionTotals;
  readonly #maxFrameBytes: number;
  readonly #frameBuffers: FrameBuffers;
  readonly #monotonicMs: () => number;
  readonly #helloFrame: Uint8Array;
  readonly #streams = new Map<number, StreamState>();
  #framesInFlight = 0;
  #unfinishedBytes = 0;
  #isHeldBack = false;
  /** Since when answers are queued without a break. */
  #queuedSinceMs: number | undefined;
  #isPausedForAll = false;
  #isClosed = false;

  constructor(
    connection: QuicConnection,
    door: DoorSession,
    totals: SessionTotals,
    options: SessionOptions,
  ) {
    this.#connection = connection;
    this.#door = door;
    this.#totals = totals;
    this.peer = options.peer;
    this.transport = options.transport;
    this.#monotonicMs = options.monotonicMs;
    this.openedAtMs = options.monotonicMs();
    this.lastFrameMs = this.openedAtMs;
    this.#maxFrameBytes = options.maxFrameBytes;
    this.#frameBuffers = options.frameBuffers;
    this.#helloFrame = encodeFrame(encodeHello(door.hello));
  }

  get framesInFlight(): number {
    return this.#framesInFlight;
  }

  /** Bytes of answers that are not on their way yet. */
  get queuedBytes(): number {
    return this.#connection.queuedBytes;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  onData(streamId: number, bytes: Uint8Array, fin: boolean): void {
    if (this.#isClosed) return;
    this.#totals.streamBytes += bytes.length;
    const stream = this.#streams.get(streamId) ?? this.#openStream(streamId);
    const heldBefore = stream.splitter.bufferedBytes;
    const isWhole = stream.splitter.push(bytes, (frame) => this.#receive(stream, frame));
    this.#countUnfinished(stream.splitter.bufferedBytes - heldBefore);
    if (!isWhole) {
      this.close('bad_frame_length', stream.splitter.brokenReason ?? 'bad frame length');
      return;
    }
    if (this.#unfinishedBytes > UNFINISHED_FRAMES_MAX * this.#maxFrameBytes) {
      this.close('misuse', `${this.#unfinishedBytes} bytes of unfinished frames are too many`);
      return;
    }
    if (fin) this.#endStream(stream);
  }

  onReset(streamId: number): void {
    this.#totals.streamResets += 1;
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    this.#countUnfinished(-stream.splitter.bufferedBytes);
    stream.isEnded = true;
    this.#finishIfAnswered(stream);
  }

  /** Backpressure of the whole collector; a session held back for its own reasons stays so. */
  pauseReading(): void {
    this.#isPausedForAll = true;
    this.#connection.pauseReading();
  }

  resumeReading(): void {
    this.#isPausedForAll = false;
    if (!this.#isHeldBack) this.#connection.resumeReading();
  }

  /** The stack has taken all answers. */
  onDrained(): void {
    this.#queuedSinceMs = undefined;
    this.#letGoIfLight();
  }

  /** Closes what is due: a certificate that expired, a peer that takes no answers. */
  check(nowMs: number): void {
    if (this.peer.validToMs <= nowMs) {
      this.close('certificate_expired', 'the certificate expired');
    } else if (this.#queuedSinceMs !== undefined) {
      const queuedMs = this.#monotonicMs() - this.#queuedSinceMs;
      if (queuedMs > UNREAD_ACKS_MAX_MS) this.close('unread_acks', 'answers are not read');
    }
  }

  close(word: CloseWord, reason: string): void {
    this.lastFrameMs = Number.POSITIVE_INFINITY;
    this.#connection.close(CLOSE_CODES[word], reason);
  }

  /** The connection is gone: what is still being decided stays unanswered. Idempotent. */
  onClosed(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#totals.streams -= this.#streams.size;
    this.#totals.framesInFlight -= this.#framesInFlight;
    this.#countUnfinished(-this.#unfinishedBytes);
    this.#streams.clear();
  }

  #openStream(streamId: number): StreamState {
    const isBidi = this.#connection.streamKind(streamId) === 'bidi';
    const splitter = new FrameSplitter(this.#maxFrameBytes, this.#frameBuffers);
    const stream = { id: streamId, isBidi, splitter, frames: 0, framesInFlight: 0, isEnded: false };
    this.#streams.set(streamId, stream);
    this.#totals.streams += 1;
    if (isBidi) this.#connection.write(streamId, this.#helloFrame);
    return stream;
  }

  #receive(stream: StreamState, frame: Uint8Array): void {
    if (this.#isClosed) return;
    if (stream.isBidi) this.#totals.framesBidi += 1;
    else this.#totals.framesUni += 1;
    stream.frames += 1;
    const frameNumber = stream.frames;
    stream.framesInFlight += 1;
    this.#framesInFlight += 1;
    this.#totals.framesInFlight += 1;
    // Once closed it stays infinite.
    this.lastFrameMs = Math.max(this.lastFrameMs, this.#monotonicMs());
    if (this.#framesInFlight >= FRAMES_IN_FLIGHT_MAX) this.#holdBack();
    void this.#door.receive(frame).then((ack) => this.#answer(stream, ack, frameNumber));
  }

  #answer(stream: StreamState, ack: BatchAck, frame: number): void {
    if (this.#isClosed) return;
    stream.framesInFlight -= 1;
    this.#framesInFlight -= 1;
    this.#totals.framesInFlight -= 1;
    if (stream.isBidi) {
      this.#connection.write(stream.id, encodeFrame(encodeAck(ack, frame)));
      this.#totals.acksSent += 1;
    }
    const { queuedBytes } = this.#connection;
    if (queuedBytes > UNREAD_ACK_BYTES_MAX) {
      this.close('unread_acks', `${queuedBytes} bytes of answers are unread`);
      return;
    }
    this.#finishIfAnswered(stream);
    if (queuedBytes > 0) this.#queuedSinceMs ??= this.#monotonicMs();
    if (queuedBytes > QUEUED_ACK_BYTES_HIGH) this.#holdBack();
    else this.#letGoIfLight();
  }

  #endStream(stream: StreamState): void {
    if (stream.splitter.bufferedBytes > 0) {
      this.close('misuse', 'a stream ended inside a frame');
      return;
    }
    stream.isEnded = true;
    this.#finishIfAnswered(stream);
  }

  #finishIfAnswered(stream: StreamState): void {
    if (!stream.isEnded || stream.framesInFlight > 0) return;
    if (!this.#streams.delete(stream.id)) return;
    this.#totals.streams -= 1;
    if (stream.isBidi) this.#connection.write(stream.id, NOTHING, true);
  }

  #holdBack(): void {
    this.#isHeldBack = true;
    this.#connection.pauseReading();
  }

  #letGoIfLight(): void {
    if (!this.#isHeldBack || this.#connection.queuedBytes > 0) return;
    if (this.#framesInFlight > FRAMES_IN_FLIGHT_MAX / 2) return;
    this.#isHeldBack = false;
    if (!this.#isPausedForAll) this.#connection.resumeReading();
  }

  #countUnfinished(change: number): void {
    this.#unfinishedBytes += change;
    this.#totals.unfinishedFrameBytes += change;
  }
}

const NOTHING = new Uint8Array(0);
