/**
 * The transport for networks that block UDP: TLS 1.3 over TCP behind the seam of QUIC. A server's
 * endpoint listens; a client's endpoint only connects. Certificates, protocol name, bounds and
 * close reasons are those of QUIC; a connection has one stream.
 *
 * Who is to come in is decided like this: past the bound on handshakes, or when every place is
 * taken, the oldest handshake makes room, and without one the newcomer is refused. A certificate is
 * checked by OpenSSL during the handshake; the peer learns the verdict from a close with the
 * code that the TLS alert of QUIC would have.
 */
import { constants, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net, { isIP, type Socket } from 'node:net';
import tls, { type SecureContextOptions, type TLSSocket } from 'node:tls';
import type { Clock } from '../../lib/clock.ts';
import { errorCode, errorMessage, OperatingError } from '../../lib/errors.ts';
import { TRANSPORT_CONNECTION_REFUSED } from '../close-reason.ts';
import type {
  QuicAcceptOptions,
  QuicAddress,
  QuicConnection,
  QuicConnectOptions,
  QuicCounters,
  QuicCredentials,
  QuicEndpoint,
  QuicEndpointOptions,
  QuicHandlers,
  QuicStack,
} from '../quic-endpoint.ts';
import { closeCodeOf, isPeersAlert } from './tls-alerts.ts';
import { type TlsClose, TlsConnection } from './tls-connection.ts';

/** How long closing waits until all peers have taken their close. */
const CLOSE_WAIT_MS = 2500;
const NOWHERE: QuicAddress = { host: '0.0.0.0', port: 0 };

/** The stack over TLS and TCP. An endpoint listens where it is given `accept`. */
export const tlsStack: QuicStack = {
  transport: 'tls',
  async openEndpoint(options, clock) {
    const endpoint = new TlsEndpoint(options, clock);
    await endpoint.listen();
    return endpoint;
  },
  checkCredentials(_transport, credentials) {
    secureContext(credentials);
  },
};

class TlsEndpoint implements QuicEndpoint {
  /** The kernel sizes TCP's buffers by itself. */
  readonly receiveBufferBytes = 0;
  readonly #options: QuicEndpointOptions;
  readonly #clock: Clock;
  readonly #server: net.Server | undefined;
  /** Does the handshakes of the sockets that `#server` hands to it. */
  readonly #tls: tls.Server | undefined;
  readonly #connections = new Set<TlsConnection>();
  /** Oldest first. */
  readonly #handshakes = new Set<TlsConnection>();
  /** By the peer's address, until the handshake is through. */
  readonly #byAddress = new Map<string, TlsConnection>();
  #credentials: QuicCredentials | undefined;
  #isAccepting = true;
  /** Of connections that are over. */
  #bytes = { received: 0, sent: 0 };
  #socketErrors = 0;
  #closing: Promise<void> | undefined;
  #onEnded = () => {};

  constructor(options: QuicEndpointOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    const { accept } = options;
    if (accept === undefined) return;
    this.#server = net.createServer((socket) => this.#meet(socket, accept));
    this.#credentials = accept.credentials();
    this.#tls = tls.createServer({
      ...secureContext(this.#credentials),
      requestCert: true,
      // The client must learn the verdict, so it is not left to the server.
      rejectUnauthorized: false,
      ALPNProtocols: [options.transport.alpn],
      handshakeTimeout: 2 * accept.handshakeTimeoutMs,
    });
    this.#tls.on('secureConnection', (socket) => this.#secured(socket));
    this.#tls.on('tlsClientError', (error, socket) => this.#handshakeFailed(error, socket));
  }

  /** Binds the socket of a server. */
  async listen(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    const { host, port } = this.#options.bind;
    try {
      server.listen(port, host);
      await once(server, 'listening');
    } catch (error) {
      const why = `cannot bind TCP ${host}:${port}: ${errorMessage(error)}`;
      throw new OperatingError('CANNOT_BIND', why, { cause: error });
    }
    server.on('error', () => {
      this.#socketErrors += 1;
    });
  }

  get address(): QuicAddress {
    const address = this.#server?.address();
    if (address === null || address === undefined || typeof address === 'string') return NOWHERE;
    return { host: address.address, port: address.port };
  }

  get connections(): number {
    return this.#connections.size;
  }

  get handshakes(): number {
    return this.#handshakes.size;
  }

  get counters(): QuicCounters {
    let { received, sent } = this.#bytes;
    for (const connection of this.#connections) {
      received += connection.bytesReceived;
      sent += connection.bytesSent;
    }
    return {
      datagramsReceived: 0,
      bytesReceived: received,
      datagramsSent: 0,
      bytesSent: sent,
      socketErrors: this.#socketErrors,
      datagramsDropped: 0,
      retriesSent: 0,
      panics: 0,
      memoryBytes: 0,
      isDown: false,
    };
  }

  connect(options: QuicConnectOptions): QuicConnection {
    if (this.#closing !== undefined) {
      throw new OperatingError('ENDPOINT_CLOSED', 'cannot connect: the endpoint is closed');
    }
    const { host, port } = options.remote;
    if (isIP(host) === 0) {
      const why = `cannot connect to ${host}:${port}: the endpoint needs an IP address`;
      throw new OperatingError('BAD_ADDRESS', why);
    }
    const socket = tls.connect({
      host,
      port,
      servername: options.serverName,
      ...secureContext(options.credentials),
      ALPNProtocols: [this.#options.transport.alpn],
      // The server must learn the verdict, so it is not left to the socket.
      rejectUnauthorized: false,
    });
    const connection = this.#add(socket, options.remote, false, options.handlers);
    connection.attach(socket);
    this.#await(connection, options.handshakeTimeoutMs);
    socket.once('secureConnect', () => this.#judge(connection, socket));
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
    for (const connection of this.#connections) connection.close(code, reason);
    if (this.#connections.size > 0) {
      await new Promise<void>((resolve) => {
        const cancel = this.#clock.after(CLOSE_WAIT_MS, resolve);
        this.#onEnded = () => {
          if (this.#connections.size > 0) return;
          cancel();
          resolve();
        };
      });
    }
    const server = this.#server;
    if (server?.listening === true) await new Promise((resolve) => server.close(resolve));
  }

  /** Decides about a stranger. */
  #meet(socket: Socket, accept: QuicAcceptOptions): void {
    const isFull = this.#connections.size >= accept.maxConnections;
    if (!this.#isAccepting || (isFull && this.#handshakes.size === 0)) {
      accept.onRefused(this.#isAccepting ? 'max_connections' : 'stopping');
      socket.destroy();
      return;
    }
    const { remoteAddress, remotePort } = socket;
    if (remoteAddress === undefined || remotePort === undefined) {
      // It is gone already. Left open, its socket would throw an error without a listener.
      socket.destroy();
      return;
    }
    if (isFull || this.#handshakes.size >= accept.maxHandshakes) this.#dropOldestHandshake();
    socket.setNoDelay(true);
    const remote = { host: remoteAddress, port: remotePort };
    const connection = this.#add(socket, remote, true, accept.handlers);
    this.#byAddress.set(addressKey(remote), connection);
    this.#await(connection, accept.handshakeTimeoutMs);
    this.#takeUpCredentials(accept.credentials());
    this.#tls?.emit('connection', socket);
  }

  #secured(socket: TLSSocket): void {
    const connection = this.#find(socket);
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    connection.attach(socket);
    this.#judge(connection, socket);
  }

  #handshakeFailed(error: Error, socket: TLSSocket): void {
    // Where the socket is gone, its connection has heard of that by itself.
    this.#find(socket)?.abandon(handshakeFailure(error));
    socket.destroy();
  }

  #find({ remoteAddress: host, remotePort: port }: Socket): TlsConnection | undefined {
    if (host === undefined || port === undefined) return undefined;
    return this.#byAddress.get(addressKey({ host, port }));
  }

  #dropOldestHandshake(): void {
    const [oldest] = this.#handshakes;
    oldest?.abandon(handshakeGivenUp('another one needed its place'));
  }

  #add(
    socket: Socket,
    remote: QuicAddress,
    isServer: boolean,
    handlers: QuicHandlers,
  ): TlsConnection {
    const connection = new TlsConnection(
      {
        id: randomBytes(6).toString('hex'),
        socket,
        remote,
        isServer,
        idleTimeoutMs: this.#options.transport.idleTimeoutMs,
        handlers,
        onError: (error) => {
          this.#options.accept?.onRefused('internal_error');
          this.#options.onError?.(error);
        },
        reasonOf: handshakeFailure,
        onEnded: (ended) => this.#ended(ended),
      },
      this.#clock,
    );
    this.#connections.add(connection);
    return connection;
  }

  #await(connection: TlsConnection, timeoutMs: number): void {
    this.#handshakes.add(connection);
    const giveUp = () => connection.abandon(handshakeGivenUp('handshake took too long'));
    connection.cancelTimeout = this.#clock.after(timeoutMs, giveUp);
  }

  /** The handshake is through; is the peer who it says, and does it speak our protocol? */
  #judge(connection: TlsConnection, socket: TLSSocket): void {
    this.#handshakes.delete(connection);
    connection.cancelTimeout();
    const why = this.#flaw(socket);
    if (why === undefined) {
      connection.connected();
      return;
    }
    const code = closeCodeOf(why);
    connection.closeWith({ by: 'local', isApplication: false, code, reason: why });
  }

  #flaw(socket: TLSSocket): string | undefined {
    if (socket.getPeerX509Certificate() === undefined) {
      return 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE';
    }
    if (!socket.authorized) return String(socket.authorizationError);
    if (socket.alpnProtocol !== this.#options.transport.alpn) {
      return 'ERR_SSL_NO_APPLICATION_PROTOCOL';
    }
    return undefined;
  }

  #ended(connection: TlsConnection): void {
    this.#bytes.received += connection.bytesReceived;
    this.#bytes.sent += connection.bytesSent;
    this.#handshakes.delete(connection);
    this.#byAddress.delete(addressKey(connection.remoteAddress));
    this.#connections.delete(connection);
    this.#onEnded();
  }

  /** For handshakes from now on; bad ones leave the old ones in use. */
  #takeUpCredentials(credentials: QuicCredentials): void {
    if (this.#credentials === credentials) return;
    this.#credentials = credentials;
    try {
      this.#tls?.setSecureContext(secureContext(credentials));
    } catch (error) {
      this.#options.onError?.(error);
    }
  }
}

