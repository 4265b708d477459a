import { describe, expect, it } from 'vitest';
import {
  decodeCollectorMessage,
  encodeAck,
  encodeHello,
} from '../../src/codec/collector-message.ts';
import type { AckStatus, BatchAck } from '../../src/domain/telemetry.ts';
import { TEST_HELLO } from '../helpers/test-hello.ts';
import { protoType } from '../helpers/wire-batch.ts';

const ACK: BatchAck = {
  epoch: Number.MAX_SAFE_INTEGER,
  sequence: 42,
  status: 'partial',
  accepted: 7,
  rejected: 3,
  rejections: [
    { reason: 'sentinel', count: 2, firstSeries: 'power{gpu="0"}' },
    { reason: 'too_old', count: 1, firstSeries: '' },
  ],
  retryAfterMs: 0,
  message: '3 of 10 samples refused',
};

describe('collector messages', () => {
  it('come back as they were encoded', () => {
    expect(decodeCollectorMessage(encodeHello(TEST_HELLO))).toEqual({ hello: TEST_HELLO });
    expect(decodeCollectorMessage(encodeAck(ACK, 9))).toEqual({ ack: ACK, frame: 9 });
  });

  it('have bytes that are pinned down', () => {
    const ack = encodeAck(
      {
        ...ACK,
        epoch: 1,
        sequence: 2,
        status: 'accepted',
        accepted: 3,
        rejected: 0,
        rejections: [],
        message: '',
      },
      4,
    );
    expect(Buffer.from(ack).toString('hex')).toBe('120a08011002180120034804');
    const hello = encodeHello({
      ...TEST_HELLO,
      collectorId: 'c',
      nodeId: 'n',
      maxBatchBytes: 5,
      maxBatchSamples: 6,
    });
    expect(Buffer.from(hello).toString('hex')).toBe(
      '0a3908011201631a016e200528063001' +
        '38800240204880085088a4015880f52460ac0268800870087880d095ffbc31800118' +
        '880140900180808001',
    );
  });

  it.each([
    ['accepted', 'ACK_STATUS_ACCEPTED'],
    ['duplicate', 'ACK_STATUS_DUPLICATE'],
    ['partial', 'ACK_STATUS_PARTIAL'],
    ['rejected', 'ACK_STATUS_REJECTED'],
    ['throttled', 'ACK_STATUS_THROTTLED'],
  ] satisfies [AckStatus, string][])('write %s as %s', (status, name) => {
    const type = protoType('CollectorMessage');
    const message = type.decode(encodeAck({ ...ACK, status }, 1));
    expect(type.toObject(message, { enums: String }).ack.status).toBe(name);
    expect(decodeCollectorMessage(encodeAck({ ...ACK, status }, 1))).toMatchObject({
      ack: { status },
    });
  });

  it('name the eight most frequent rejections', () => {
    const rejections = Array.from({ length: 12 }, (_, index) => ({
      reason: 'sentinel' as const,
      count: index + 1,
      firstSeries: '',
    }));
    const decoded = decodeCollectorMessage(encodeAck({ ...ACK, rejections }, 1));
    const counts = 'ack' in decoded ? decoded.ack.rejections.map(({ count }) => count) : [];
    expect(counts).toEqual([12, 11, 10, 9, 8, 7, 6, 5]);
  });

  it('stay small whatever a series is called', () => {
    const rejections = [
      { reason: 'sentinel' as const, count: 1, firstSeries: 'x'.repeat(100_000) },
    ];
    expect(encodeAck({ ...ACK, rejections, message: 'm'.repeat(100_000) }, 1).length).toBeLessThan(
      3000,
    );
  });

  it('round the waiting time up to whole milliseconds', () => {
    const decoded = decodeCollectorMessage(encodeAck({ ...ACK, retryAfterMs: 0.2 }, 1));
    expect(decoded).toMatchObject({ ack: { retryAfterMs: 1 } });
  });

  it.each([
    ['nothing', ''],
    ['no protobuf', 'ff'],
    ['an unknown status', '12021809'],
    ['an epoch past 2^53', '120a0880808080808080801018' + '01'],
  ])('are refused with a code where there is %s', (_, hex) => {
    expect(() => decodeCollectorMessage(Buffer.from(hex, 'hex'))).toThrowError(
      expect.objectContaining({ code: 'BAD_COLLECTOR_MESSAGE' }),
    );
  });
});
