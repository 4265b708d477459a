/**
 * Application close codes that an agent sends, and what a close means in words. The codes stay
 * outside 256..511, which reads as TLS alerts.
 */
import { TRANSPORT_NO_VIABLE_PATH } from '../transport/close-reason.ts';
import type { QuicAddress, QuicCloseReason, TransportName } from '../transport/quic-endpoint.ts';

export const AGENT_CLOSE_CODES = {
  /** The agent ends; nothing is wrong. */
  stopping: 0x2000,
  /** The collector sent something that is not a message of the protocol. */
  badMessage: 0x2001,
  /** No ack, or no Hello, came in time. */
  silent: 0x2002,
  /** The agent has new credentials and connects again with them. */
  newCredentials: 0x2003,
  /** The agent sends over its other transport from now on. */
  moved: 0x2004,
} as const;

/** rustls says so where the authority has the name of a trusted one, but another key. */
const ALERT_BAD_SIGNATURE = 51;

/** Whom a connection was for: what a person compares with the certificates. */
export interface ConnectionTarget {
  readonly transport: TransportName;
  readonly address: QuicAddress;
  readonly serverName: string;
}

/** Why a connection ended, as a sentence part for logs: `cannot connect to x: <this>`. */
export function describeClose(close: QuicCloseReason, target: ConnectionTarget): string {
  const { host, port } = target.address;
  const place = `${target.transport === 'tls' ? 'TCP' : 'UDP'} ${host} port ${port}`;
  if (close.by === 'idle' || close.by === 'handshake-timeout') {
    return close.wasConnected
      ? 'the collector went silent'
      : `no answer from ${place}; is the collector running and the port open?`;
  }
  if (isUnreachable(close)) {
    return `${close.wasConnected ? 'lost the' : 'no'} connection to ${place}: ${close.reason}`;
  }
  const who = close.by === 'peer' ? 'the collector' : 'this agent';
  const text = close.reason === '' ? '' : `: ${close.reason}`;
  if (close.isApplication) {
    return `${who} closed the connection (code 0x${close.code.toString(16)})${text}`;
  }
  if (close.code >= 256 && close.code < 512) {
    const alert = close.code - 256;
    const meanings = close.by === 'peer' ? collectorAlerts() : agentAlerts(target.serverName);
    const meaning = meanings.get(alert) ?? 'the TLS handshake failed';
    return `${who} refused: ${meaning} (TLS alert ${alert})${text}`;
  }
  return `${who} ended the connection (QUIC error 0x${close.code.toString(16)})${text}`;
}

/**
 * Whether the collector was there and ended the connection, or was found to be the wrong one.
 * Otherwise the network may be to blame, and another transport may get through.
 */
export function isAnswer(close: QuicCloseReason): boolean {
  if (isUnreachable(close)) return false;
  const isAlert = !close.isApplication && close.code >= 256 && close.code < 512;
  return close.by === 'peer' || (close.by === 'local' && isAlert);
}

function isUnreachable({ isApplication, code }: QuicCloseReason): boolean {
  return !isApplication && code === TRANSPORT_NO_VIABLE_PATH;
}

/** What the collector means by refusing this agent. */
function collectorAlerts(): ReadonlyMap<number, string> {
  const untrusted =
    'the agent’s certificate is signed by an authority that the collector does not trust';
  return new Map([
    [42, 'the agent’s certificate is not valid'],
    [43, 'the agent’s certificate does not allow client authentication'],
    [44, 'the agent’s certificate was revoked'],
    [45, 'the agent’s certificate has expired, or a clock is wrong'],
    [46, 'the agent’s certificate is not acceptable'],
    [48, untrusted],
    [ALERT_BAD_SIGNATURE, untrusted],
    [116, 'the agent showed no certificate'],
    [120, 'it does not speak horizon-telemetry/1; is this the collector’s port?'],
  ]);
}

/** What this agent found wrong with the collector. */
function agentAlerts(serverName: string): ReadonlyMap<number, string> {
  const name = JSON.stringify(serverName);
  const untrusted =
    'the collector’s certificate is not signed by the authority that this agent trusts';
  return new Map([
    [42, `the collector’s certificate is not for the name ${name}; use one of its DNS names`],
    [43, 'the collector’s certificate does not allow server authentication'],
    [45, 'the collector’s certificate has expired, or a clock is wrong'],
    [46, 'the collector’s certificate is not acceptable'],
    [48, untrusted],
    [ALERT_BAD_SIGNATURE, untrusted],
    [120, 'the other side does not speak horizon-telemetry/1; is this the collector’s port?'],
  ]);
}
