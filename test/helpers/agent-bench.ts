/**
 * Clients and stub collectors of one test, with certificates that fit, all closed at its end.
 */
import { TelemetryClient } from '../../src/client/client.ts';
import type { ClientDeps, ClientOptions } from '../../src/client/client-options.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { QuicAddress, QuicCredentials } from '../../src/transport/quic-endpoint.ts';
import { quinnStack } from '../../src/transport/quinn/quinn-endpoint.ts';
import { createRecordingLogger } from './recording-logger.ts';
import { StubCollector, type StubOptions } from './stub-collector.ts';
import { createTestAuthorities, SERVER_NAME, type TestAuthorities } from './test-credentials.ts';
import { type UdpAddress, UdpRelay } from './udp-relay.ts';

export class AgentBench {
  readonly authorities: TestAuthorities;
  readonly agentCredentials: QuicCredentials;
  readonly log = createRecordingLogger();
  readonly #closers: (() => void | Promise<void>)[] = [];

  static async create(): Promise<AgentBench> {
    const authorities = await createTestAuthorities();
    return new AgentBench(authorities, await authorities.agent('node-1'));
  }

  private constructor(authorities: TestAuthorities, agentCredentials: QuicCredentials) {
    this.authorities = authorities;
    this.agentCredentials = agentCredentials;
  }

  async stub(options: Partial<StubOptions> = {}): Promise<StubCollector> {
    const stub = await StubCollector.open({ credentials: this.authorities.server, ...options });
    this.#closers.push(() => stub.close());
    return stub;
  }

  /** A client with short times, so that a test of a timeout takes no longer than it must. */
  async client(
    remote: QuicAddress,
    options: Partial<ClientOptions> = {},
    deps: Partial<ClientDeps> = {},
  ): Promise<TelemetryClient> {
    const client = await TelemetryClient.open(
      {
        remote,
        serverName: SERVER_NAME,
        credentials: this.agentCredentials,
        nodeId: 'node-1',
        spool: { maxBytes: 64 * 1024 * 1024 },
        idleTimeoutMs: 3000,
        keepaliveMs: 500,
        handshakeTimeoutMs: 3000,
        backoff: { initialMs: 10, maxMs: 100 },
        ...options,
      },
      {
        clock: systemClock,
        logger: this.log.logger,
        stack: quinnStack,
        ...deps,
      },
    );
    this.#closers.push(() => client.close());
    return client;
  }

  async relay(target: UdpAddress): Promise<UdpRelay> {
    const relay = await UdpRelay.open(target);
    this.#closers.push(() => relay.close());
    return relay;
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }
}
