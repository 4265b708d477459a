/**
 * quiche configurations from our options.
 */
import { randomBytes } from 'node:crypto';
import { buildQuicheConfig, serverDefault } from '@matrixai/quic/config.js';
import type { Config } from '@matrixai/quic/native/types.js';
import { errorMessage, OperatingError } from '../../lib/errors.ts';
import type { QuicCredentials, QuicTransportOptions } from '../quic-endpoint.ts';

/**
 * quiche keeps one path per address a peer was seen at, up to this number; with its default of two
 * a second NAT rebinding ends the connection.
 */
const ACTIVE_CONNECTION_IDS = 8;

const TICKET_KEY_BYTES = 48;

/**
 * The configuration of accepted connections: built once for each set of credentials, for it takes
 * 10 kB and a tenth of a millisecond, more with many authorities.
 *
 * Connections that share a configuration share the key of its session tickets, and a client that
 * resumes a session is not asked for its certificate again. Therefore each connection gets another
 * key before its first packet is read: what was encrypted with an earlier one is no ticket to it.
 */
export class AcceptConfig {
  readonly #transport: QuicTransportOptions;
  #credentials: QuicCredentials | undefined;
  #config: Config | undefined;

  constructor(transport: QuicTransportOptions) {
    this.#transport = transport;
  }

  /** For one connection, to be accepted at once. Throws OperatingError BAD_CREDENTIALS. */
  next(credentials: QuicCredentials): Config {
    if (this.#config === undefined || this.#credentials !== credentials) {
      this.#config = buildConnectionConfig(this.#transport, credentials);
      this.#credentials = credentials;
    }
    this.#config.setTicketKey(randomBytes(TICKET_KEY_BYTES));
    return this.#config;
  }
}

/** Throws OperatingError BAD_CREDENTIALS where the PEM texts are no usable trio. */
export function buildConnectionConfig(
  transport: QuicTransportOptions,
  credentials: QuicCredentials,
): Config {
  try {
    // The stack takes a text without any certificate for an empty list, and then trusts no one.
    requirePem(credentials.certPem, 'the certificate chain');
    requirePem(credentials.caPem, 'the authorities');
    return configure(transport, credentials);
  } catch (error) {
    const why = `cannot use TLS credentials: ${rootMessage(error)}`;
    throw new OperatingError('BAD_CREDENTIALS', why, { cause: error });
  }
}

/** The builder wraps what the TLS library said. */
function rootMessage(error: unknown): string {
  const isWrapped = error instanceof Error && error.cause instanceof Error;
  return errorMessage(isWrapped ? error.cause : error);
}

function requirePem(text: string, what: string): void {
  if (!text.includes('-----BEGIN CERTIFICATE-----')) throw new Error(`${what} hold no certificate`);
}

function configure(transport: QuicTransportOptions, credentials: QuicCredentials): Config {
  const config = buildQuicheConfig({
    ...serverDefault,
    cert: credentials.certPem,
    key: credentials.keyPem,
    ca: credentials.caPem,
    // The peer must show a certificate and the stack itself checks it. A verifyCallback would turn
    // that check off.
    verifyPeer: true,
    enableEarlyData: false,
    applicationProtos: [transport.alpn],
    maxIdleTimeout: Math.ceil(transport.idleTimeoutMs),
    maxRecvUdpPayloadSize: transport.maxUdpPayloadBytes,
    maxSendUdpPayloadSize: transport.maxUdpPayloadBytes,
    initialMaxData: transport.connectionWindowBytes,
    initialMaxStreamDataBidiLocal: transport.streamWindowBytes,
    initialMaxStreamDataBidiRemote: transport.streamWindowBytes,
    initialMaxStreamDataUni: transport.streamWindowBytes,
    initialMaxStreamsBidi: transport.maxStreamsBidi,
    initialMaxStreamsUni: transport.maxStreamsUni,
  });
  // The builder ignores its own keys for these two; windows would grow to 16 and 24 MiB a peer.
  config.setMaxStreamWindow(transport.streamWindowBytes);
  config.setMaxConnectionWindow(transport.connectionWindowBytes);
  config.setActiveConnectionIdLimit(ACTIVE_CONNECTION_IDS);
  return config;
}
