import { createCipheriv, createDecipheriv } from 'node:crypto';
import { expect, test } from 'vitest';
import { buildRefusal, serverInitialKeys } from '../../src/transport/connection-refusal.ts';
import { parseLongHeader } from '../../src/transport/packet-header.ts';

const CLIENT_ID = Buffer.from('8394c8f03e515708', 'hex');

test('the keys of a server Initial are those of RFC 9001 appendix A.1', () => {
  const keys = serverInitialKeys(CLIENT_ID);
  expect(keys.key.toString('hex')).toBe('cf3a5331653c364c88f0f379b6067e37');
  expect(keys.iv.toString('hex')).toBe('0ac1493ca1905853b0bba03e');
  expect(keys.headerProtection.toString('hex')).toBe('c206b8d9b9f0f37644430b490eeaa314');
});

test('a refusal opens with those keys and holds one CONNECTION_CLOSE', () => {
  const source = Buffer.from('0102030405', 'hex');
  const packet = buildRefusal(CLIENT_ID, source, 2, 'full');
  const header = parseLongHeader(packet)!;
  expect([...header.destinationId]).toEqual([...source]);
  expect([...header.sourceId]).toEqual([...CLIENT_ID]);
  const { key, iv, headerProtection } = serverInitialKeys(CLIENT_ID);
  const numberAt = packet.length - (4 + 16 + 'full'.length) - 4;
  const sample = packet.subarray(numberAt + 4, numberAt + 20);
  const mask = createCipheriv('aes-128-ecb', headerProtection, null).update(sample);
  packet[0]! ^= mask[0]! & 0x0f;
  for (let i = 0; i < 4; i += 1) packet[numberAt + i]! ^= mask[1 + i]!;
  expect(packet.readUInt32BE(numberAt)).toBe(0);
  const decipher = createDecipheriv('aes-128-gcm', key, iv);
  decipher.setAAD(packet.subarray(0, numberAt + 4)).setAuthTag(packet.subarray(-16));
  const frame = Buffer.concat([
    decipher.update(packet.subarray(numberAt + 4, -16)),
    decipher.final(),
  ]);
  expect(frame).toEqual(Buffer.from([0x1c, 2, 0, 4, ...Buffer.from('full')]));
});
