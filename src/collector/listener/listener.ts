/**
 * The room that accepts agents: a QUIC endpoint with mutual TLS, a session per authenticated
 * connection, and nothing of what a batch means. The part behind it is the door.
 *
 *   constructed ──start──► listening ──stopAccepting──► finishing ──close──► closed
 */
import type { Logger } from 'pino';
import { FrameBuffers } from '../../codec/frame-buffers.ts';
import {
  type LimitsConfig,
  NO_TCP,
  type SecurityConfig,
  type ServerConfig,
} from '../../config/schema.ts';
import { parseSocketAddress } from '../../config/socket-address.ts';
import { ALPN_PROTOCOL, type PeerIdentity } from '../../domain/telemetry.ts';
import { type Clock, sleep } from '../../lib/clock.ts';
import { assert, errorMessage, OperatingError } from '../../lib/errors.ts';
import { repeat } from '../../lib/repeat.ts';
import type {
  QuicAddress,
  QuicCloseReason,
  QuicConnection,
  QuicCredentials,
  QuicEndpoint,
  QuicStack,
  QuicTransportOptions,
  TransportName,
} from '../../transport/quic-endpoint.ts';
import { CLOSE_CODES, type CloseWord, closeWord } from './close-codes.ts';
import { FailureLog } from './failure-log.ts';
import { Gatekeeper } from './gatekeeper.ts';
import { type ListenerMetrics, type ListenerSnapshot, NO_TRAFFIC } from './listener-metrics.ts';
import { readPeerIdentity } from './peer-identity.ts';
import { type DoorSession, Session, type SessionTotals } from './session.ts';

const CHECK_INTERVAL_MS = 1000;
/**
 * A node at its limit of connections loses one for a new one where that has brought nothing for so
 * long. Agents send every few seconds; one that does not loses nothing but the connection.
 */
const REPLACEABLE_IDLE_MS = 10_000;
const CLOSE_POLL_MS = 5;
/** After the last answer was handed to the stack: time for a datagram that was lost to go again. */
const CLOSE_LINGER_MS = 100;

export interface ListenerDeps {
  readonly stack: QuicStack;
  /** For `server.tcp_listen_addr`. */
  readonly tcpStack: QuicStack;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: ListenerMetrics;
}

export interface ListenerConfig {
  readonly server: ServerConfig;
  readonly security: SecurityConfig;
  readonly limits: LimitsConfig;
}

/** The part behind the listener. */
export interface Door {
  /** Called once per authenticated connection; throws nothing. */
  open(peer: PeerIdentity): DoorSession;
}

/** Who showed a certificate, or why that is nobody who may connect. */
export type PeerVerdict =
  | { readonly ok: true; readonly identity: PeerIdentity }
  | { readonly ok: false; readonly word: CloseWord; readonly reason: string };

/** One of the connections, for those who show them. */
export interface OpenConnection {
  readonly nodeId: string;
  /** Unix ms. */
  readonly connectedAtMs: number;
  readonly transport: TransportName;
  /** An address and a port. */
  readonly remoteAddress: string;
}

export class Listener {
  readonly #deps: ListenerDeps;
  readonly #config: ListenerConfig;
  readonly #door: Door;
  readonly #failureLog: FailureLog;
  readonly #sessions = new Map<QuicConnection, Session>();
  readonly #connectionsByNode = new Map<string, number>();
  readonly #totals = emptyTotals();
  readonly #frameBuffers = new FrameBuffers();
  #gatekeeper: Gatekeeper | undefined;
  /** The one of UDP first. */
  #endpoints: readonly QuicEndpoint[] = [];
  #stopChecks: () => void = () => {};
  #isPaused = false;
  #closing: Promise<void> | undefined;

  constructor(deps: ListenerDeps, config: ListenerConfig, door: Door) {
    this.#deps = deps;
    this.#config = config;
    this.#door = door;
    this.#failureLog = new FailureLog(deps.clock);
  }

