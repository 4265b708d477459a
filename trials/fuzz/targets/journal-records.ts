/**
 * Records as a disk gives them back. The checksum catches chance; inputs whose checksum is set
 * right again reach what lies behind it.
 */
import { crc32 } from 'node:zlib';
import { encodeSeriesTable } from '../../../src/codec/series-table.ts';
import {
  decodeRecord,
  encodeRecord,
  ORIGIN,
  readPosition,
  sealRecord,
} from '../../../src/journal/lmdb/record.ts';
import { type FuzzTarget, must } from '../fuzz-target.ts';

const SEQ = 7;

/** Each input as it is, and with its checksum and place set right. */
export function journalRecordTarget(): FuzzTarget {
  return {
    name: 'journal-records',
    what: 'journal records, damaged, and damaged with a right checksum',
    seeds: [0, 1, 40].map(sealedRecord),
    tokens: ['TCJ1', '\0\0\0\0\0\0\0\0', '\xff\xff\xff\xff'].map((text) =>
      Buffer.from(text, 'latin1'),
    ),
    run(input) {
      check(input);
      if (input.length < 64) return;
      input.writeDoubleLE(SEQ, 16);
      input.writeUInt32LE(crc32(input.subarray(8)), 4);
      check(input);
    },
  };
}

function sealedRecord(samples: number): Buffer {
  const table = encodeSeriesTable([{ name: 'up', labels: [], kind: 'gauge', unit: '' }]);
  const bytes = encodeRecord({
    nodeId: 'gpu-node-é',
    epoch: 1_753_000_000_000,
    sequence: 3,
    receivedAtMs: 1_753_000_000_001,
    table,
    samples: {
      series: new Uint32Array(samples),
      timestampsMs: new Float64Array(samples).fill(1_753_000_000_000),
      values: new Float64Array(samples).fill(1),
    },
  });
  sealRecord(bytes, { ...ORIGIN, seq: SEQ });
  return Buffer.from(bytes);
}

function check(bytes: Buffer): void {
  const record = decodeRecord(SEQ, bytes);
  const position = readPosition(SEQ, bytes);
  must('why' in record === (position === undefined), 'both readings agree on what is damaged');
  if ('why' in record) {
    must(record.why !== '' && record.why.length < 200, 'a damaged record says why');
    return;
  }
  const { series, timestampsMs, values } = record.samples;
  must(series.length === values.length, 'columns have one length');
  must(timestampsMs.length === values.length, 'columns have one length');
  must(20 * values.length < bytes.length, 'columns lie inside the record');
}
