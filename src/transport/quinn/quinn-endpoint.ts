/**
 * The QUIC endpoint over quinn-proto in WebAssembly: one socket, one module, many connections.
 *
 *   socket ──datagrams of this turn──► module.run ──records──► handlers, socket
 *   timers, write(), close() ──► one setImmediate a turn ──┘
 *
 * A panic inside the module costs its instance: every connection ends with an internal error, a new
 * instance takes over the socket (module-keeper.ts), and peers come back. Nothing that arrives
 * throws past this file; a handler that throws costs its own connection.
 */
import { randomBytes } from 'node:crypto';
import type { RemoteInfo } from 'node:dgram';
import { isIP, isIPv4 } from 'node:net';
import { type Clock, systemClock } from '../../lib/clock.ts';
import { errorMessage, OperatingError } from '../../lib/errors.ts';
import { TRANSPORT_CONNECTION_REFUSED } from '../close-reason.ts';
import { buildRefusal } from '../connection-refusal.ts';
import { DatagramSocket } from '../datagram-socket.ts';
import { droppedDatagrams } from '../dropped-datagrams.ts';
import { parseLongHeader } from '../packet-header.ts';
import type {
  QuicAddress,
  QuicConnection,
  QuicConnectOptions,
  QuicCounters,
  QuicEndpoint,
  QuicEndpointOptions,
  QuicHandlers,
  QuicRefusal,
  QuicStack,
} from '../quic-endpoint.ts';
import { ModuleKeeper, tryCredentials } from './module-keeper.ts';
import {
  AddressBook,
  CLOSED_BY,
  type ModuleRecord,
  piecesOf,
  RECORD,
  REFUSALS,
  readCertificates,
  readRecords,
} from './module-records.ts';
import {
  handshakeGivenUp,
  internalError,
  type LocalClose,
  QuinnConnection,
} from './quinn-connection.ts';
import { compileQuinn, FAILED, type QuinnModule } from './quinn-module.ts';
import { WriteGatherer } from './write-gatherer.ts';

/** How long closing waits for the closes of all connections to be on their way. */
const CLOSE_WAIT_MS = 2500;
/** Handlers of one connection may take this long in a turn; the rest of its data waits. */
const HANDLERS_MS_MAX = 10;
/** Datagrams of one turn that are kept until it runs; more run at once. */
const PENDING_MAX = 1024;
/** Refusals that are explained to the new peer, in words. */
const REFUSAL_WORDS: Readonly<Partial<Record<QuicRefusal, string>>> = {
  stopping: 'stopping',
  max_connections: 'too many connections',
  memory: 'too little memory for new connections',
};

/** The stack over quinn-proto in WebAssembly. */
export const quinnStack: QuicStack = {
  transport: 'quic',
  async openEndpoint(options, clock) {
    const compiled = compileQuinn();
    const socket = await DatagramSocket.bind(options.bind, options.socketBufferBytes);
    try {
      return new QuinnEndpoint(options, clock, socket, compiled);
    } catch (error) {
      await socket.close(clock);
      throw error;
    }
  },
  checkCredentials(transport, credentials) {
    tryCredentials(compileQuinn(), transport, credentials, systemClock);
  },
};

/** A datagram that waits for its turn. */
interface Pending {
  readonly datagram: Buffer;
  readonly host: string;
  readonly port: number;
}

class QuinnEndpoint implements QuicEndpoint {
  readonly writes = new WriteGatherer();
  readonly #options: QuicEndpointOptions;
  readonly #clock: Clock;
  readonly #socket: DatagramSocket;
  readonly #addresses: AddressBook;
  readonly #keeper: ModuleKeeper;
  /** By the module's number; a connection that has ended stays until its number is free. */
  #connections = new Map<number, QuinnConnection>();
  #pending: Pending[] = [];
  #deliveries = new Set<QuinnConnection>();
  #isPlanned = false;
  #isClosed = false;
  #closing: Promise<void> | undefined;
  #onEnded = () => {};
  #timerDueMs = Number.POSITIVE_INFINITY;
  #cancelTimer = () => {};
  #datagramsReceived = 0;
  #bytesReceived = 0;

