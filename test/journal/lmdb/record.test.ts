import { describe, expect, test } from 'vitest';
import {
  decodeRecord,
  encodeRecord,
  readPosition,
  sealRecord,
} from '../../../src/journal/lmdb/record.ts';
import { entryOf } from '../../helpers/journal-bench.ts';

const POSITION = { seq: 2 ** 40, cumulativeSamples: 2 ** 45, cumulativeBytes: 2 ** 50 };

function sealed(entry = entryOf(7, { nodeId: 'nöde-ü', epoch: 2 ** 52 })): Uint8Array {
  const bytes = encodeRecord(entry);
  sealRecord(bytes, POSITION);
  return bytes;
}

describe('record', () => {
  test('comes back as it was, with its position', () => {
    const entry = entryOf(7, { nodeId: 'nöde-ü', epoch: 2 ** 52 });
    const bytes = sealed(entry);
    expect(decodeRecord(POSITION.seq, bytes)).toEqual({
      seq: POSITION.seq,
      nodeId: entry.nodeId,
      epoch: entry.epoch,
      sequence: 7,
      receivedAtMs: entry.receivedAtMs,
      tableId: entry.table.id,
      samples: entry.samples,
      cumulativeSamples: POSITION.cumulativeSamples,
      bytes: bytes.length,
    });
    expect(readPosition(POSITION.seq, bytes)).toEqual({ ...POSITION, samples: 10 });
  });

  test('without samples is a record, too', () => {
    const bytes = sealed(entryOf(1, { size: 0, nodeId: '' }));
    expect(decodeRecord(POSITION.seq, bytes)).toMatchObject({ nodeId: '', sequence: 1 });
  });

  test('does not share memory with the bytes it was decoded from', () => {
    const bytes = sealed();
    const record = decodeRecord(POSITION.seq, bytes);
    bytes.fill(0);
    expect('samples' in record && record.samples.values[0]).toBe(7);
  });

  test('is decoded from bytes that are not aligned', () => {
    const bytes = sealed();
    const shifted = new Uint8Array(bytes.length + 3);
    shifted.set(bytes, 3);
    expect(decodeRecord(POSITION.seq, shifted.subarray(3))).toMatchObject({ sequence: 7 });
  });

  test('with any one byte changed is reported as damaged', () => {
    const bytes = sealed();
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = bytes.slice();
      changed[at]! ^= 1;
      expect(decodeRecord(POSITION.seq, changed), `byte ${at}`).toHaveProperty('why');
    }
  });

  test('cut off anywhere, or longer than it was, is reported as damaged', () => {
    const bytes = sealed();
    for (let length = 0; length < bytes.length; length += 1) {
      expect(decodeRecord(POSITION.seq, bytes.subarray(0, length))).toHaveProperty('why');
    }
    const longer = new Uint8Array(bytes.length + 8);
    longer.set(bytes);
    expect(decodeRecord(POSITION.seq, longer)).toHaveProperty('why');
  });

  test('under another seq is reported as damaged', () => {
    expect(decodeRecord(1, sealed())).toEqual({ seq: 1, why: `is record ${POSITION.seq}` });
    expect(readPosition(1, sealed())).toBeUndefined();
  });
});
