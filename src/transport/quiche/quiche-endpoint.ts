/**
 * The QUIC endpoint over quiche: one UDP socket, many connections.
 *
 *   socket ──datagram──► by destination id ──► connection.receive ──► scheduled ┐
 *   timers, write(), close() ────────────────────────────────────► scheduled ┤
 *   socket ◄── acks, windows, data in one go ◄── connection.pump ◄── one setImmediate a turn
 *
 * Reading all datagrams that have arrived before answering any lets acks, window updates and data
 * leave together: some 7 k datagrams out for 150 k in. Nothing that arrives throws past this file;
 * a handler that throws costs its own connection.
 */
import { randomBytes } from 'node:crypto';
import type { RemoteInfo } from 'node:dgram';
import { isIP, isIPv4 } from 'node:net';
import quiche from '@matrixai/quic/native/quiche.js';
import type { Clock } from '../../lib/clock.ts';
import { OperatingError } from '../../lib/errors.ts';
import { TRANSPORT_CONNECTION_REFUSED, TRANSPORT_INTERNAL_ERROR } from '../close-reason.ts';
import { buildRefusal } from '../connection-refusal.ts';
import { DatagramSocket } from '../datagram-socket.ts';
import { droppedDatagrams } from '../dropped-datagrams.ts';
import * as packet from '../packet-header.ts';
import type {
  QuicAcceptOptions,
  QuicAddress,
  QuicConnection,
  QuicConnectOptions,
  QuicCounters,
  QuicEndpoint,
  QuicEndpointOptions,
  QuicRefusal,
  QuicStack,
} from '../quic-endpoint.ts';
import { type AcceptLoad, judgeStranger } from './acceptor.ts';
import { AcceptConfig, buildConnectionConfig } from './quiche-config.ts';
import {
  type ConnectionHost,
  type ConnectionStart,
  QuicheConnection,
} from './quiche-connection.ts';
import { RetryTokens } from './retry-token.ts';
import { StreamReader } from './stream-io.ts';

/** How long closing waits for the closes of all connections to be on their way. */
const CLOSE_WAIT_MS = 2500;

/** Binds the socket; rejects with OperatingError CANNOT_BIND. */
export async function openQuicEndpoint(
  options: QuicEndpointOptions,
  clock: Clock,
): Promise<QuicEndpoint> {
  const socket = await DatagramSocket.bind(options.bind, options.socketBufferBytes);
  return new QuicheEndpoint(options, clock, socket);
}

/** The stack over quiche. */
export const quicheStack: QuicStack = {
  transport: 'quic',
  openEndpoint: openQuicEndpoint,
  checkCredentials(transport, credentials) {
    buildConnectionConfig(transport, credentials);
  },
};

class QuicheEndpoint implements QuicEndpoint {
  readonly #options: QuicEndpointOptions;
  readonly #clock: Clock;
  readonly #socket: DatagramSocket;
  readonly #host: ConnectionHost;
  readonly #tokens: RetryTokens;
  readonly #acceptConfig: AcceptConfig;
  readonly #byKey = new Map<string, QuicheConnection>();
  readonly #flush = () => this.#pumpScheduled();
  #scheduled: QuicheConnection[] = [];
  #isFlushPlanned = false;
  #connections = 0;
  /** Oldest first. */
  readonly #handshakes = new Set<QuicheConnection>();
  #isAccepting: boolean;
  #datagramsReceived = 0;
  #bytesReceived = 0;
  #retriesSent = 0;
  #closing: Promise<void> | undefined;
  #onAllClosed: () => void = () => {};

  constructor(options: QuicEndpointOptions, clock: Clock, socket: DatagramSocket) {
    this.#options = options;
    this.#clock = clock;
    this.#socket = socket;
    this.#tokens = new RetryTokens(clock);
    this.#acceptConfig = new AcceptConfig(options.transport);
    this.#isAccepting = options.accept !== undefined;
    this.#host = this.#connectionHost();
    socket.onDatagram((datagram, from) => this.#receive(datagram, from));
  }

  get address(): QuicAddress {
    return this.#socket.address;
  }

  get connections(): number {
    return this.#connections;
  }

  get handshakes(): number {
    return this.#handshakes.size;
  }

  get receiveBufferBytes(): number {
    return this.#socket.receiveBufferBytes;
  }

  get counters(): QuicCounters {
    const { address } = this;
    return {
      datagramsReceived: this.#datagramsReceived,
      bytesReceived: this.#bytesReceived,
      datagramsSent: this.#socket.sent,
      bytesSent: this.#socket.sentBytes,
      socketErrors: this.#socket.errors,
      // Reads a file: only for who wants to know.
      get datagramsDropped() {
        return droppedDatagrams(address);
      },
      retriesSent: this.#retriesSent,
      panics: 0,
      memoryBytes: 0,
      isDown: false,
    };
  }

  connect(options: QuicConnectOptions): QuicConnection {
    if (this.#closing !== undefined) {
      throw new OperatingError('ENDPOINT_CLOSED', 'cannot connect: the endpoint is closed');
    }
    const remote = this.#reachable(options.remote);
    const config = buildConnectionConfig(this.#options.transport, options.credentials);
    const scid = randomBytes(packet.CONNECTION_ID_BYTES);
    const connection = this.#add({
      quiche: quiche.Connection.connect(options.serverName, scid, this.address, remote, config),
      keys: [packet.connectionKey(scid)],
      id: connectionName(scid),
      isServer: false,
      remote,
      handshakeTimeoutMs: options.handshakeTimeoutMs,
      handlers: options.handlers,
    });
    this.#schedule(connection);
    return connection;
  }

