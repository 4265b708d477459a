/**
 * A spool file as a disk gives it back. What is read of it must be what a writer wrote: the
 * checksums catch chance, so whatever comes out whole is one of the batches that went in.
 */
import { crc32 } from 'node:zlib';
import {
  encodeHeader,
  encodeRecord,
  RECORD_HEAD_BYTES,
  readFrame,
  scanSegment,
} from '../../../src/client/spool-format.ts';
import { type FuzzTarget, must } from '../fuzz-target.ts';

const EPOCH = 1_753_000_000_000;

/** Each input as it is, and with the checksum of its first record's head set right. */
export function spoolFileTarget(): FuzzTarget {
  return {
    name: 'spool-files',
    what: 'files of the agent’s spool, damaged, and damaged with a right checksum',
    seeds: [0, 1, 12].map(fileOf),
    tokens: ['TLMSPOOL', '\xa5SP\xc3', '\0\0\0\0\0\0\0\0', '\xff\xff\xff\xff'].map((text) =>
      Buffer.from(text, 'latin1'),
    ),
    run(input) {
      check(input);
      const head = input.indexOf(Buffer.from('\xa5SP\xc3', 'latin1'));
      if (head < 0 || head + RECORD_HEAD_BYTES > input.length) return;
      const checked = input.subarray(head + 8, head + RECORD_HEAD_BYTES);
      input.writeUInt32LE(crc32(checked), head + 4);
      check(input);
    },
  };
}

function fileOf(batches: number): Buffer {
  const records = Array.from({ length: batches }, (_, index) => {
    const frame = Buffer.alloc(20 + index, index);
    const record = { kind: 'batch', epoch: EPOCH, sequence: index + 1, sampleCount: 3 } as const;
    return encodeRecord(record, frame);
  });
  const done = { kind: 'done', epoch: EPOCH, sequence: 1, sampleCount: 0 } as const;
  return Buffer.concat([
    encodeHeader('gpu-node-é'),
    ...records,
    encodeRecord(done, new Uint8Array(0)),
  ]);
}

function check(bytes: Buffer): void {
  const scan = scanSegment(bytes);
  let end = 0;
  let read = 0;
  for (const record of scan.records) {
    const from = record.frameOffset - RECORD_HEAD_BYTES;
    must(from >= end, 'records lie one after another');
    end = record.frameOffset + record.bytes;
    must(end <= bytes.length, 'a record lies inside the file');
    must(record.epoch > 0 && record.sequence > 0, 'a batch has numbers');
    must(
      readFrame(bytes.subarray(from, end), record) !== undefined,
      'what the scan found whole can be read back',
    );
    read += end - from;
  }
  must(read + scan.tornBytes + scan.damagedBytes <= bytes.length, 'no byte is counted twice');
}
