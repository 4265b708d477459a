/**
 * The part of a QUIC packet that is readable without keys (RFC 8999, RFC 9000 section 17): enough
 * to find the connection that a datagram belongs to, or to judge a stranger. Pure; whatever the
 * bytes are, nothing here throws.
 */

/** Length of the connection ids that this endpoint gives out; short headers do not carry it. */
export const CONNECTION_ID_BYTES = 20;
/** The one version of QUIC that is spoken here. */
export const QUIC_VERSION_1 = 1;

const LONG_HEADER_BIT = 0x80;
const LONG_TYPES = ['initial', 'zero_rtt', 'handshake', 'retry'] as const;

export interface LongHeader {
  /** Only meaningful where `version` is 1. */
  readonly type: (typeof LONG_TYPES)[number];
  readonly version: number;
  /** Views into the datagram. */
  readonly destinationId: Uint8Array;
  readonly sourceId: Uint8Array;
  /** Empty unless this is an Initial packet that carries one. */
  readonly token: Uint8Array;
}

const EMPTY = new Uint8Array(0);

/** Whether a datagram, which must not be empty, begins with a long header. */
export function isLongHeader(datagram: Uint8Array): boolean {
  return (datagram[0]! & LONG_HEADER_BIT) !== 0;
}

/** The map key of a connection id: one character a byte. */
export function connectionKey(connectionId: Uint8Array): string {
  return Buffer.from(connectionId.buffer, connectionId.byteOffset, connectionId.length).toString(
    'latin1',
  );
}

/** The map key of a short-header packet's destination; undefined where it is too short for one. */
export function shortHeaderKey(datagram: Buffer): string | undefined {
  if (datagram.length <= CONNECTION_ID_BYTES) return undefined;
  return datagram.toString('latin1', 1, 1 + CONNECTION_ID_BYTES);
}

/** Reads the start of a long-header packet; undefined where it is cut short or over the bounds. */
export function parseLongHeader(datagram: Buffer): LongHeader | undefined {
  if (datagram.length < 7) return undefined;
  const version = datagram.readUInt32BE(1);
  const destinationEnd = 6 + datagram[5]!;
  if (datagram[5]! > CONNECTION_ID_BYTES || destinationEnd >= datagram.length) return undefined;
  const sourceBytes = datagram[destinationEnd]!;
  const sourceEnd = destinationEnd + 1 + sourceBytes;
  if (sourceBytes > CONNECTION_ID_BYTES || sourceEnd > datagram.length) return undefined;
  const type = LONG_TYPES[(datagram[0]! >> 4) & 0b11]!;
  const hasToken = type === 'initial' && version === QUIC_VERSION_1;
  const token = hasToken ? parseToken(datagram, sourceEnd) : EMPTY;
  if (token === undefined) return undefined;
  return {
    type,
    version,
    destinationId: datagram.subarray(6, destinationEnd),
    sourceId: datagram.subarray(destinationEnd + 1, sourceEnd),
    token,
  };
}

function parseToken(datagram: Buffer, offset: number): Uint8Array | undefined {
  if (offset >= datagram.length) return undefined;
  const lengthBytes = 1 << (datagram[offset]! >> 6);
  const start = offset + lengthBytes;
  // A token longer than a datagram cannot be whole, so four bytes of length are plenty.
  if (lengthBytes > 4 || start > datagram.length) return undefined;
  let length = datagram[offset]! & 0x3f;
  for (let i = offset + 1; i < start; i += 1) length = length * 256 + datagram[i]!;
  if (start + length > datagram.length) return undefined;
  return datagram.subarray(start, start + length);
}
