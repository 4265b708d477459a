/**
 * What the collector and the agent need of a transport, and nothing else. `quiche/` implements it;
 * another stack takes its place by implementing `QuicStack` and passing `test/transport/seam.ts`.
 * Only composition roots name a stack; everybody else is handed one.
 *
 * A stream is a number that means nothing outside its connection. A transport may have a single
 * stream: then `openStream` gives it once, and it is bidirectional.
 *
 * Threading: everything happens on the event loop that opened the endpoint. Handlers are called
 * synchronously and must not throw. Buffers passed to `onData` are valid until the handler returns.
 */
import type { Clock } from '../lib/clock.ts';

export interface QuicAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * PEM texts. `certPem` is the chain, leaf first; `caPem` the authorities that may have signed the
 * peer.
 */
export interface QuicCredentials {
  readonly certPem: string;
  readonly keyPem: string;
  readonly caPem: string;
}

/** Whether both sides send on a stream, or only the one that opened it. */
export type StreamKind = 'bidi' | 'uni';

/** Bounds of one connection. The peer's bounds apply as well; the smaller of both counts. */
export interface QuicTransportOptions {
  readonly alpn: string;
  readonly idleTimeoutMs: number;
  readonly maxStreamsBidi: number;
  readonly maxStreamsUni: number;
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  readonly maxUdpPayloadBytes: number;
}

/** Why a connection ended. Codes in 256..511 without `isApplication` are TLS alerts + 256. */
export interface QuicCloseReason {
  readonly by: 'local' | 'peer' | 'idle' | 'handshake-timeout';
  readonly isApplication: boolean;
  readonly code: number;
  readonly reason: string;
  /** Whether the handshake had completed, so that `onConnected` had been called. */
  readonly wasConnected: boolean;
}

export interface QuicConnection {
  /** Short and unique within the process, for logs. */
  readonly id: string;
  /** Where the peer is now; changes when it migrates. */
  readonly remoteAddress: QuicAddress;
  /** DER, leaf first; verified against `caPem` by the time `onConnected` is called. */
  peerCertificates(): readonly Uint8Array[];
  /** A new stream of ours; undefined while the peer allows no more. */
  openStream(kind: StreamKind): number | undefined;
  /** The kind of a stream of this connection, opened by either side. */
  streamKind(streamId: number): StreamKind;
  /** Queues `bytes` (copied) on a stream and sends as flow control allows. */
  write(streamId: number, bytes: Uint8Array, fin?: boolean): void;
  /** Bytes queued by `write` that the stack has not taken yet, over all streams. */
  readonly queuedBytes: number;
  /** Stops reading streams, so that flow control holds the peer. Idempotent. */
  pauseReading(): void;
  resumeReading(): void;
  /** Keeps the connection alive: something to acknowledge goes to the peer. */
  ping(): void;
  /** Ends the connection with an application code; `onClosed` follows. Idempotent. */
  close(code: number, reason: string): void;
}

export interface QuicHandlers {
  /** The handshake is complete and the peer's certificate verified. */
  onConnected(connection: QuicConnection): void;
  /** Bytes of a stream in order; `fin` ends it. `bytes` may be empty when `fin` is set. */
  onData(connection: QuicConnection, streamId: number, bytes: Uint8Array, fin: boolean): void;
  /** The peer gave up its sending side of a stream. */
  onReset(connection: QuicConnection, streamId: number): void;
  /** `queuedBytes` went down to zero after `write` could not send at once. */
  onDrained(connection: QuicConnection): void;
  /**
   * Called exactly once for every connection, also for one that never got through its handshake.
   */
  onClosed(connection: QuicConnection, reason: QuicCloseReason): void;
}

/** How an endpoint treats strangers. */
export interface QuicAcceptOptions {
  /**
   * Current credentials; read for every accepted connection, so a reload needs no restart.
   */
  readonly credentials: () => QuicCredentials;
  readonly maxConnections: number;
  readonly maxHandshakes: number;
  readonly handshakeTimeoutMs: number;
  readonly alwaysRetry: boolean;
  /** Past this much memory of the stack itself no stranger is taken; quiche cannot tell. */
  readonly maxMemoryBytes: number;
  readonly handlers: QuicHandlers;
  /** Counts what never became a connection. */
  readonly onRefused: (why: QuicRefusal) => void;
}

export type QuicRefusal =
  | 'max_connections'
  | 'bad_packet'
  | 'bad_token'
  | 'version'
  | 'stopping'
  | 'memory'
  | 'internal_error';

export interface QuicConnectOptions {
  /** `host` is an IP address. */
  readonly remote: QuicAddress;
  /** Must match a DNS SAN of the server's certificate; IP SANs are not matched. */
  readonly serverName: string;
  readonly credentials: QuicCredentials;
  readonly handshakeTimeoutMs: number;
  readonly handlers: QuicHandlers;
}

export interface QuicEndpointOptions {
  readonly bind: QuicAddress;
  readonly transport: QuicTransportOptions;
  readonly socketBufferBytes: number;
  /** Absent on a pure client. */
  readonly accept?: QuicAcceptOptions;
  /** A handler threw: a bug. The connection it threw for is closed, the others go on. */
  readonly onError?: (error: unknown) => void;
  /** The stack failed and starts again; all its connections are lost. */
  readonly onPanic?: (why: string) => void;
  /** The stack cannot start again; it is tried on. */
  readonly onDown?: (why: string) => void;
}

/** Since the endpoint was opened. */
export interface QuicCounters {
  readonly datagramsReceived: number;
  readonly bytesReceived: number;
  readonly datagramsSent: number;
  readonly bytesSent: number;
  /** Datagrams the system would not send, and other errors of the socket; none ends anything. */
  readonly socketErrors: number;
  /** Datagrams that the kernel dropped because the socket was not read in time; Linux only. */
  readonly datagramsDropped: number;
  /** Strangers asked to prove their address. */
  readonly retriesSent: number;
  /** Times that the stack failed; each time all its connections were lost. */
  readonly panics: number;
  /** Memory that the stack has taken for itself and never gives back; 0 where it cannot tell. */
  readonly memoryBytes: number;
  /** Whether the stack has failed and has not started again yet. */
  readonly isDown: boolean;
}

export interface QuicEndpoint {
  /** Of the UDP socket, as the kernel gave it. */
  readonly receiveBufferBytes: number;
  /** What the socket is bound to, with the real port. */
  readonly address: QuicAddress;
  /** Open ones and those in their handshake. */
  readonly connections: number;
  readonly handshakes: number;
  readonly counters: QuicCounters;
  /** Throws OperatingError where the credentials or the address cannot be used. */
  connect(options: QuicConnectOptions): QuicConnection;
  /** Takes no more new connections; the open ones go on. */
  stopAccepting(): void;
  /**
   * Closes every connection with the code, sends what that takes, then closes the socket.
   * Idempotent.
   */
  close(code: number, reason: string): Promise<void>;
}

/** What carries a connection: QUIC over UDP, or TLS over TCP. */
export type TransportName = 'quic' | 'tls';

/** An implementation of this seam. */
export interface QuicStack {
  readonly transport: TransportName;
  /** Binds the socket. Rejects with OperatingError CANNOT_BIND. */
  openEndpoint(options: QuicEndpointOptions, clock: Clock): Promise<QuicEndpoint>;
  /**
   * Throws OperatingError BAD_CREDENTIALS where the stack's TLS library would not take the trio: it
   * may be more particular than Node's, for example about key usages.
   */
  checkCredentials(transport: QuicTransportOptions, credentials: QuicCredentials): void;
}
