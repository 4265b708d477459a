/**
 * A QUIC server and clients over real UDP on the loopback, with recorders on both sides.
 */
import { systemClock } from '../../src/lib/clock.ts';
import type {
  QuicAcceptOptions,
  QuicAddress,
  QuicConnection,
  QuicConnectOptions,
  QuicCredentials,
  QuicEndpoint,
  QuicRefusal,
  QuicStack,
  QuicTransportOptions,
} from '../../src/transport/quic-endpoint.ts';
import { QuicRecorder } from './quic-recorder.ts';
import { SERVER_NAME } from './test-credentials.ts';

export const TEST_TRANSPORT: QuicTransportOptions = {
  alpn: 'horizon-telemetry/1',
  idleTimeoutMs: 30_000,
  maxStreamsBidi: 16,
  maxStreamsUni: 16,
  streamWindowBytes: 1 << 20,
  connectionWindowBytes: 2 << 20,
  maxUdpPayloadBytes: 1350,
};

export interface TestServer {
  readonly endpoint: QuicEndpoint;
  readonly recorder: QuicRecorder;
  readonly refusals: QuicRefusal[];
  readonly errors: unknown[];
}

export interface TestClient {
  readonly endpoint: QuicEndpoint;
  readonly recorder: QuicRecorder;
  readonly connection: QuicConnection;
}

export interface TestServerOptions {
  readonly port?: number;
  readonly host?: string;
  readonly transport?: Partial<QuicTransportOptions>;
  readonly accept?: Partial<QuicAcceptOptions>;
}

export interface TestClientOptions {
  readonly bindHost?: string;
  readonly transport?: Partial<QuicTransportOptions>;
  readonly connect?: Partial<QuicConnectOptions>;
  readonly recorder?: QuicRecorder;
}

/** Opens endpoints and closes them all at the end of a test. */
export class QuicTestBed {
  readonly #stack: QuicStack;
  readonly #endpoints: QuicEndpoint[] = [];

  constructor(stack: QuicStack) {
    this.#stack = stack;
  }

  async server(credentials: QuicCredentials, options: TestServerOptions = {}): Promise<TestServer> {
    const recorder = new QuicRecorder();
    const refusals: QuicRefusal[] = [];
    const errors: unknown[] = [];
    const endpoint = await this.#stack.openEndpoint(
      {
        bind: { host: options.host ?? '127.0.0.1', port: options.port ?? 0 },
        transport: { ...TEST_TRANSPORT, ...options.transport },
        socketBufferBytes: 4 << 20,
        accept: {
          credentials: () => credentials,
          maxConnections: 1000,
          maxHandshakes: 100,
          maxMemoryBytes: 1 << 30,
          handshakeTimeoutMs: 10_000,
          alwaysRetry: false,
          handlers: recorder,
          onRefused: (why) => refusals.push(why),
          ...options.accept,
        },
        onError: (error) => errors.push(error),
      },
      systemClock,
    );
    this.#endpoints.push(endpoint);
    return { endpoint, recorder, refusals, errors };
  }

  async client(
    remote: QuicAddress,
    credentials: QuicCredentials,
    options: TestClientOptions = {},
  ): Promise<TestClient> {
    const recorder = options.recorder ?? new QuicRecorder();
    const endpoint = await this.#stack.openEndpoint(
      {
        bind: { host: options.bindHost ?? '127.0.0.1', port: 0 },
        transport: { ...TEST_TRANSPORT, ...options.transport },
        socketBufferBytes: 4 << 20,
      },
      systemClock,
    );
    this.#endpoints.push(endpoint);
    const connection = endpoint.connect({
      remote,
      serverName: SERVER_NAME,
      credentials,
      handshakeTimeoutMs: 10_000,
      handlers: recorder,
      ...options.connect,
    });
    return { endpoint, recorder, connection };
  }

  async close(): Promise<void> {
    await Promise.all(this.#endpoints.splice(0).map((endpoint) => endpoint.close(0x1000, 'end')));
  }
}
