/**
 * One QUIC connection over the module. It keeps what the module cannot: bytes that flow control
 * does not let through yet, data that came after the host stopped reading, and the close that we
 * wished for. The endpoint tells it what the module's records say.
 */
import { TRANSPORT_CONNECTION_REFUSED, TRANSPORT_INTERNAL_ERROR } from '../close-reason.ts';
import type {
  QuicAddress,
  QuicCloseReason,
  QuicConnection,
  QuicHandlers,
  StreamKind,
} from '../quic-endpoint.ts';
import { WriteQueue } from '../write-queue.ts';
import { STREAM_END, type StreamData } from './module-records.ts';
import { FAILED, type QuinnModule } from './quinn-module.ts';
import { GATHERED_BYTES_MAX, type WriteGatherer } from './write-gatherer.ts';

/** What a connection needs of its endpoint. */
export interface ConnectionHost {
  /** Where small writes go first. */
  readonly writes: WriteGatherer;
  /** Runs `work` on the module; undefined where that panicked, or has and there is none yet. */
  call<T>(work: (module: QuinnModule) => T): T | undefined;
  /** A turn of the module is needed. */
  plan(): void;
  /** Data is held back and must be handed on in another turn. */
  planDelivery(connection: QuinnConnection): void;
}

/** How we end a connection. */
export type LocalClose = Omit<QuicCloseReason, 'wasConnected'>;

export class QuinnConnection implements QuicConnection {
  readonly id: string;
  /** The module's number for it. */
  readonly number: number;
  readonly handlers: QuicHandlers;
  remoteAddress: QuicAddress;
  isConnected = false;
  isOver = false;
  localClose: LocalClose | undefined;
  certificates: readonly Uint8Array[] = [];
  /** Came in a turn in which the connection stopped reading or had had its time. */
  held: StreamData[] = [];
  /** Ends the wait for the handshake. */
  cancelTimeout = () => {};
  readonly #host: ConnectionHost;
  readonly #queues = new Map<number, WriteQueue>();
  #queuedBytes = 0;
  #isPaused = false;

  constructor(
    host: ConnectionHost,
    start: { id: string; number: number; remote: QuicAddress; handlers: QuicHandlers },
  ) {
    this.#host = host;
    this.id = start.id;
    this.number = start.number;
    this.handlers = start.handlers;
    this.remoteAddress = start.remote;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Whether data goes to the handlers now. */
  get isReading(): boolean {
    return !this.#isPaused && !this.#isEnding;
  }

  get #isEnding(): boolean {
    return this.isOver || this.localClose !== undefined;
  }

  peerCertificates(): readonly Uint8Array[] {
    return this.certificates;
  }

