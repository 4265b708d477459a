/**
 * Reading and writing the streams of one quiche connection.
 */
import type { Connection } from '@matrixai/quic/native/types.js';
import type { Clock } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import { WriteQueue } from '../write-queue.ts';

/** Bytes handed on for one connection in one turn; the rest waits so that others get theirs. */
const READ_BYTES_MAX = 512 * 1024;
/**
 * So does time: what a peer sends may cost more to handle than to carry. One buffer is always
 * handed on, so the buffer bounds what this cannot.
 */
const READ_MS_MAX = 10;
const READ_BUFFER_BYTES = 64 * 1024;

export interface StreamSink {
  /** `bytes` are valid until this returns. */
  onData(streamId: number, bytes: Uint8Array, fin: boolean): void;
  onReset(streamId: number): void;
}

/** Reads streams through one buffer; shared by all connections of an endpoint. */
export class StreamReader {
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Hands on what can be read until the bound of one turn; returns whether more is waiting. Asks
   * `isStopped` after every call of the sink.
   */
  read(quiche: Connection, isStopped: () => boolean, sink: StreamSink): boolean {
    let left = READ_BYTES_MAX;
    const endMs = this.#clock.monotonicMs() + READ_MS_MAX;
    for (const streamId of quiche.readable()) {
      for (let goOn = true; goOn; ) {
        if (isStopped()) return false;
        if (left <= 0 || this.#clock.monotonicMs() >= endMs) return true;
        const read = this.#readOnce(quiche, streamId, sink);
        left -= read;
        goOn = read === this.#buffer.length;
      }
    }
    return false;
  }

  /** Returns the bytes read; fewer than the buffer holds means that the stream has no more now. */
  #readOnce(quiche: Connection, streamId: number, sink: StreamSink): number {
    let read: [number, boolean] | null;
    try {
      read = quiche.streamRecv(streamId, this.#buffer);
    } catch (error) {
      if (errorMessage(error).startsWith('StreamReset')) sink.onReset(streamId);
      return 0;
    }
    if (read === null) return 0;
    const [bytes, fin] = read;
    if (bytes > 0 || fin) sink.onData(streamId, this.#buffer.subarray(0, bytes), fin);
    return fin ? 0 : bytes;
  }
}

/** Opens and writes streams; holds what flow control and congestion do not let through yet. */
export class StreamWriter {
  readonly #quiche: Connection;
  readonly #queues = new Map<number, WriteQueue>();
  #queuedBytes = 0;
  #hasQueued = false;
  #nextBidi: number;
  #nextUni: number;

  constructor(quiche: Connection, isServer: boolean) {
    this.#quiche = quiche;
    this.#nextBidi = isServer ? 1 : 0;
    this.#nextUni = isServer ? 3 : 2;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** The id of a new stream; undefined while the peer allows no more. */
  open(kind: 'bidi' | 'uni'): number | undefined {
    const isBidi = kind === 'bidi';
    const left = isBidi ? this.#quiche.peerStreamsLeftBidi() : this.#quiche.peerStreamsLeftUni();
    if (left <= 0) return undefined;
    const streamId = isBidi ? this.#nextBidi : this.#nextUni;
    // Writing nothing makes quiche count the stream, so that the next call here sees it.
    if (this.#trySend(streamId, EMPTY, false) === 'broken') return undefined;
    if (isBidi) this.#nextBidi += 4;
    else this.#nextUni += 4;
    return streamId;
  }

  /** Gives quiche what it takes and queues a copy of the rest. */
  write(streamId: number, bytes: Uint8Array, fin: boolean): void {
    let queue = this.#queues.get(streamId);
    let rest = bytes;
    if (queue === undefined) {
      const taken = this.#trySend(streamId, bytes, fin);
      if (taken === 'broken' || taken === bytes.length) return;
      rest = bytes.subarray(Math.max(0, taken));
      queue = new WriteQueue();
      this.#queues.set(streamId, queue);
    }
    queue.push(rest, fin);
    this.#queuedBytes += rest.length;
    this.#hasQueued = true;
  }

  /** Writes what it can of the queues; true when that emptied them. */
  flush(): boolean {
    if (!this.#hasQueued) return false;
    for (const [streamId, queue] of this.#queues) {
      if (this.#drain(streamId, queue)) this.#queues.delete(streamId);
    }
    this.#hasQueued = this.#queues.size > 0;
    return !this.#hasQueued;
  }

  clear(): void {
    this.#queues.clear();
    this.#queuedBytes = 0;
    this.#hasQueued = false;
  }

  /** True once the queue is through, or can never be. */
  #drain(streamId: number, queue: WriteQueue): boolean {
    for (;;) {
      const bytes = queue.peek();
      const fin = queue.peekFin();
      const taken = this.#trySend(streamId, bytes, fin);
      if (taken === 'broken' || (taken === BLOCKED && !this.#exists(streamId))) {
        this.#queuedBytes -= queue.bytes;
        return true;
      }
      if (taken === BLOCKED) return false;
      queue.advance(taken);
      this.#queuedBytes -= taken;
      if (taken < bytes.length) return false;
      if (queue.isEmpty) return true;
    }
  }

  /**
   * Bytes taken (with all of them `fin` is taken too), BLOCKED, or 'broken' where the peer stopped
   * it.
   */
  #trySend(streamId: number, bytes: Uint8Array, fin: boolean): number | 'broken' {
    try {
      return this.#quiche.streamSend(streamId, bytes, fin) ?? BLOCKED;
    } catch {
      return 'broken';
    }
  }

  /** quiche answers writes on a stream that it has forgotten as if it were blocked. */
  #exists(streamId: number): boolean {
    try {
      this.#quiche.streamCapacity(streamId);
      return true;
    } catch {
      return false;
    }
  }
}

const BLOCKED = -1;
const EMPTY = new Uint8Array(0);