  /** Loads the credentials and binds the sockets. Rejects with OperatingError. */
  async start(): Promise<QuicAddress> {
    assert(this.#endpoints.length === 0, 'a listener is started once');
    const { clock, metrics, stack, tcpStack } = this.#deps;
    const { listen_addr, tcp_listen_addr } = this.#config.server;
    const gatekeeper = await this.#openGatekeeper();
    const endpoint = await this.#openEndpoint(stack, bindOf(listen_addr), gatekeeper);
    this.#endpoints = [endpoint];
    if (tcp_listen_addr !== NO_TCP) {
      // Where the system chose the UDP port, TCP has the same one.
      const bind = tcp_listen_addr === '' ? endpoint.address : bindOf(tcp_listen_addr);
      await this.#openTcp(tcpStack, bind, gatekeeper);
    }
    this.#gatekeeper = gatekeeper;
    gatekeeper.watch();
    this.#stopChecks = repeat(clock, CHECK_INTERVAL_MS, () => this.#checkSessions());
    metrics.observe(() => this.#snapshot(endpoint));
    this.#warnOfSmallBuffer(endpoint.receiveBufferBytes);
    return endpoint.address;
  }

  /** The kernel gives what its own limit allows, and says nothing. */
  #warnOfSmallBuffer(givenBytes: number): void {
    const { socket_buffer_bytes: askedBytes } = this.#config.server;
    if (givenBytes >= askedBytes) return;
    this.#deps.logger.warn(
      { askedBytes, givenBytes, key: 'server.socket_buffer_bytes' },
      'UDP receive buffer is smaller than asked for: raise net.core.rmem_max',
    );
  }

