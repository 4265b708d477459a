/**
 * What the module tells: the records of `native/quinn/src/records.rs`, read from a copy of its
 * output. The layout and the numbers there and here are the same.
 */
import { isIPv4, isIPv6 } from 'node:net';
import type { QuicAddress, QuicRefusal } from '../quic-endpoint.ts';

export const RECORD = {
  transmit: 1,
  accepted: 2,
  connected: 3,
  data: 4,
  writable: 5,
  closed: 6,
  moved: 7,
  refused: 8,
  gone: 9,
} as const;

/** `extra` of a `closed` record. */
export const CLOSED_BY = {
  peerApplication: 1,
  peerTransport: 2,
  localTransport: 3,
  idle: 4,
  host: 5,
  reset: 6,
} as const;

/** By `extra` of a `refused` record. */
export const REFUSALS: readonly (QuicRefusal | undefined)[] = [
  undefined,
  'stopping',
  'max_connections',
  'bad_packet',
  'version',
  'bad_token',
  'memory',
];

/** `extra` of a `data` record. */
export const STREAM_END = { open: 0, fin: 1, reset: 2 } as const;

/** The smallest frames make some 16,000 of this, which is as many answers as a session can bear. */
const PIECE_BYTES = 64 * 1024;
const HEADER_BYTES = 24;
export const ADDRESS_BYTES = 16;
/** `::ffff:0:0/96`, which IPv4 addresses are mapped into. */
const MAPPED = Buffer.from('00000000000000000000ffff', 'hex');
/** Addresses in words that are kept; the table is cleared when it is full. */
const KNOWN_ADDRESSES_MAX = 4096;

export interface ModuleRecord {
  readonly kind: number;
  readonly connection: number;
  readonly value: number;
  readonly extra: number;
  /** A view into the output. */
  readonly payload: Buffer;
}

/** The records of one output, in order. */
export function* readRecords(output: Buffer): Generator<ModuleRecord> {
  for (let at = 0; at < output.length; ) {
    const length = output.readUInt32LE(at + 20);
    const start = at + HEADER_BYTES;
    yield {
      kind: output.readUInt32LE(at),
      connection: output.readUInt32LE(at + 4),
      value: output.readDoubleLE(at + 8),
      extra: output.readUInt32LE(at + 16),
      payload: output.subarray(start, start + length),
    };
    at = start + Math.ceil(length / 8) * 8;
  }
}

/** A part of what came on a stream. */
export interface StreamData {
  readonly streamId: number;
  readonly bytes: Buffer;
  /** One of `STREAM_END`. */
  readonly end: number;
}

/** What a `data` record brought, in pieces after each of which its reader may stop. */
export function* piecesOf({ value, extra, payload }: ModuleRecord): Generator<StreamData> {
  let at = 0;
  for (; payload.length - at > PIECE_BYTES; at += PIECE_BYTES) {
    const bytes = payload.subarray(at, at + PIECE_BYTES);
    yield { streamId: value, bytes, end: STREAM_END.open };
  }
  yield { streamId: value, bytes: payload.subarray(at), end: extra };
}

/** The certificates of a `connected` record, each a copy. */
export function readCertificates(payload: Buffer): Uint8Array[] {
  const certificates: Uint8Array[] = [];
  for (let at = 0; at < payload.length; ) {
    const end = at + 4 + payload.readUInt32LE(at);
    certificates.push(new Uint8Array(payload.subarray(at + 4, end)));
    at = end;
  }
  return certificates;
}

/** Addresses between words and the 16 bytes of the module, with a bounded memory for both ways. */
export class AddressBook {
  readonly #isSocketIPv6: boolean;
  readonly #octets = new Map<string, Buffer>();
  readonly #hosts = new Map<string, string>();

  /** On an IPv6 socket, IPv4 addresses are written as mapped ones. */
  constructor(isSocketIPv6: boolean) {
    this.#isSocketIPv6 = isSocketIPv6;
  }

  octetsOf(host: string): Buffer {
    return remembered(this.#octets, host, () => octetsOf(host));
  }

  /** As the socket writes it. */
  hostOf(octets: Buffer): string {
    const key = octets.toString('latin1', 0, ADDRESS_BYTES);
    return remembered(this.#hosts, key, () => hostOf(octets, this.#isSocketIPv6));
  }

  addressOf(payload: Buffer, port: number): QuicAddress {
    return { host: this.hostOf(payload), port };
  }
}

function remembered<T>(known: Map<string, T>, key: string, make: () => T): T {
  const before = known.get(key);
  if (before !== undefined) return before;
  if (known.size >= KNOWN_ADDRESSES_MAX) known.clear();
  const value = make();
  known.set(key, value);
  return value;
}

function octetsOf(host: string): Buffer {
  const [address = ''] = host.split('%');
  if (isIPv4(address)) return Buffer.concat([MAPPED, Buffer.from(address.split('.').map(Number))]);
  if (!isIPv6(address)) return Buffer.alloc(ADDRESS_BYTES);
  const lastColon = address.lastIndexOf(':');
  const dotted = address.slice(lastColon + 1);
  const text = isIPv4(dotted) ? `${address.slice(0, lastColon + 1)}${asGroups(dotted)}` : address;
  const [head = '', tail] = text.split('::');
  const before = groupsOf(head);
  const after = tail === undefined ? [] : groupsOf(tail);
  const zeros = tail === undefined ? 0 : 8 - before.length - after.length;
  const octets = Buffer.alloc(ADDRESS_BYTES);
  const groups = [...before, ...new Array<number>(zeros).fill(0), ...after];
  for (const [index, group] of groups.entries()) octets.writeUInt16BE(group, 2 * index);
  return octets;
}

function groupsOf(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
}

function asGroups(dotted: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = dotted.split('.').map(Number);
  return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}

function hostOf(octets: Buffer, isSocketIPv6: boolean): string {
  if (octets.subarray(0, MAPPED.length).equals(MAPPED)) {
    const dotted = octets.subarray(MAPPED.length, ADDRESS_BYTES).join('.');
    return isSocketIPv6 ? `::ffff:${dotted}` : dotted;
  }
  const groups: string[] = [];
  for (let at = 0; at < ADDRESS_BYTES; at += 2) groups.push(octets.readUInt16BE(at).toString(16));
  return compressed(groups);
}

/** The longest run of zero groups as `::`, as the system writes addresses (RFC 5952). */
function compressed(groups: readonly string[]): string {
  let best = { start: 0, length: 1 };
  for (let start = 0; start < groups.length; start += 1) {
    let length = 0;
    while (groups[start + length] === '0') length += 1;
    if (length > best.length) best = { start, length };
  }
  if (best.length < 2) return groups.join(':');
  const head = groups.slice(0, best.start).join(':');
  const tail = groups.slice(best.start + best.length).join(':');
  return `${head}::${tail}`;
}