  stopAccepting(): void {
    this.#isAccepting = false;
  }

  close(code: number, reason: string): Promise<void> {
    this.#closing ??= this.#closeAll(code, reason);
    return this.#closing;
  }

  async #closeAll(code: number, reason: string): Promise<void> {
    this.#isAccepting = false;
    for (const connection of new Set(this.#byKey.values())) connection.close(code, reason);
    if (this.#connections > 0) {
      await new Promise<void>((resolve) => {
        const cancel = this.#clock.after(CLOSE_WAIT_MS, resolve);
        this.#onAllClosed = () => {
          cancel();
          resolve();
        };
      });
    }
    for (const connection of new Set(this.#byKey.values())) connection.forget();
    await this.#socket.close(this.#clock);
  }

  /** The address as this socket must write it, or an OperatingError. */
  #reachable(remote: QuicAddress): QuicAddress {
    const isSocketIPv4 = isIPv4(this.address.host);
    if (isIP(remote.host) === 0 || (isSocketIPv4 && !isIPv4(remote.host))) {
      const where = `${remote.host}:${remote.port}`;
      const family = isSocketIPv4 ? 'an IPv4' : 'an IP';
      const why = `the endpoint needs ${family} address`;
      throw new OperatingError('BAD_ADDRESS', `cannot connect to ${where}: ${why}`);
    }
    const isMapped = !isSocketIPv4 && isIPv4(remote.host);
    return isMapped ? { host: `::ffff:${remote.host}`, port: remote.port } : remote;
  }

  #receive(datagram: Buffer, from: RemoteInfo): void {
    this.#datagramsReceived += 1;
    this.#bytesReceived += datagram.length;
    try {
      this.#dispatch(datagram, from);
    } catch (error) {
      this.#options.accept?.onRefused('internal_error');
      this.#options.onError?.(error);
    }
  }