  /** Stops reading all streams, so that flow control holds the agents. Idempotent. */
  pauseReading(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#totals.readingPauses += 1;
    for (const session of this.#sessions.values()) session.pauseReading();
  }

  resumeReading(): void {
    if (!this.#isPaused || this.#closing !== undefined) return;
    this.#isPaused = false;
    for (const session of this.#sessions.values()) session.resumeReading();
  }

  /**
   * Reads the TLS files, the denylist and the revocation lists again; they are in use once the
   * returned function is called. Rejects with OperatingError where one of them cannot be used.
   */
  prepareReload(): Promise<() => void> {
    assert(this.#gatekeeper !== undefined, 'the listener is started before a reload');
    return this.#gatekeeper.prepareReload();
  }

  /** What the collector shows to its peers; another object after each reload. */
  get credentials(): QuicCredentials {
    return this.#started().credentials;
  }

  /** Judges what somebody showed who is no connection of ours, DER, leaf first. */
  judge(chain: readonly Uint8Array[]): PeerVerdict {
    return judgePeer(this.#started(), chain);
  }

  /** Every authenticated connection that is open. */
  connections(): OpenConnection[] {
    const { clock } = this.#deps;
    const startMs = clock.nowMs() - clock.monotonicMs();
    return [...this.#sessions].map(([connection, session]) => {
      const { host, port } = connection.remoteAddress;
      return {
        nodeId: session.peer.nodeIds[0],
        connectedAtMs: startMs + session.openedAtMs,
        transport: session.transport,
        remoteAddress: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
      };
    });
  }

  /** Takes no more connections; the open ones go on. */
  stopAccepting(): void {
    for (const endpoint of this.#endpoints) endpoint.stopAccepting();
  }

  /**
   * Reads no more, waits until what was received is answered and the answers are with the agents,
   * at most `deadlineMs`, and closes every connection. Idempotent.
   */
  close(deadlineMs: number): Promise<void> {
    this.#closing ??= this.#close(deadlineMs);
    return this.#closing;
  }

  async #close(deadlineMs: number): Promise<void> {
    const { clock } = this.#deps;
    const endMs = clock.monotonicMs() + deadlineMs;
    this.stopAccepting();
    this.pauseReading();
    this.#gatekeeper?.close();
    this.#stopChecks();
    while (this.#hasUnanswered() && clock.monotonicMs() < endMs) await sleep(clock, CLOSE_POLL_MS);
    if (this.#sessions.size > 0) {
      await sleep(clock, Math.max(0, Math.min(CLOSE_LINGER_MS, endMs - clock.monotonicMs())));
    }
    const closing = this.#endpoints.map((endpoint) =>
      endpoint.close(CLOSE_CODES.stopping, 'collector is stopping'),
    );
    await Promise.all(closing);
  }

  #started(): Gatekeeper {
    assert(this.#gatekeeper !== undefined, 'the listener is started before it is asked');
    return this.#gatekeeper;
  }

  #hasUnanswered(): boolean {
    for (const session of this.#sessions.values()) {
      if (session.framesInFlight > 0 || session.queuedBytes > 0) return true;
    }
    return false;
  }

  #openGatekeeper(): Promise<Gatekeeper> {
    const { stack, clock, logger, metrics } = this.#deps;
    const tryOut = (credentials: QuicCredentials) =>
      stack.checkCredentials(transportOf(this.#config.server), credentials);
    const onChange = () => this.#closeUnwelcome();
    return Gatekeeper.open({ clock, logger, metrics, tryOut, onChange }, this.#config.security);
  }

  /** A port that is taken must not leave the one of UDP open. */
  async #openTcp(stack: QuicStack, bind: QuicAddress, gatekeeper: Gatekeeper): Promise<void> {
    try {
      const endpoint = await this.#openEndpoint(stack, bind, gatekeeper);
      this.#endpoints = [...this.#endpoints, endpoint];
      this.#deps.logger.info({ tcpListenAddress: endpoint.address }, 'listens for TLS over TCP');
    } catch (error) {
      await this.#endpoints[0]?.close(CLOSE_CODES.stopping, 'collector is stopping');
      const way = `free it, or set server.tcp_listen_addr (${NO_TCP}: no TLS over TCP)`;
      throw new OperatingError('CANNOT_BIND', `${errorMessage(error)}; ${way}`, { cause: error });
    }
  }

  #openEndpoint(
    stack: QuicStack,
    bind: QuicAddress,
    gatekeeper: Gatekeeper,
  ): Promise<QuicEndpoint> {
    const { server } = this.#config;
    const { clock, logger, metrics } = this.#deps;
    return stack.openEndpoint(
      {
        bind,
        transport: transportOf(server),
        socketBufferBytes: server.socket_buffer_bytes,
        accept: {
          credentials: () => gatekeeper.credentials,
          maxConnections: server.max_connections,
          maxHandshakes: server.max_handshakes,
          maxMemoryBytes: server.transport_max_bytes,
          handshakeTimeoutMs: server.handshake_timeout_secs * 1000,
          alwaysRetry: server.always_retry,
          handlers: {
            onConnected: (connection) => this.#onConnected(connection, gatekeeper, stack.transport),
            onData: (connection, streamId, bytes, fin) =>
              this.#sessions.get(connection)?.onData(streamId, bytes, fin),
            onReset: (connection, streamId) => this.#sessions.get(connection)?.onReset(streamId),
            onDrained: (connection) => this.#sessions.get(connection)?.onDrained(),
            onClosed: (connection, reason) => this.#onClosed(connection, reason),
          },
          onRefused: (why) => metrics.refused(why),
        },
        onError: (error) => logger.error({ err: error }, 'BUG in a session; its connection closes'),
        onPanic: (why) => logger.error({ why }, 'the QUIC stack failed; its connections are lost'),
        onDown: (why) => logger.error({ why }, 'the QUIC stack cannot start again; it is tried on'),
      },
      clock,
    );
  }

  #onConnected(connection: QuicConnection, gatekeeper: Gatekeeper, transport: TransportName): void {
    this.#deps.metrics.connectionAccepted();
    const verdict = judgePeer(gatekeeper, connection.peerCertificates());
    if (!verdict.ok) {
      this.#deny(connection, verdict.word, verdict.reason);
      return;
    }
    const { identity } = verdict;
    const [nodeId] = identity.nodeIds;
    if (!this.#makeRoomFor(nodeId)) {
      const limit = `server.max_connections_per_node is ${this.#config.server.max_connections_per_node}`;
      this.#deny(connection, 'node_connections', `${nodeId} is connected too often: ${limit}`);
      return;
    }
    this.#openSession(connection, identity, transport);
  }

  /**
   * Whether the node may have one connection more. At its limit, the connection that has been idle
   * for longest goes: with a stolen certificate one could else keep its owner out by doing nothing.
   */
  #makeRoomFor(nodeId: string): boolean {
    const limit = this.#config.server.max_connections_per_node;
    if ((this.#connectionsByNode.get(nodeId) ?? 0) < limit) return true;
    const idleBeforeMs = this.#deps.clock.monotonicMs() - REPLACEABLE_IDLE_MS;
    let idlest: Session | undefined;
    for (const session of this.#sessions.values()) {
      if (session.peer.nodeIds[0] !== nodeId || session.lastFrameMs > idleBeforeMs) continue;
      if (idlest === undefined || session.lastFrameMs < idlest.lastFrameMs) idlest = session;
    }
    if (idlest === undefined) return false;
    idlest.close('node_connections', 'idle, and the node has newer connections');
    return true;
  }

  #openSession(connection: QuicConnection, identity: PeerIdentity, transport: TransportName): void {
    const { logger, clock } = this.#deps;
    const [nodeId] = identity.nodeIds;
    this.#connectionsByNode.set(nodeId, (this.#connectionsByNode.get(nodeId) ?? 0) + 1);
    const session = new Session(connection, this.#door.open(identity), this.#totals, {
      ...{ peer: identity, transport },
      maxFrameBytes: this.#config.limits.max_batch_bytes,
      frameBuffers: this.#frameBuffers,
      monotonicMs: () => clock.monotonicMs(),
    });
    this.#sessions.set(connection, session);
    if (this.#isPaused) session.pauseReading();
    const { fingerprint256 } = identity;
    const { id, remoteAddress: remote } = connection;
    const fields = { connection: id, nodeId, transport, remote, fingerprint256 };
    logger.info(fields, 'agent connected');
  }

  #deny(connection: QuicConnection, word: CloseWord, reason: string): void {
    const remote = connection.remoteAddress;
    const admitted = this.#failureLog.admit(word);
    if (admitted) {
      const fields = { connection: connection.id, remote, ...admitted };
      this.#deps.logger.warn(fields, `agent turned away: ${reason}`);
    }
    connection.close(CLOSE_CODES[word], reason);
  }

  #onClosed(connection: QuicConnection, reason: QuicCloseReason): void {
    const { metrics } = this.#deps;
    const word = closeWord(reason);
    if (!reason.wasConnected) {
      metrics.handshakeFailed(sideOf(reason), word);
      this.#logFailedHandshake(connection, reason, word);
      return;
    }
    metrics.connectionClosed(sideOf(reason), word);
    const session = this.#sessions.get(connection);
    if (session === undefined) return;
    this.#sessions.delete(connection);
    session.onClosed();
    this.#forgetConnectionOf(session.peer.nodeIds[0]);
    this.#logClosed(connection, session, reason, word);
  }

