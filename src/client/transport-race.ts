/**
 * Which transport carries the batches. The first one, QUIC, is preferred; where a network blocks
 * it, the other one, TLS over TCP, carries them until the first works again:
 *
 *     no connection:  first tries ──no Hello within fallbackMs──► second tries as well
 *     second carries: first tries again every retryMs ──Hello──► first carries, second ends
 *
 * An answer is an answer: a collector that refuses over the first is not asked over the second.
 * Batches that one connection has not answered are sent again over the next one, as after any lost
 * connection, and the collector knows those that it has. Without a second transport the first one
 * is all there is.
 */
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.ts';
import { assert } from '../lib/errors.ts';
import type { BatchAck, Hello } from '../domain/telemetry.ts';
import type { QuicCredentials, TransportName } from '../transport/quic-endpoint.ts';
import type { ConnectionLoop, TryEnd, TryEvents } from './connection-loop.ts';

export interface RaceOptions {
  /** How long the first transport may take before the second one tries as well. */
  readonly fallbackMs: number;
  /** How often the first transport is tried while the second one carries. */
  readonly retryMs: number;
}

/** Called synchronously; `onLost` once for every `onHello`, except after `close`. */
export interface RaceEvents {
  onHello(hello: Hello): void;
  onAck(ack: BatchAck, position: number | undefined): void;
  onLost(): void;
}

/**
 * What is known of the first transport. `silent`: the second got through and it did not.
 * `lossy`: it got a Hello but no ack, as where a path drops large datagrams.
 */
type Standing = 'fine' | 'silent' | 'lossy';

export class TransportRace {
  readonly #deps: { readonly clock: Clock; readonly logger: Logger };
  readonly #options: RaceOptions;
  readonly #events: RaceEvents;
  readonly #first: ConnectionLoop;
  readonly #second: ConnectionLoop | undefined;
  #carrier: ConnectionLoop | undefined;
  #standing: Standing = 'fine';
  #connects = { quic: 0, tls: 0 };
  #fallbacks = 0;
  /** Ends the wait for the moment when the other transport is to try. */
  #cancelWait: (() => void) | undefined;

