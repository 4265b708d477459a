/**
 * Keeps an instance of the module running: gives it credentials and limits, takes up new ones, and
 * starts another instance when one panics. The endpoint calls the module only through `call`.
 *
 * After a panic the next instance starts at once. When panics come often, somebody may have found
 * out how to cause them: then strangers must prove their address, and each start waits longer than
 * the one before, so that panics cannot take the whole processor. A start that fails, for lack of
 * memory or with credentials that are bad by now, waits in the same way and is tried again for as
 * long as it takes. Meanwhile there is no instance, datagrams are dropped, and the rest of the
 * process goes on.
 */
import { hkdfSync, randomBytes } from 'node:crypto';
import { Backoff } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorMessage, OperatingError } from '../../lib/errors.ts';
import type {
  QuicCredentials,
  QuicEndpointOptions,
  QuicTransportOptions,
} from '../quic-endpoint.ts';
import { giveCredentials, useCredentials } from './module-credentials.ts';
import { PanicCount } from './panic-count.ts';
import { FAILED, QuinnModule } from './quinn-module.ts';

/** As in tls.rs. */
const ENDPOINT_KEY_BYTES = 72;
/** The longest pause is short beside the time in which agents are expected back. */
const START_BACKOFF = { initialMs: 500, maxMs: 8000 };

/** Throws OperatingError BAD_CREDENTIALS where an instance would not take the trio. */
export function tryCredentials(
  compiled: WebAssembly.Module,
  transport: QuicTransportOptions,
  credentials: QuicCredentials,
  clock: Clock,
): void {
  const module = new QuinnModule(compiled, clock);
  setBounds(module, transport);
  giveCredentials(module, 'server', credentials, transport.alpn);
  open(module, credentials);
}

/** What the keeper tells its endpoint. */
export interface KeeperEvents {
  /** A panic has cost the instance, and all connections with it. */
  lost(why: string): void;
  /** Another instance could not start; it is tried again. */
  failed(error: unknown): void;
}

export class ModuleKeeper {
  readonly #compiled: WebAssembly.Module;
  readonly #options: QuicEndpointOptions;
  readonly #clock: Clock;
  readonly #events: KeeperEvents;
  readonly #recentPanics: PanicCount;
  readonly #startBackoff = new Backoff(START_BACKOFF);
  /** Undefined between a panic and the next start. */
  #module: QuinnModule | undefined;
  #cancelStart = () => {};
  #isClosed = false;
  #isAccepting = true;
  /** Strangers must prove their address because of panics. */
  #asksForProof = false;
  #serverCredentials: QuicCredentials | undefined;
  #clientCredentials: QuicCredentials | undefined;
  #panics = 0;
  /** Of instances that are gone. */
  #retriesBefore = 0;
  #retries = 0;

  /** Throws OperatingError BAD_CREDENTIALS. */
  constructor(
    compiled: WebAssembly.Module,
    options: QuicEndpointOptions,
    clock: Clock,
    events: KeeperEvents,
  ) {
    this.#compiled = compiled;
    this.#options = options;
    this.#clock = clock;
    this.#events = events;
    this.#recentPanics = new PanicCount(clock);
    this.#module = this.#open();
  }

  /** Whether there is no instance now. */
  get isDown(): boolean {
    return this.#module === undefined;
  }

  get panics(): number {
    return this.#panics;
  }

  get memoryBytes(): number {
    return this.#module?.memoryBytes ?? 0;
  }

  /** Strangers asked to prove their address, over all instances. */
  get retries(): number {
    this.#retries = this.call(({ calls }) => calls.retries()) ?? 0;
    return this.#retriesBefore + this.#retries;
  }

  /**
   * Runs `work` on the instance; undefined where it panicked or there is none. Throws what `work`
   * throws as an OperatingError; everything else is a panic.
   */
  call<T>(work: (module: QuinnModule) => T): T | undefined {
    const module = this.#module;
    if (module === undefined) return undefined;
    try {
      return work(module);
    } catch (error) {
      if (error instanceof OperatingError) throw error;
      this.#lose(module, error);
      return undefined;
    }
  }