  constructor(
    options: QuicEndpointOptions,
    clock: Clock,
    socket: DatagramSocket,
    compiled: WebAssembly.Module,
  ) {
    this.#options = options;
    this.#clock = clock;
    this.#socket = socket;
    this.#addresses = new AddressBook(!isIPv4(socket.address.host));
    this.#keeper = new ModuleKeeper(compiled, options, clock, {
      lost: (why) => this.#panicked(why),
      failed: (error) => options.onDown?.(errorMessage(error)),
    });
    socket.onDatagram((datagram, from) => this.#receive(datagram, from));
  }

  get address(): QuicAddress {
    return this.#socket.address;
  }

  get receiveBufferBytes(): number {
    return this.#socket.receiveBufferBytes;
  }

  get connections(): number {
    return this.call(({ calls }) => calls.connections()) ?? 0;
  }

  get handshakes(): number {
    return this.call(({ calls }) => calls.handshakes()) ?? 0;
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
      retriesSent: this.#keeper.retries,
      panics: this.#keeper.panics,
      memoryBytes: this.#keeper.memoryBytes,
      isDown: this.#keeper.isDown,
    };
  }

  connect(options: QuicConnectOptions): QuicConnection {
    if (this.#closing !== undefined) {
      throw new OperatingError('ENDPOINT_CLOSED', 'cannot connect: the endpoint is closed');
    }
    this.#checkReachable(options.remote);
    this.#keeper.connectWith(options.credentials);
    const name = Buffer.from(options.serverName);
    const octets = this.#addresses.octetsOf(options.remote.host);
    const where = `${options.serverName} at ${options.remote.host}:${options.remote.port}`;
    const number = this.call((module) => {
      module.put(name, module.put(octets));
      const result = module.calls.connect(name.length, options.remote.port);
      if (result !== FAILED) return result;
      throw new OperatingError('BAD_ADDRESS', `cannot connect to ${where}: ${module.error()}`);
    });
    if (number === undefined) {
      const why = 'the QUIC stack has failed and is about to start again';
      throw new OperatingError('TRANSPORT_DOWN', `cannot connect to ${where}: ${why}`);
    }
    this.plan();
    return this.#add(number, options.remote, options.handlers, options.handshakeTimeoutMs);
  }

  stopAccepting(): void {
    this.#keeper.stopAccepting();
  }

  close(code: number, reason: string): Promise<void> {
    this.#closing ??= this.#closeAll(code, reason);
    return this.#closing;
  }

  call<T>(work: (module: QuinnModule) => T): T | undefined {
    return this.#keeper.call(work);
  }

  plan(): void {
    if (this.#isPlanned || this.#isClosed) return;
    this.#isPlanned = true;
    setImmediate(() => this.#turn());
  }

  planDelivery(connection: QuinnConnection): void {
    this.#deliveries.add(connection);
    this.plan();
  }

  async #closeAll(code: number, reason: string): Promise<void> {
    this.stopAccepting();
    for (const connection of this.#connections.values()) connection.close(code, reason);
    const isOver = () => [...this.#connections.values()].every((one) => one.isOver);
    if (!isOver()) {
      await new Promise<void>((resolve) => {
        const cancel = this.#clock.after(CLOSE_WAIT_MS, resolve);
        this.#onEnded = () => {
          if (!isOver()) return;
          cancel();
          resolve();
        };
      });
    }
    this.#isClosed = true;
    this.#keeper.close();
    this.#cancelTimer();
    for (const connection of this.#connections.values()) {
      connection.end(connection.localClose ?? internalError('the endpoint closed'));
    }
    await this.#socket.close(this.#clock);
  }

  #checkReachable(remote: QuicAddress): void {
    const isSocketIPv4 = isIPv4(this.address.host);
    if (isIP(remote.host) !== 0 && (!isSocketIPv4 || isIPv4(remote.host))) return;
    const family = isSocketIPv4 ? 'an IPv4' : 'an IP';
    const where = `${remote.host}:${remote.port}`;
    const why = `the endpoint needs ${family} address`;
    throw new OperatingError('BAD_ADDRESS', `cannot connect to ${where}: ${why}`);
  }

  #receive(datagram: Buffer, from: RemoteInfo): void {
    this.#datagramsReceived += 1;
    this.#bytesReceived += datagram.length;
    this.#pending.push({ datagram, host: from.address, port: from.port });
    if (this.#pending.length >= PENDING_MAX) this.#turn();
    else this.plan();
  }

  /** Takes what has arrived, does what is due, and sends what that makes. */
  #turn(): void {
    this.#isPlanned = false;
    if (this.#isClosed) return;
    this.#deliverHeld();
    this.writes.flush();
    this.#keeper.refresh();
    const pending = this.#pending;
    this.#pending = [];
    let next = 0;
    do {
      const output = this.call((module) => {
        const filled = this.#fill(module, pending, next);
        next = filled.next;
        return module.run(filled.length);
      });
      // After a panic, what had arrived may be what caused it: it is not tried again.
      if (output === undefined) return;
      this.#deliver(output);
    } while (next < pending.length);
    this.#planNext();
  }

  #fill(module: QuinnModule, pending: readonly Pending[], first: number) {
    let length = 0;
    let next = first;
    for (; next < pending.length; next += 1) {
      const { datagram, host, port } = pending[next]!;
      if (length + datagram.length + 24 > module.inputBytes) break;
      length = module.putDatagram(datagram, this.#addresses.octetsOf(host), port, length);
    }
    return { length, next };
  }

  /** The next turn: at once where more waits, else when the module's timer is due. */
  #planNext(): void {
    const inMs = this.call(({ calls }) => calls.next_due_ms());
    if (inMs === undefined || inMs === FAILED) return;
    if (inMs === 0) {
      this.plan();
      return;
    }
    const nowMs = this.#clock.monotonicMs();
    const dueMs = nowMs + inMs;
    if (dueMs >= this.#timerDueMs) return;
    this.#cancelTimer();
    this.#timerDueMs = dueMs;
    this.#cancelTimer = this.#clock.after(Math.ceil(inMs), () => {
      this.#timerDueMs = Number.POSITIVE_INFINITY;
      this.#turn();
    });
  }

  #deliver(output: Buffer): void {
    const startedMs = new Map<QuinnConnection, number>();
    const { panics } = this.#keeper;
    for (const record of readRecords(output)) {
      // A handler's call may have cost the instance that the records are of.
      if (this.#keeper.panics !== panics) return;
      try {
        this.#take(record, startedMs);
      } catch (error) {
        this.#handlerThrew(error, this.#connections.get(record.connection));
      }
    }
  }

  #take(record: ModuleRecord, startedMs: Map<QuinnConnection, number>): void {
    const { kind, extra, payload } = record;
    if (kind === RECORD.transmit) {
      const host = this.#addresses.hostOf(payload);
      this.#socket.send(payload.subarray(16), { host, port: extra });
      return;
    }
    if (kind === RECORD.refused) {
      this.#refuse(record);
      return;
    }
    if (kind === RECORD.accepted) {
      this.#accepted(record);
      return;
    }
    const connection = this.#connections.get(record.connection);
    if (connection === undefined) return;
    if (kind === RECORD.gone) this.#gone(connection);
    else if (kind === RECORD.closed) this.#closed(connection, record);
    else if (!connection.isOver) this.#event(connection, record, startedMs);
  }

  #event(
    connection: QuinnConnection,
    record: ModuleRecord,
    startedMs: Map<QuinnConnection, number>,
  ): void {
    switch (record.kind) {
      case RECORD.connected:
        connection.certificates = readCertificates(record.payload);
        connection.isConnected = true;
        connection.cancelTimeout();
        connection.handlers.onConnected(connection);
        break;
      case RECORD.data:
        this.#data(connection, record, startedMs);
        break;
      case RECORD.writable:
        connection.writable(record.value);
        break;
      case RECORD.moved:
        connection.remoteAddress = this.#addresses.addressOf(record.payload, record.extra);
        break;
    }
  }

  #data(
    connection: QuinnConnection,
    record: ModuleRecord,
    startedMs: Map<QuinnConnection, number>,
  ): void {
    const nowMs = this.#clock.monotonicMs();
    const firstMs = startedMs.get(connection) ?? nowMs;
    startedMs.set(connection, firstMs);
    for (const data of piecesOf(record)) {
      const hasHadItsTime = this.#clock.monotonicMs() - firstMs >= HANDLERS_MS_MAX;
      if (connection.held.length === 0 && connection.isReading && !hasHadItsTime) {
        connection.handOn(data);
        continue;
      }
      if (connection.localClose !== undefined) return;
      if (connection.held.length === 0) connection.hold(true);
      connection.held.push(data);
      this.planDelivery(connection);
    }
  }

  /** Goes on with data that had to wait, within the bound of a turn. */
  #deliverHeld(): void {
    const waiting = this.#deliveries;
    this.#deliveries = new Set();
    for (const connection of waiting) {
      const endMs = this.#clock.monotonicMs() + HANDLERS_MS_MAX;
      while (connection.held.length > 0 && connection.isReading) {
        try {
          connection.handOn(connection.held.shift()!);
        } catch (error) {
          this.#handlerThrew(error, connection);
        }
        if (this.#clock.monotonicMs() >= endMs) break;
      }
      if (connection.isOver || !connection.isReading) continue;
      if (connection.held.length > 0) this.planDelivery(connection);
      else connection.hold(false);
    }
  }

  #handlerThrew(error: unknown, connection: QuinnConnection | undefined): void {
    this.#options.accept?.onRefused('internal_error');
    this.#options.onError?.(error);
    connection?.closeWith(internalError('internal error'));
  }

  #accepted({ connection, extra, payload }: ModuleRecord): void {
    const { accept } = this.#options;
    if (accept === undefined) return;
    const remote = this.#addresses.addressOf(payload, extra);
    this.#add(connection, remote, accept.handlers, accept.handshakeTimeoutMs);
  }

  #add(
    number: number,
    remote: QuicAddress,
    handlers: QuicHandlers,
    handshakeTimeoutMs: number,
  ): QuinnConnection {
    const id = randomBytes(6).toString('hex');
    const connection = new QuinnConnection(this, { id, number, remote, handlers });
    this.#connections.set(number, connection);
    connection.cancelTimeout = this.#clock.after(handshakeTimeoutMs, () => {
      connection.localClose ??= handshakeGivenUp('handshake took too long');
      this.call(({ calls }) => calls.connection_give_up(number));
      this.plan();
    });
    return connection;
  }

  #closed(connection: QuinnConnection, { value, extra, payload }: ModuleRecord): void {
    const text = payload.toString('utf8');
    const { localClose } = connection;
    let reason: LocalClose;
    if (extra === CLOSED_BY.peerApplication || extra === CLOSED_BY.peerTransport) {
      const isApplication = extra === CLOSED_BY.peerApplication;
      reason = { by: 'peer', isApplication, code: value, reason: text };
    } else if (localClose !== undefined) reason = localClose;
    else if (extra === CLOSED_BY.idle) {
      reason = { by: 'idle', isApplication: false, code: 0, reason: 'idle timeout' };
    } else if (extra === CLOSED_BY.host) {
      reason = handshakeGivenUp('another one needed its place');
    } else if (extra === CLOSED_BY.reset) {
      reason = { by: 'peer', isApplication: false, code: value, reason: text };
    } else reason = { by: 'local', isApplication: false, code: value, reason: text };
    connection.end(reason);
    this.#onEnded();
  }

  #gone(connection: QuinnConnection): void {
    connection.end(connection.localClose ?? internalError('the connection is gone'));
    this.#connections.delete(connection.number);
    this.#onEnded();
  }

  #refuse({ value, extra }: ModuleRecord): void {
    const why = REFUSALS[extra];
    if (why === undefined) return;
    this.#options.accept?.onRefused(why);
    const words = REFUSAL_WORDS[why];
    if (words !== undefined) this.#answerRefused(value, words);
  }

  /** The datagram is still in the input, with its header in front. */
  #answerRefused(at: number, words: string): void {
    const parts = this.call((module) => {
      const head = module.inputPart(at - 20, 20);
      return { head, datagram: module.inputPart(at, head.readUInt16LE(0)) };
    });
    if (parts === undefined) return;
    const { head, datagram } = parts;
    const header = parseLongHeader(datagram);
    if (header === undefined) return;
    const { destinationId, sourceId } = header;
    const refusal = buildRefusal(destinationId, sourceId, TRANSPORT_CONNECTION_REFUSED, words);
    const host = this.#addresses.hostOf(head.subarray(4));
    this.#socket.send(refusal, { host, port: head.readUInt16LE(2) });
  }

  /** The instance is lost, and its connections with it. */
  #panicked(why: string): void {
    this.#options.onPanic?.(why);
    const connections = this.#connections;
    this.#connections = new Map();
    this.#deliveries.clear();
    this.#pending = [];
    this.#cancelTimer();
    this.#timerDueMs = Number.POSITIVE_INFINITY;
    for (const connection of connections.values()) {
      connection.end(internalError('the transport failed'));
    }
    this.#onEnded();
    this.plan();
  }
}
