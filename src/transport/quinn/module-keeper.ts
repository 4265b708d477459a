/**
 * Keeps an instance of the module running: gives it credentials and limits, takes up new ones, and
 * starts another instance when one panics. The endpoint calls the module only through `call`.
 */
import { hkdfSync, randomBytes } from 'node:crypto';
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

export class ModuleKeeper {
  readonly #compiled: WebAssembly.Module;
  readonly #options: QuicEndpointOptions;
  readonly #clock: Clock;
  readonly #onLost: (why: string) => void;
  readonly #recentPanics: PanicCount;
  #module: QuinnModule;
  #isAccepting = true;
  /** Strangers must prove their address because of panics. */
  #asksForProof = false;
  #serverCredentials: QuicCredentials | undefined;
  #clientCredentials: QuicCredentials | undefined;
  #panics = 0;
  /** Of instances that are gone. */
  #retriesBefore = 0;
  #retries = 0;

  /** `onLost` is called when a panic has cost an instance and the next one is there. */
  constructor(
    compiled: WebAssembly.Module,
    options: QuicEndpointOptions,
    clock: Clock,
    onLost: (why: string) => void,
  ) {
    this.#compiled = compiled;
    this.#options = options;
    this.#clock = clock;
    this.#onLost = onLost;
    this.#recentPanics = new PanicCount(clock);
    this.#module = this.#open();
  }

  /** For `QuinnModule`'s own figures; everything else goes through `call`. */
  get module(): QuinnModule {
    return this.#module;
  }

  get panics(): number {
    return this.#panics;
  }

  /** Strangers asked to prove their address, over all instances. */
  get retries(): number {
    this.#retries = this.#module.calls.retries();
    return this.#retriesBefore + this.#retries;
  }

  /** Runs `work` on the instance; undefined where that panicked. */
  call<T>(work: (module: QuinnModule) => T): T | undefined {
    try {
      return work(this.#module);
    } catch (error) {
      this.#replace(error);
      return undefined;
    }
  }

  stopAccepting(): void {
    this.#isAccepting = false;
    this.call((module) => this.#setLimits(module));
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
      useCredentials(this.#module, 'server', credentials, transport.alpn);
    } catch (error) {
      this.#options.onError?.(error);
    }
  }

  /** For the connections that we open. Throws OperatingError BAD_CREDENTIALS. */
  connectWith(credentials: QuicCredentials): void {
    if (this.#clientCredentials === credentials) return;
    useCredentials(this.#module, 'client', credentials, this.#options.transport.alpn);
    this.#clientCredentials = credentials;
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

  #replace(error: unknown): void {
    const { panic } = this.#module;
    this.#panics += 1;
    this.#recentPanics.add();
    // As of the last time they were asked for: a lost instance answers no more.
    this.#retriesBefore += this.#retries;
    this.#retries = 0;
    this.#module = this.#open();
    this.#onLost(panic === '' ? errorMessage(error) : panic);
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
