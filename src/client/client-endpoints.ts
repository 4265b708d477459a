/**
 * The endpoints of a client over one transport: one per address family, opened when an address of
 * that family is first tried, or one that the owner lends to many clients.
 */
import { isIPv6 } from 'node:net';
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.ts';
import type {
  QuicEndpoint,
  QuicStack,
  QuicTransportOptions,
  TransportName,
} from '../transport/quic-endpoint.ts';
import { ALPN_PROTOCOL } from '../domain/telemetry.ts';
import { AGENT_CLOSE_CODES } from './close-codes.ts';

const SOCKET_BUFFER_BYTES = 1024 * 1024;

/** What an agent's side of a connection allows. Acks are small; the collector opens no streams. */
export function agentTransport(idleTimeoutMs: number): QuicTransportOptions {
  return {
    alpn: ALPN_PROTOCOL,
    idleTimeoutMs,
    maxStreamsBidi: 0,
    maxStreamsUni: 0,
    streamWindowBytes: 256 * 1024,
    connectionWindowBytes: 512 * 1024,
    maxUdpPayloadBytes: 1350,
  };
}

export class ClientEndpoints {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #stack: QuicStack;
  readonly #transport: QuicTransportOptions;
  readonly #lent: QuicEndpoint | undefined;
  readonly #opened = new Map<4 | 6, Promise<QuicEndpoint>>();

  constructor(
    deps: { clock: Clock; logger: Logger; stack: QuicStack },
    options: { idleTimeoutMs: number; lent?: QuicEndpoint | undefined },
  ) {
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#stack = deps.stack;
    this.#transport = agentTransport(options.idleTimeoutMs);
    this.#lent = options.lent;
  }

  get transport(): TransportName {
    return this.#stack.transport;
  }

  /** The only family that can be reached; undefined where both can. */
  get family(): 4 | 6 | undefined {
    if (this.#lent === undefined) return undefined;
    return familyOf(this.#lent.address.host);
  }

  /** The socket for an IP address. Rejects where none can be opened; the next call tries again. */
  for(host: string): Promise<QuicEndpoint> {
    if (this.#lent !== undefined) return Promise.resolve(this.#lent);
    const family = familyOf(host);
    let endpoint = this.#opened.get(family);
    if (endpoint === undefined) {
      endpoint = this.#open(family);
      this.#opened.set(family, endpoint);
      endpoint.catch(() => this.#opened.delete(family));
    }
    return endpoint;
  }

  /** Closes what was opened here; a lent endpoint stays open. Idempotent. */
  async close(): Promise<void> {
    const endpoints = [...this.#opened.values()];
    this.#opened.clear();
    await Promise.allSettled(
      endpoints.map(async (opening) => {
        const endpoint = await opening;
        await endpoint.close(AGENT_CLOSE_CODES.stopping, 'agent stops');
      }),
    );
  }

  #open(family: 4 | 6): Promise<QuicEndpoint> {
    const bind = { host: family === 6 ? '::' : '0.0.0.0', port: 0 };
    const options = {
      bind,
      transport: this.#transport,
      socketBufferBytes: SOCKET_BUFFER_BYTES,
      onError: (error: unknown) => this.#logger.error({ err: error }, 'BUG in a QUIC handler'),
    };
    return this.#stack.openEndpoint(options, this.#clock);
  }
}

function familyOf(host: string): 4 | 6 {
  return isIPv6(host) ? 6 : 4;
}