  stopAccepting(): void {
    this.#isAccepting = false;
    this.call((module) => this.#setLimits(module));
  }

  /** No instance starts any more. */
  close(): void {
    this.#isClosed = true;
    this.#cancelStart();
  }

  /** New credentials are for connections to come; bad ones leave the old ones in use. */
  refresh(): void {
    if (this.#asksForProof !== this.#recentPanics.isOften) {
      this.call((module) => this.#setLimits(module));
    }
    const { accept, transport } = this.#options;
    const credentials = accept?.credentials();
    if (credentials === undefined || credentials === this.#serverCredentials) return;
    this.#serverCredentials = credentials;
    try {
      this.call((module) => useCredentials(module, 'server', credentials, transport.alpn));
    } catch (error) {
      this.#options.onError?.(error);
    }
  }

  /** For the connections that we open. Throws OperatingError BAD_CREDENTIALS. */
  connectWith(credentials: QuicCredentials): void {
    if (this.#clientCredentials === credentials) return;
    const { alpn } = this.#options.transport;
    this.call((module) => {
      useCredentials(module, 'client', credentials, alpn);
      this.#clientCredentials = credentials;
    });
  }

  #open(): QuinnModule {
    const { accept, transport } = this.#options;
    const module = new QuinnModule(this.#compiled, this.#clock);
    setBounds(module, transport);
    this.#serverCredentials = accept?.credentials();
    this.#clientCredentials = undefined;
    if (this.#serverCredentials !== undefined) {
      giveCredentials(module, 'server', this.#serverCredentials, transport.alpn);
    }
    open(module, this.#serverCredentials);
    this.#setLimits(module);
    return module;
  }

  #setLimits({ calls }: QuinnModule): void {
    this.#asksForProof = this.#recentPanics.isOften;
    const { accept } = this.#options;
    if (accept === undefined) return;
    calls.set_limits(
      this.#isAccepting ? 1 : 0,
      accept.alwaysRetry || this.#asksForProof ? 1 : 0,
      accept.maxConnections,
      accept.maxHandshakes,
      accept.maxMemoryBytes,
    );
  }

  #lose(module: QuinnModule, error: unknown): void {
    // The work may have called in here itself, and lost the instance before.
    if (this.#module !== module) return;
    this.#module = undefined;
    this.#panics += 1;
    this.#recentPanics.add();
    // As of the last time they were asked for: a lost instance answers no more.
    this.#retriesBefore += this.#retries;
    this.#retries = 0;
    if (this.#recentPanics.isOften) this.#startLater();
    else {
      this.#startBackoff.reset();
      this.#start();
    }
    this.#events.lost(module.panic === '' ? errorMessage(error) : module.panic);
  }

  #start(): void {
    try {
      this.#module = this.#open();
    } catch (error) {
      this.#startLater();
      this.#events.failed(error);
    }
  }

  #startLater(): void {
    if (this.#isClosed) return;
    this.#cancelStart = this.#clock.after(this.#startBackoff.nextDelayMs(), () => this.#start());
  }
}

function setBounds({ calls }: QuinnModule, transport: QuicTransportOptions): void {
  calls.set_bounds(
    Math.ceil(transport.idleTimeoutMs),
    transport.streamWindowBytes,
    transport.connectionWindowBytes,
    transport.maxStreamsBidi,
    transport.maxStreamsUni,
    transport.maxUdpPayloadBytes,
  );
}

/** Opens the instance, as a server where there are credentials of one. */
function open(module: QuinnModule, credentials: QuicCredentials | undefined): void {
  module.put(endpointKeys(credentials));
  if (module.calls.open(credentials === undefined ? 0 : 1) !== FAILED) return;
  const why = `cannot use TLS credentials: ${module.error()}`;
  throw new OperatingError('BAD_CREDENTIALS', why);
}

/**
 * A server's keys for stateless resets and connection ids follow from its private key. So the next
 * instance, and the next process, can tell the peers of the one before that their connections are
 * gone; without that they would wait for their idle timeout.
 */
function endpointKeys(credentials: QuicCredentials | undefined): Uint8Array {
  if (credentials === undefined) return randomBytes(ENDPOINT_KEY_BYTES);
  const secret = Buffer.from(credentials.keyPem);
  return new Uint8Array(hkdfSync('sha256', secret, '', 'quic endpoint', ENDPOINT_KEY_BYTES));
}
