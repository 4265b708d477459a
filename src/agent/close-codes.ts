/**
 * Application close codes that an agent sends, and what a close means in words. The codes stay
 * outside 256..511, which reads as TLS alerts.
 */
import type { QuicAddress, QuicCloseReason } from '../lib/quic/quic-endpoint.ts';

export const AGENT_CLOSE_CODES = {
  /** The agent ends; nothing is wrong. */
  stopping: 0x2000,
  /** The collector sent something that is not a message of the protocol. */
  badMessage: 0x2001,
  /** No ack, or no Hello, came in time. */
  silent: 0x2002,
  /** The agent has new credentials and connects again with them. */
  newCredentials: 0x2003,
} as const;

/** TLS alert → what an operator should look at. */
const TLS_ALERTS: ReadonlyMap<number, string> = new Map([
  [40, 'the handshake failed'],
  [42, 'a certificate is bad: wrong name, or not signed by the authority in --ca'],
  [43, 'a certificate is of an unsupported type'],
  [44, 'a certificate was revoked'],
  [45, 'a certificate has expired'],
  [46, 'a certificate was not acceptable: wrong name, or not signed by the authority in --ca'],
  [48, 'a certificate is signed by an unknown authority; compare --ca with the collector’s'],
  [49, 'access was denied'],
  [51, 'a signature did not verify'],
  [112, 'the collector does not know the server name'],
  [116, 'the collector wants a client certificate and was given none'],
  [120, 'the other side does not speak horizon-telemetry/1; is this the collector’s port?'],
]);

/** Why a connection ended, as a sentence part for logs: `cannot connect to x: <this>`. */
export function describeClose(close: QuicCloseReason, remote: QuicAddress): string {
  if (close.by === 'idle' || close.by === 'handshake-timeout') {
    return close.wasConnected
      ? 'the collector went silent'
      : `no answer from UDP ${remote.host}:${remote.port}; is the collector running and the port open?`;
  }
  const who = close.by === 'peer' ? 'the collector' : 'this agent';
  const text = close.reason === '' ? '' : `: ${close.reason}`;
  if (close.isApplication) {
    return `${who} closed the connection (code 0x${close.code.toString(16)})${text}`;
  }
  if (close.code >= 256 && close.code < 512) {
    const alert = close.code - 256;
    const meaning = TLS_ALERTS.get(alert) ?? 'the TLS handshake failed';
    return `${who} refused: ${meaning} (TLS alert ${alert})${text}`;
  }
  return `${who} ended the connection (QUIC error 0x${close.code.toString(16)})${text}`;
}
