/**
 * Genuine first packets without a client behind them: one ClientHello, sealed anew for any
 * connection id (RFC 9001 section 5.2), thousands a second.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import { buildQuicheConfig, clientDefault } from '@matrixai/quic/config.js';
import quiche from '@matrixai/quic/native/quiche.js';
import { ALPN_PROTOCOL } from '../../../src/domain/telemetry.ts';

const INITIAL_SALT = Buffer.from('38762cf7f55934b34d179ae6a4c80cadccbb7f0a', 'hex');
const DATAGRAM_BYTES = 1200;
const PACKET_NUMBER_BYTES = 4;
const TAG_BYTES = 16;
const RETRY = 3;

/** The frames of a first packet, and the source id that they speak of. */
export interface ClientHello {
  readonly sourceId: Buffer;
  readonly frames: Buffer;
}

/** Lets the stack make one and opens it. */
export function captureClientHello(): ClientHello {
  const config = buildQuicheConfig({ ...clientDefault, applicationProtos: [ALPN_PROTOCOL] });
  const sourceId = randomBytes(8);
  const here = { host: '127.0.0.1', port: 1 };
  const connection = quiche.Connection.connect('localhost', sourceId, here, here, config);
  const out = Buffer.alloc(1350);
  const [length] = connection.send(out) ?? [0];
  return { sourceId, frames: openInitial(out.subarray(0, length)) };
}

/** A datagram that asks for a new connection. */
export function buildInitial(hello: ClientHello, destinationId: Buffer, token: Buffer): Buffer {
  const { key, iv, headerProtection } = clientKeys(destinationId);
  const head = Buffer.concat([
    Buffer.from([0xc0 | (PACKET_NUMBER_BYTES - 1), 0, 0, 0, 1]),
    ...[Buffer.from([destinationId.length]), destinationId],
    ...[Buffer.from([hello.sourceId.length]), hello.sourceId],
    ...[varint(token.length), token],
  ]);
  const sealedBytes = DATAGRAM_BYTES - head.length - 2 - PACKET_NUMBER_BYTES;
  const header = Buffer.concat([
    head,
    varint(PACKET_NUMBER_BYTES + sealedBytes),
    Buffer.alloc(PACKET_NUMBER_BYTES),
  ]);
  const padding = Buffer.alloc(sealedBytes - TAG_BYTES - hello.frames.length);
  const cipher = createCipheriv('aes-128-gcm', key, iv).setAAD(header);
  const sealed = [cipher.update(hello.frames), cipher.update(padding), cipher.final()];
  const packet = Buffer.concat([header, ...sealed, cipher.getAuthTag()]);
  maskHeader(packet, header.length - PACKET_NUMBER_BYTES, headerProtection);
  return packet;
}

/** What a Retry packet asks for; undefined where the datagram is none. */
export function readRetry(datagram: Buffer): { id: Buffer; token: Buffer } | undefined {
  if (((datagram[0] ?? 0) & 0xf0) !== 0xc0 + (RETRY << 4)) return undefined;
  const sourceAt = 6 + (datagram[5] ?? 0);
  const idEnd = sourceAt + 1 + (datagram[sourceAt] ?? 0);
  const token = datagram.subarray(idEnd, datagram.length - TAG_BYTES);
  return { id: Buffer.from(datagram.subarray(sourceAt + 1, idEnd)), token: Buffer.from(token) };
}

/** The frames of an Initial packet without a token, as the stack writes it. */
function openInitial(packet: Buffer): Buffer {
  const destinationEnd = 6 + packet[5]!;
  const { key, iv, headerProtection } = clientKeys(packet.subarray(6, destinationEnd));
  const tokenAt = destinationEnd + 1 + packet[destinationEnd]!;
  // No token, then a length of two bytes.
  const numberAt = tokenAt + 1 + 2;
  const end = numberAt + (packet.readUInt16BE(tokenAt + 1) & 0x3fff);
  const numberBytes = 1 + unmaskHeader(packet, numberAt, headerProtection);
  const header = packet.subarray(0, numberAt + numberBytes);
  for (let at = 0; at < numberBytes; at += 1) {
    iv[iv.length - numberBytes + at]! ^= packet[numberAt + at]!;
  }
  const decipher = createDecipheriv('aes-128-gcm', key, iv).setAAD(header);
  decipher.setAuthTag(packet.subarray(end - TAG_BYTES, end));
  const frames = decipher.update(packet.subarray(header.length, end - TAG_BYTES));
  decipher.final();
  return withoutPadding(frames);
}

/** Padding is zeros at the end, and a ClientHello does not end in one so many times. */
function withoutPadding(frames: Buffer): Buffer {
  let end = frames.length;
  while (end > 0 && frames[end - 1] === 0) end -= 1;
  return frames.subarray(0, Math.min(frames.length, end + 8));
}

/** RFC 9001 section 5.4, with a packet number of four bytes; changes `packet`. */
function maskHeader(packet: Buffer, numberAt: number, key: Buffer): void {
  const mask = maskOf(packet, numberAt, key);
  packet[0]! ^= mask[0]! & 0x0f;
  for (let at = 0; at < PACKET_NUMBER_BYTES; at += 1) packet[numberAt + at]! ^= mask[1 + at]!;
}

/** Takes the mask off; returns the bytes of the packet number, less one. */
function unmaskHeader(packet: Buffer, numberAt: number, key: Buffer): number {
  const mask = maskOf(packet, numberAt, key);
  packet[0]! ^= mask[0]! & 0x0f;
  const last = packet[0]! & 0b11;
  for (let at = 0; at <= last; at += 1) packet[numberAt + at]! ^= mask[1 + at]!;
  return last;
}

function maskOf(packet: Buffer, numberAt: number, key: Buffer): Buffer {
  const sample = packet.subarray(numberAt + 4, numberAt + 20);
  return createCipheriv('aes-128-ecb', key, null).update(sample);
}

function clientKeys(destinationId: Uint8Array) {
  const initial = createHmac('sha256', INITIAL_SALT).update(destinationId).digest();
  const secret = expand(initial, 'client in', 32);
  return {
    key: expand(secret, 'quic key', 16),
    iv: Buffer.from(expand(secret, 'quic iv', 12)),
    headerProtection: expand(secret, 'quic hp', 16),
  };
}

function expand(secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.from([0, length, name.length, ...name, 0, 1]);
  return createHmac('sha256', secret).update(info).digest().subarray(0, length);
}

function varint(value: number): Buffer {
  return Buffer.from([0x40 | (value >> 8), value & 0xff]);
}