  #dispatch(datagram: Buffer, from: RemoteInfo): void {
    if (datagram.length > 0 && packet.isLongHeader(datagram)) {
      this.#dispatchLong(datagram, from);
      return;
    }
    const key = packet.shortHeaderKey(datagram);
    const connection = key === undefined ? undefined : this.#byKey.get(key);
    if (connection === undefined) this.#refused('bad_packet');
    else connection.receive(datagram, from.address, from.port);
  }

  #dispatchLong(datagram: Buffer, from: RemoteInfo): void {
    const header = packet.parseLongHeader(datagram);
    if (header === undefined) {
      this.#refused('bad_packet');
      return;
    }
    const key = packet.connectionKey(header.destinationId);
    const connection = this.#byKey.get(key);
    if (connection === undefined) this.#meet(header, key, datagram, from);
    else connection.receive(datagram, from.address, from.port);
  }

  #refused(why: QuicRefusal): void {
    this.#options.accept?.onRefused(why);
  }

  #meet(header: packet.LongHeader, key: string, datagram: Buffer, rinfo: RemoteInfo): void {
    const { accept } = this.#options;
    if (accept === undefined) return;
    const from = { host: rinfo.address, port: rinfo.port };
    const load = this.#load(accept);
    const verdict = judgeStranger(header, datagram.length, from, load, this.#tokens);
    switch (verdict.kind) {
      case 'accept':
        this.#accept(accept, header, datagram, from, key);
        break;
      case 'accept_retried':
        if (verdict.takesPlace) this.#dropOldestHandshake();
        this.#accept(accept, header, datagram, from, key, verdict.originalId);
        break;
      case 'retry':
        this.#retry(header, from);
        break;
      case 'negotiate_version':
        this.#negotiateVersion(header, from);
        break;
      case 'refuse':
        this.#refuse(header, from, verdict.why);
        break;
      case 'drop':
        this.#refused(verdict.why);
        break;
    }
  }

  #dropOldestHandshake(): void {
    const [oldest] = this.#handshakes;
    oldest?.dropHandshake();
  }

  #refuse(header: packet.LongHeader, from: QuicAddress, why: QuicRefusal): void {
    const reason = why === 'stopping' ? 'stopping' : 'too many connections';
    const { destinationId, sourceId } = header;
    const datagram = buildRefusal(destinationId, sourceId, TRANSPORT_CONNECTION_REFUSED, reason);
    this.#socket.send(datagram, from);
    this.#refused(why);
  }

  #load(accept: QuicAcceptOptions): AcceptLoad {
    return {
      isAccepting: this.#isAccepting,
      connections: this.#connections,
      maxConnections: accept.maxConnections,
      handshakes: this.#handshakes.size,
      maxHandshakes: accept.maxHandshakes,
      alwaysRetry: accept.alwaysRetry,
    };
  }

  #accept(
    accept: QuicAcceptOptions,
    header: packet.LongHeader,
    datagram: Buffer,
    from: QuicAddress,
    key: string,
    originalId?: Buffer,
  ): void {
    const config = this.#acceptConfig.next(accept.credentials());
    const isRetried = originalId !== undefined;
    // After a retry the client already uses the id that the retry gave out, as ours.
    const scid = isRetried
      ? Buffer.from(header.destinationId)
      : randomBytes(packet.CONNECTION_ID_BYTES);
    const connection = this.#add({
      quiche: quiche.Connection.accept(scid, originalId, this.address, from, config),
      keys: isRetried ? [key] : [key, packet.connectionKey(scid)],
      id: connectionName(scid),
      isServer: true,
      remote: from,
      handshakeTimeoutMs: accept.handshakeTimeoutMs,
      handlers: accept.handlers,
    });
    connection.receive(datagram, from.host, from.port);
  }

  #retry(header: packet.LongHeader, from: QuicAddress): void {
    const { destinationId, sourceId, version } = header;
    const retryId = randomBytes(packet.CONNECTION_ID_BYTES);
    const token = this.#tokens.mint(from, destinationId, retryId);
    const out = this.#host.sendBuffer;
    const length = quiche.retry(sourceId, destinationId, retryId, token, version, out);
    this.#retriesSent += 1;
    this.#host.sendCopy(out.subarray(0, length), from);
  }

  #negotiateVersion(header: packet.LongHeader, from: QuicAddress): void {
    const out = this.#host.sendBuffer;
    const length = quiche.negotiateVersion(header.sourceId, header.destinationId, out);
    this.#host.sendCopy(out.subarray(0, length), from);
    this.#refused('version');
  }

  #add(start: ConnectionStart): QuicheConnection {
    const connection = new QuicheConnection(this.#host, start);
    for (const key of start.keys) this.#byKey.set(key, connection);
    this.#connections += 1;
    this.#handshakes.add(connection);
    return connection;
  }

  #connectionHost(): ConnectionHost {
    return {
      clock: this.#clock,
      local: this.address,
      sendBuffer: Buffer.allocUnsafeSlow(65_535),
      reader: new StreamReader(this.#clock),
      sendCopy: (datagram, to) => {
        const copy = Buffer.from(datagram);
        this.#socket.send(copy, to);
        return copy;
      },
      sendAgain: (datagram, to) => this.#socket.send(datagram, to),
      schedule: (connection) => this.#schedule(connection),
      onHandshakeOver: (connection) => {
        this.#handshakes.delete(connection);
      },
      onClosed: () => {
        this.#connections -= 1;
        if (this.#connections === 0) this.#onAllClosed();
      },
      onForgotten: (connection) => {
        for (const key of connection.keys) this.#byKey.delete(key);
      },
    };
  }

  #schedule(connection: QuicheConnection): void {
    if (connection.isScheduled) return;
    connection.isScheduled = true;
    this.#scheduled.push(connection);
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    setImmediate(this.#flush);
  }

  #pumpScheduled(): void {
    this.#isFlushPlanned = false;
    const scheduled = this.#scheduled;
    this.#scheduled = [];
    for (const connection of scheduled) {
      try {
        connection.pump();
      } catch (error) {
        this.#handlerThrew(connection, error);
      }
    }
  }

  #handlerThrew(connection: QuicheConnection, error: unknown): void {
    connection.isScheduled = false;
    connection.abort(TRANSPORT_INTERNAL_ERROR, 'internal error');
    this.#refused('internal_error');
    this.#options.onError?.(error);
  }
}

function connectionName(scid: Buffer): string {
  return scid.toString('hex', 0, 6);
}