  #forgetConnectionOf(nodeId: string): void {
    const left = (this.#connectionsByNode.get(nodeId) ?? 1) - 1;
    if (left === 0) this.#connectionsByNode.delete(nodeId);
    else this.#connectionsByNode.set(nodeId, left);
  }

  #logFailedHandshake(connection: QuicConnection, reason: QuicCloseReason, word: string): void {
    const admitted = this.#failureLog.admit(`handshake ${reason.by} ${word}`);
    if (!admitted) return;
    const { remoteAddress: remote, id } = connection;
    const fields = { connection: id, remote, by: reason.by, reason: word, code: reason.code };
    this.#deps.logger.warn({ ...fields, ...admitted }, 'handshake failed');
  }

  #logClosed(
    connection: QuicConnection,
    session: Session,
    reason: QuicCloseReason,
    word: string,
  ): void {
    const { clock, logger } = this.#deps;
    const nodeId = session.peer.nodeIds[0];
    const seconds = Math.round((clock.monotonicMs() - session.openedAtMs) / 1000);
    const { by, code, reason: text } = reason;
    const fields = { connection: connection.id, nodeId, by, reason: word, code, text, seconds };
    logger.info(fields, 'agent disconnected');
  }

  #checkSessions(): void {
    const nowMs = this.#deps.clock.nowMs();
    for (const session of this.#sessions.values()) session.check(nowMs);
  }

  /** Over a copy, because a session that is closed leaves the map. */
  #closeUnwelcome(): void {
    for (const [connection, session] of [...this.#sessions]) {
      const refusal = this.#gatekeeper?.refusal(session.peer, connection.peerCertificates());
      if (refusal !== undefined) session.close(refusal.word, refusal.reason);
    }
  }

  #snapshot(udp: QuicEndpoint): ListenerSnapshot {
    const sessions = this.#sessions;
    const endpoints = this.#endpoints;
    const tcp = endpoints[1];
    return {
      connections: sum(endpoints, ({ connections }) => connections),
      handshakes: sum(endpoints, ({ handshakes }) => handshakes),
      tcpConnections: tcp?.connections ?? 0,
      streams: this.#totals.streams,
      framesInFlight: this.#totals.framesInFlight,
      unfinishedFrameBytes: this.#totals.unfinishedFrameBytes,
      isPaused: this.#isPaused,
      receiveBufferBytes: udp.receiveBufferBytes,
      traffic: this.#totals,
      quic: udp.counters,
      // Only this one has to ask every session.
      get ackBytesQueued() {
        let bytes = 0;
        for (const session of sessions.values()) bytes += session.queuedBytes;
        return bytes;
      },
    };
  }
}