  openStream(kind: StreamKind): number | undefined {
    if (this.#isEnding || !this.isConnected) return undefined;
    const isUni = kind === 'uni' ? 1 : 0;
    const id = this.#host.call(({ calls }) => calls.stream_open(this.number, isUni));
    return id === FAILED ? undefined : id;
  }

  streamKind(streamId: number): StreamKind {
    // The second lowest bit (RFC 9000 section 2.1); ids may be larger than 32 bits.
    return Math.floor(streamId / 2) % 2 === 0 ? 'bidi' : 'uni';
  }

  write(streamId: number, bytes: Uint8Array, fin = false): void {
    if (this.#isEnding) return;
    const { writes } = this.#host;
    this.#host.plan();
    if (bytes.length < GATHERED_BYTES_MAX && !fin) {
      writes.add(this, streamId, bytes);
      return;
    }
    writes.flush();
    this.send(streamId, bytes, fin);
  }

  /** Gives bytes to the module, or queues them. */
  send(streamId: number, bytes: Uint8Array, fin: boolean): void {
    if (this.#isEnding) return;
    const queue = this.#queues.get(streamId);
    if (queue !== undefined) {
      queue.push(bytes, fin);
      this.#queuedBytes += bytes.length;
      return;
    }
    const taken = this.#give(streamId, bytes, fin);
    if (taken === undefined || taken === bytes.length) return;
    const rest = new WriteQueue();
    rest.push(bytes.subarray(taken), fin);
    this.#queues.set(streamId, rest);
    this.#queuedBytes += bytes.length - taken;
  }

  pauseReading(): void {
    this.#pause(true);
  }

  resumeReading(): void {
    this.#pause(false);
    if (this.held.length > 0) this.#host.planDelivery(this);
  }

  ping(): void {
    if (this.#isEnding) return;
    this.#host.call(({ calls }) => calls.connection_ping(this.number));
    this.#host.plan();
  }

  close(code: number, reason: string): void {
    this.closeWith({ by: 'local', isApplication: true, code, reason });
  }

  /** The first close counts. */
  closeWith(localClose: LocalClose): void {
    if (this.#isEnding) return;
    this.#host.writes.flush();
    for (const streamId of this.#queues.keys()) this.#flush(streamId);
    this.localClose = localClose;
    this.#forgetQueues();
    const reason = Buffer.from(localClose.reason);
    this.#host.call((module) => {
      module.calls.connection_close(this.number, localClose.code, module.put(reason));
    });
    this.#host.plan();
  }

  /** Gives data to the handlers. */
  handOn({ streamId, bytes, end }: StreamData): void {
    const isEnd = end === STREAM_END.fin;
    if (bytes.length > 0 || isEnd) this.handlers.onData(this, streamId, bytes, isEnd);
    if (end === STREAM_END.reset) this.handlers.onReset(this, streamId);
  }

  /** The stream takes bytes again. */
  writable(streamId: number): void {
    if (this.#isEnding || !this.#queues.has(streamId)) return;
    this.#flush(streamId);
    if (this.#queuedBytes === 0 && this.#queues.size === 0) this.handlers.onDrained(this);
  }

  /** It has ended, however that came about; the handler hears of it. Idempotent. */
  end(reason: LocalClose): void {
    if (this.isOver) return;
    this.isOver = true;
    this.cancelTimeout();
    this.#forgetQueues();
    this.held = [];
    this.handlers.onClosed(this, { ...reason, wasConnected: this.isConnected });
  }

  /** Stops the module from handing on more, or lets it go on. */
  hold(isHolding: boolean): void {
    if (this.isOver || this.#isPaused) return;
    this.#host.call(({ calls }) => calls.connection_pause(this.number, isHolding ? 1 : 0));
  }

  #pause(isPaused: boolean): void {
    if (this.#isPaused === isPaused || this.isOver) return;
    this.#isPaused = isPaused;
    this.#host.call(({ calls }) => calls.connection_pause(this.number, isPaused ? 1 : 0));
    this.#host.plan();
  }

  /** Bytes that the module took; undefined where the stream is gone, and the bytes with it. */
  #give(streamId: number, bytes: Uint8Array, fin: boolean): number | undefined {
    return this.#host.call((module) => {
      let taken = 0;
      do {
        const part = bytes.subarray(taken, taken + module.inputBytes);
        const isLast = fin && taken + part.length === bytes.length ? 1 : 0;
        module.put(part);
        const count = module.calls.stream_write(this.number, streamId, part.length, isLast);
        if (count === FAILED) return undefined;
        taken += count;
        if (count < part.length) break;
      } while (taken < bytes.length);
      return taken;
    });
  }

  #flush(streamId: number): void {
    const queue = this.#queues.get(streamId);
    if (queue === undefined) return;
    while (!queue.isEmpty) {
      const bytes = queue.peek();
      const taken = this.#give(streamId, bytes, queue.peekFin());
      if (taken === undefined) break;
      queue.advance(taken);
      this.#queuedBytes -= taken;
      if (taken < bytes.length) return;
    }
    this.#queuedBytes -= queue.bytes;
    this.#queues.delete(streamId);
    this.#host.plan();
  }

  #forgetQueues(): void {
    this.#queues.clear();
    this.#queuedBytes = 0;
  }
}

/** A fault of ours. */
export function internalError(reason: string): LocalClose {
  return { by: 'local', isApplication: false, code: TRANSPORT_INTERNAL_ERROR, reason };
}

/** The handshake did not get through. */
export function handshakeGivenUp(reason: string): LocalClose {
  const code = TRANSPORT_CONNECTION_REFUSED;
  return { by: 'handshake-timeout', isApplication: false, code, reason };
}