  /** Each of `openLoops` makes the loop of a transport, which reports to the events given. */
  constructor(
    deps: { readonly clock: Clock; readonly logger: Logger },
    options: RaceOptions,
    openLoops: {
      readonly first: (events: TryEvents) => ConnectionLoop;
      readonly second?: ((events: TryEvents) => ConnectionLoop) | undefined;
    },
    events: RaceEvents,
  ) {
    this.#deps = deps;
    this.#options = options;
    this.#events = events;
    this.#first = openLoops.first({
      onTrying: () => this.#firstTries(),
      onHello: (hello) => this.#firstIsUp(hello),
      onAck: (ack, position) => {
        this.#standing = 'fine';
        events.onAck(ack, position);
      },
      onEnded: (end) => this.#firstEnded(end),
    });
    this.#second = openLoops.second?.({
      onTrying: () => {},
      onHello: (hello) => this.#secondIsUp(hello),
      onAck: (ack, position) => events.onAck(ack, position),
      onEnded: (end) => this.#secondEnded(end),
    });
  }

  /** Whether the collector's Hello has arrived on the connection that carries the batches. */
  get isUp(): boolean {
    return this.#carrier !== undefined;
  }

  /** What carries the batches now. */
  get transport(): TransportName | undefined {
    return this.#carrier?.transport;
  }

  /** Hellos so far, by transport. */
  get connects(): Readonly<Record<TransportName, number>> {
    return this.#connects;
  }

  /** How often the second transport had to take over. */
  get fallbacks(): number {
    return this.#fallbacks;
  }

  /** Begins to connect; never gives up until `close`. */
  start(): void {
    const fallback = this.#second?.transport ?? 'none';
    this.#deps.logger.info({ transport: this.#first.transport, fallback }, 'connecting');
    this.#first.start();
  }

  /** Sends the frame of a batch, which is copied. Only while `isUp`. */
  write(frame: Uint8Array, position: number): void {
    assert(this.#carrier !== undefined, 'frames are written only while a connection is up');
    this.#carrier.write(frame, position);
  }

  /** Uses other credentials from now on, and connects again with them at once. */
  useCredentials(credentials: QuicCredentials): void {
    this.#first.useCredentials(credentials);
    this.#second?.useCredentials(credentials);
  }

  /** Ends the connections for good. Idempotent. */
  close(): void {
    this.#stopWaiting();
    this.#first.stop('stopping', 'agent stops');
    this.#second?.stop('stopping', 'agent stops');
    this.#carrier = undefined;
  }

  /** After `close`: gives the sockets back, once what they still send is out. */
  async closeSockets(): Promise<void> {
    await Promise.all([this.#first.closeSockets(), this.#second?.closeSockets()]);
  }

  #firstTries(): void {
    const second = this.#second;
    if (second === undefined || second.isRunning) return;
    if (this.#standing === 'silent') second.start();
    else if (this.#cancelWait === undefined) {
      this.#wait(this.#options.fallbackMs, () => second.start());
    }
  }

  #firstIsUp(hello: Hello): void {
    this.#stopWaiting();
    if (this.#standing === 'silent') this.#standing = 'fine';
    this.#second?.stop('moved', 'the agent goes on over QUIC');
    if (this.#carrier !== undefined) {
      this.#deps.logger.info('QUIC gets through again: moved over from TLS');
      this.#events.onLost();
    }
    this.#carry(this.#first, hello);
  }

  #firstEnded({ wasUp, wasAcked, isAnswered }: TryEnd): void {
    if (wasUp) {
      this.#carrier = undefined;
      this.#events.onLost();
      if (!wasAcked && !isAnswered) this.#preferSecond();
    } else if (this.#carrier !== undefined) {
      this.#restFirst();
    } else if (isAnswered) {
      this.#standing = 'fine';
      this.#stopWaiting();
      this.#second?.stop('moved', 'the agent has its answer over QUIC');
    }
  }

  #secondIsUp(hello: Hello): void {
    this.#stopWaiting();
    this.#fallbacks += 1;
    if (this.#standing === 'fine') this.#standing = 'silent';
    const { fallbackMs } = this.#options;
    this.#deps.logger.warn(
      { standing: this.#standing, fallbackMs, fallbacks: this.#fallbacks },
      'QUIC does not get through: connected over TLS',
    );
    this.#carry(this.#second, hello);
    // It may only have waited for its turn after an outage. Where this try fails, it rests.
    if (this.#first.isRunning) this.#first.tryNow();
    else this.#restFirst();
  }

  #secondEnded({ wasUp }: TryEnd): void {
    if (!wasUp) return;
    this.#carrier = undefined;
    this.#events.onLost();
    if (this.#standing === 'lossy') this.#preferSecond();
    else this.#first.start();
  }

  #carry(loop: ConnectionLoop | undefined, hello: Hello): void {
    assert(loop !== undefined, 'a Hello comes over a transport that there is');
    this.#carrier = loop;
    this.#connects[loop.transport] += 1;
    this.#events.onHello(hello);
  }

  /** The first transport connects but does not deliver: the second one goes ahead of it. */
  #preferSecond(): void {
    const second = this.#second;
    if (second === undefined) return;
    this.#standing = 'lossy';
    this.#first.stop('silent', 'no ack');
    this.#wait(this.#options.fallbackMs, () => this.#first.start());
    second.start();
  }

  /** Until it is tried again; a little earlier or later, for others fell back at the same time. */
  #restFirst(): void {
    this.#first.stop('moved', 'the agent sends over TLS');
    const delayMs = this.#options.retryMs * (0.95 + Math.random() / 10);
    this.#wait(Math.round(delayMs), () => this.#first.start());
  }

  #wait(delayMs: number, then: () => void): void {
    this.#stopWaiting();
    this.#cancelWait = this.#deps.clock.after(delayMs, () => {
      this.#cancelWait = undefined;
      then();
    });
  }

  #stopWaiting(): void {
    this.#cancelWait?.();
    this.#cancelWait = undefined;
  }
}
