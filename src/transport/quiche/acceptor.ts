/**
 * What to do with a datagram that belongs to no connection. Pure but for the retry tokens: the
 * endpoint acts on the verdict. A stranger costs nothing until it has sent a whole Initial packet
 * of the right size, and past the bound on handshakes nothing until it has proven its address.
 *
 * When every place is taken, one who has proven its address gets that of the oldest handshake: a
 * peer that means it is through within a few round trips, and one that leaves handshakes half open
 * must not keep the others out.
 */
import { CONNECTION_ID_BYTES, type LongHeader, QUIC_VERSION_1 } from '../packet-header.ts';
import type { QuicAddress, QuicRefusal } from '../quic-endpoint.ts';
import type { RetryTokens } from './retry-token.ts';

/** RFC 9000 section 14.1: smaller datagrams cannot open a connection. */
export const INITIAL_DATAGRAM_BYTES_MIN = 1200;
/** RFC 9000 section 7.2. */
const INITIAL_ID_BYTES_MIN = 8;

export type StrangerVerdict =
  | { readonly kind: 'accept' }
  /** The address is proven; the connection takes the id that the retry gave out. */
  | {
      readonly kind: 'accept_retried';
      readonly originalId: Buffer;
      /** Of the oldest handshake. */
      readonly takesPlace: boolean;
    }
  | { readonly kind: 'retry' }
  | { readonly kind: 'negotiate_version' }
  /** Answered with CONNECTION_CLOSE and counted. */
  | { readonly kind: 'refuse'; readonly why: QuicRefusal }
  /** Not answered, only counted. */
  | { readonly kind: 'drop'; readonly why: QuicRefusal };

/** How full the endpoint is. */
export interface AcceptLoad {
  readonly isAccepting: boolean;
  readonly connections: number;
  readonly maxConnections: number;
  readonly handshakes: number;
  readonly maxHandshakes: number;
  readonly alwaysRetry: boolean;
}

/** Decides what becomes of a datagram that belongs to no connection. */
export function judgeStranger(
  header: LongHeader,
  datagramBytes: number,
  from: QuicAddress,
  load: AcceptLoad,
  tokens: RetryTokens,
): StrangerVerdict {
  if (datagramBytes < INITIAL_DATAGRAM_BYTES_MIN) return { kind: 'drop', why: 'bad_packet' };
  if (header.version === 0) return { kind: 'drop', why: 'bad_packet' };
  if (header.version !== QUIC_VERSION_1) return { kind: 'negotiate_version' };
  if (header.type !== 'initial' || header.destinationId.length < INITIAL_ID_BYTES_MIN) {
    return { kind: 'drop', why: 'bad_packet' };
  }
  if (!load.isAccepting) return { kind: 'refuse', why: 'stopping' };
  const isFull = load.connections >= load.maxConnections;
  if (isFull && load.handshakes === 0) return { kind: 'refuse', why: 'max_connections' };
  if (header.token.length > 0) return judgeToken(header, from, isFull, tokens);
  if (isFull || load.alwaysRetry || load.handshakes >= load.maxHandshakes) return { kind: 'retry' };
  return { kind: 'accept' };
}

function judgeToken(
  header: LongHeader,
  from: QuicAddress,
  takesPlace: boolean,
  tokens: RetryTokens,
): StrangerVerdict {
  const originalId = tokens.open(header.token, from, header.destinationId);
  const isRetryId = header.destinationId.length === CONNECTION_ID_BYTES;
  if (originalId === undefined || !isRetryId) return { kind: 'drop', why: 'bad_token' };
  return { kind: 'accept_retried', originalId, takesPlace };
}
