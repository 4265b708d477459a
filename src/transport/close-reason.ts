/**
 * Why a quiche connection ended, in the words of `QuicCloseReason`.
 */
import type { Connection, ConnectionError } from '@matrixai/quic/native/types.js';
import type { QuicCloseReason } from './quic-endpoint.ts';

/** QUIC transport error codes that this endpoint uses itself (RFC 9000 section 20.1). */
export const TRANSPORT_NO_ERROR = 0x0;
export const TRANSPORT_INTERNAL_ERROR = 0x1;
export const TRANSPORT_CONNECTION_REFUSED = 0x2;
export const TRANSPORT_PROTOCOL_VIOLATION = 0xa;
export const TRANSPORT_NO_VIABLE_PATH = 0x10;

/** What we ended the connection with, where it was us and not the stack. */
export interface LocalClose {
  readonly by: 'local' | 'handshake-timeout';
  readonly isApplication: boolean;
  readonly code: number;
  readonly reason: string;
}

/** `localClose` is our own wish, which says more than what quiche made of it on the wire. */
export function closeReasonOf(
  quiche: Connection,
  localClose: LocalClose | undefined,
  wasConnected: boolean,
): QuicCloseReason {
  const peerError = quiche.peerError();
  if (peerError !== null) return { by: 'peer', ...describe(peerError), wasConnected };
  if (localClose !== undefined) return { ...localClose, wasConnected };
  if (quiche.isTimedOut()) {
    return { by: 'idle', isApplication: false, code: 0, reason: 'idle timeout', wasConnected };
  }
  const localError = quiche.localError();
  if (localError !== null) return { by: 'local', ...describe(localError), wasConnected };
  const code = TRANSPORT_NO_VIABLE_PATH;
  return { by: 'local', isApplication: false, code, reason: 'no path to the peer', wasConnected };
}

function describe(error: ConnectionError) {
  return {
    isApplication: error.isApp,
    code: error.errorCode,
    reason: Buffer.from(error.reason).toString('utf8'),
  };
}