/** Throws OperatingError BAD_CREDENTIALS. Nothing of a session is kept, so none can be resumed. */
function secureContext({ certPem, keyPem, caPem }: QuicCredentials): SecureContextOptions {
  const options: SecureContextOptions = {
    cert: certPem,
    key: keyPem,
    ca: caPem,
    minVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
  try {
    tls.createSecureContext(options);
    return options;
  } catch (error) {
    const why = `cannot use TLS credentials: ${errorMessage(error)}`;
    throw new OperatingError('BAD_CREDENTIALS', why, { cause: error });
  }
}

function addressKey({ host, port }: QuicAddress): string {
  return `${host} ${port}`;
}

/** What an error of the socket during the handshake means. */
function handshakeFailure(error: unknown): TlsClose {
  const name = errorCode(error);
  const by = isPeersAlert(name) ? 'peer' : 'local';
  if (!name.startsWith('ERR_SSL_') && !name.startsWith('ERR_TLS_')) {
    return { by: 'peer', isApplication: false, code: 0x10, reason: errorMessage(error) };
  }
  return { by, isApplication: false, code: closeCodeOf(name), reason: name };
}

function handshakeGivenUp(reason: string): TlsClose {
  const code = TRANSPORT_CONNECTION_REFUSED;
  return { by: 'handshake-timeout', isApplication: false, code, reason };
}
