/**
 * A refusal that costs no connection: an Initial packet with nothing but CONNECTION_CLOSE in it,
 * made from the client's own first packet (RFC 9001 section 5.2: Initial keys follow from the
 * destination id alone). The client learns at once that it is not wanted instead of running into a
 * timeout.
 */
import { createCipheriv, createHmac } from 'node:crypto';
import { QUIC_VERSION_1 } from './packet-header.ts';

const INITIAL_SALT = Buffer.from('38762cf7f55934b34d179ae6a4c80cadccbb7f0a', 'hex');
const PACKET_NUMBER_BYTES = 4;
const TAG_BYTES = 16;
const CONNECTION_CLOSE_FRAME = 0x1c;
const REASON_BYTES_MAX = 60;

/** The server's keys for the first packets of a connection. */
export interface InitialKeys {
  readonly key: Buffer;
  readonly iv: Buffer;
  readonly headerProtection: Buffer;
}

/**
 * The datagram that refuses the client whose first packet had these ids. `code` is a transport
 * error code under 64; `reason` is for a person and cut to 60 bytes.
 */
export function buildRefusal(
  clientDestinationId: Uint8Array,
  clientSourceId: Uint8Array,
  code: number,
  reason: string,
): Buffer {
  const keys = serverInitialKeys(clientDestinationId);
  const reasonBytes = Buffer.from(reason).subarray(0, REASON_BYTES_MAX);
  const frame = Buffer.from([CONNECTION_CLOSE_FRAME, code, 0, reasonBytes.length, ...reasonBytes]);
  const header = initialHeader(clientSourceId, clientDestinationId, frame.length);
  // Packet number zero leaves the IV as it is.
  const cipher = createCipheriv('aes-128-gcm', keys.key, keys.iv).setAAD(header);
  const sealed = Buffer.concat([cipher.update(frame), cipher.final(), cipher.getAuthTag()]);
  return protectHeader(Buffer.concat([header, sealed]), header.length, keys.headerProtection);
}

/** RFC 9001 section 5.2. */
export function serverInitialKeys(clientDestinationId: Uint8Array): InitialKeys {
  const initialSecret = createHmac('sha256', INITIAL_SALT).update(clientDestinationId).digest();
  const secret = expandLabel(initialSecret, 'server in', 32);
  return {
    key: expandLabel(secret, 'quic key', 16),
    iv: expandLabel(secret, 'quic iv', 12),
    headerProtection: expandLabel(secret, 'quic hp', 16),
  };
}

function initialHeader(to: Uint8Array, from: Uint8Array, payloadBytes: number): Buffer {
  const length = PACKET_NUMBER_BYTES + payloadBytes + TAG_BYTES;
  const version = Buffer.alloc(4);
  version.writeUInt32BE(QUIC_VERSION_1);
  return Buffer.concat([
    Buffer.from([0xc0 | (PACKET_NUMBER_BYTES - 1)]),
    version,
    Buffer.from([to.length]),
    to,
    Buffer.from([from.length]),
    from,
    // No token, then the length as a two-byte varint, then packet number zero.
    Buffer.from([0, 0x40 | (length >> 8), length & 0xff, 0, 0, 0, 0]),
  ]);
}

/** RFC 9001 section 5.4; changes `packet` and returns it. */
function protectHeader(packet: Buffer, headerBytes: number, key: Buffer): Buffer {
  const sample = packet.subarray(headerBytes, headerBytes + 16);
  const mask = createCipheriv('aes-128-ecb', key, null).update(sample);
  packet[0] = packet[0]! ^ (mask[0]! & 0x0f);
  for (let i = 0; i < PACKET_NUMBER_BYTES; i += 1) {
    packet[headerBytes - PACKET_NUMBER_BYTES + i]! ^= mask[1 + i]!;
  }
  return packet;
}

/** HKDF-Expand-Label of TLS 1.3 with an empty context, up to one hash long. */
function expandLabel(secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.from([0, length, name.length, ...name, 0, 1]);
  return createHmac('sha256', secret).update(info).digest().subarray(0, length);
}
