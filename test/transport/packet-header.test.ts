import { describe, expect, test } from 'vitest';
import {
  connectionKey,
  parseLongHeader,
  shortHeaderKey,
} from '../../src/transport/packet-header.ts';
import { seededRandom } from '../helpers/seeded-random.ts';

/** The client Initial of RFC 9001 appendix A.2, up to the packet number. */
const RFC_INITIAL = Buffer.from('c300000001088394c8f03e5157080000449e7b9aec34', 'hex');
/** The Retry of RFC 9001 appendix A.4. */
const RFC_RETRY = Buffer.from(
  'ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba',
  'hex',
);

describe('packet headers', () => {
  test('an Initial packet without a token is read as in RFC 9001', () => {
    const header = parseLongHeader(RFC_INITIAL)!;
    expect(header.type).toBe('initial');
    expect(header.version).toBe(1);
    expect(Buffer.from(header.destinationId).toString('hex')).toBe('8394c8f03e515708');
    expect(header.sourceId).toHaveLength(0);
    expect(header.token).toHaveLength(0);
  });

  test('a Retry packet is read as in RFC 9001', () => {
    const header = parseLongHeader(RFC_RETRY)!;
    expect(header.type).toBe('retry');
    expect(header.destinationId).toHaveLength(0);
    expect(Buffer.from(header.sourceId).toString('hex')).toBe('f067a5502a4262b5');
  });

  test('a token is read with its length in one or two bytes', () => {
    const head = Buffer.from('c0000000010101' + '0102', 'hex');
    expect([
      ...parseLongHeader(Buffer.from(`${head.toString('hex')}02aabb`, 'hex'))!.token,
    ]).toEqual([0xaa, 0xbb]);
    expect([
      ...parseLongHeader(Buffer.from(`${head.toString('hex')}4001aa`, 'hex'))!.token,
    ]).toEqual([0xaa]);
  });

  test.each([
    ['nothing', ''],
    ['only a version', 'c000000001'],
    ['a destination id past the end', 'c00000000108010203'],
    ['a destination id over 20 bytes', `c00000000115${'00'.repeat(40)}`],
    ['a source id past the end', 'c000000001010109aabb'],
    ['a token past the end', 'c0000000010101010205aa'],
    ['a token length past the end', 'c00000000101010102'],
    ['a token length of eight bytes', 'c00000000101010102ffffffffffffffff'],
  ])('a header with %s is no header', (_, hex) => {
    expect(parseLongHeader(Buffer.from(hex, 'hex'))).toBeUndefined();
  });

  test('no bytes make it throw', () => {
    const random = seededRandom(3);
    for (let i = 0; i < 20_000; i += 1) {
      const bytes = Buffer.from(Array.from({ length: random.below(60) }, () => random.below(256)));
      if (bytes.length > 0) bytes[0]! |= 0xc0;
      if (bytes.length > 5) bytes.writeUInt32BE(1, 1);
      parseLongHeader(bytes);
      shortHeaderKey(bytes);
    }
  });

  test('the key of a short header is that of its connection id', () => {
    const id = Buffer.from(Array.from({ length: 20 }, (_, i) => 200 + i));
    const datagram = Buffer.concat([Buffer.from([0x40]), id, Buffer.from('payload')]);
    expect(shortHeaderKey(datagram)).toBe(connectionKey(id));
    expect(shortHeaderKey(datagram.subarray(0, 20))).toBeUndefined();
  });
});