function sum(endpoints: readonly QuicEndpoint[], of: (endpoint: QuicEndpoint) => number): number {
  return endpoints.reduce((total, endpoint) => total + of(endpoint), 0);
}

function bindOf(addr: string): QuicAddress {
  const bind = parseSocketAddress(addr);
  assert(bind !== undefined, 'addresses were validated with the configuration');
  return bind;
}

function judgePeer(gatekeeper: Gatekeeper, chain: readonly Uint8Array[]): PeerVerdict {
  const result = readPeerIdentity(chain[0]);
  if (!result.ok) return { ok: false, word: 'identity', reason: result.reason };
  const { identity } = result;
  const refusal = gatekeeper.refusal(identity, chain);
  return refusal === undefined ? { ok: true, identity } : { ok: false, ...refusal };
}

function transportOf(server: ServerConfig): QuicTransportOptions {
  return {
    alpn: ALPN_PROTOCOL,
    idleTimeoutMs: server.connection_timeout_secs * 1000,
    maxStreamsBidi: server.max_streams_per_connection,
    maxStreamsUni: server.max_streams_per_connection,
    streamWindowBytes: server.stream_window_bytes,
    connectionWindowBytes: server.connection_window_bytes,
    maxUdpPayloadBytes: server.max_udp_payload_bytes,
  };
}

function sideOf(reason: QuicCloseReason): 'peer' | 'local' {
  return reason.by === 'peer' ? 'peer' : 'local';
}

function emptyTotals(): SessionTotals {
  return { ...NO_TRAFFIC, streams: 0, framesInFlight: 0, unfinishedFrameBytes: 0 };
}
