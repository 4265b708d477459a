/**
 * One quiche configuration from our options. A fresh one is built for every connection (0.04 ms),
 * on purpose: connections that share a configuration share its session tickets, and a client that
 * resumes a session is not asked for its certificate again.
 */
import { buildQuicheConfig, serverDefault } from '@matrixai/quic/config.js';
import type { Config } from '@matrixai/quic/native/types.js';
import { errorMessage, OperatingError } from '../errors.ts';
import type { QuicCredentials, QuicTransportOptions } from './quic-endpoint.ts';

/**
 * quiche keeps one path per address a peer was seen at, up to this number; with its default of two
 * a second NAT rebinding ends the connection.
 */
const ACTIVE_CONNECTION_IDS = 8;

/** Throws OperatingError BAD_CREDENTIALS where the PEM texts are no usable trio. */
export function buildConnectionConfig(
  transport: QuicTransportOptions,
  credentials: QuicCredentials,
): Config {
  try {
    // The stack takes a text without any certificate for an empty list, and then trusts nobody.
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
