import { expect, test } from 'vitest';
import {
  decodeCollectorMessage,
  decodeStart,
  encodeCollectorMessage,
  encodeStart,
} from '../../src/feed/feed-codec.ts';
import type {
  CollectorMessage,
  FeedStart,
  RecordsMessage,
  StatusMessage,
} from '../../src/feed/feed-contract.ts';

const TABLE_ID = '00112233445566778899aabbccddeeff';
const RECORDS: RecordsMessage = {
  kind: 'records',
  seq: 2 ** 53 - 1,
  headSeq: 2 ** 40,
  records: [
    {
      ...{ seq: 7, nodeId: 'gpu-07', epoch: 1_700_000_000_000, sequence: 12, receivedAtMs: 1.5 },
      tableId: TABLE_ID,
      samples: {
        series: Uint32Array.of(0, 3, 2 ** 32 - 1),
        timestampsMs: Float64Array.of(1, 2, 3),
        values: Float64Array.of(-0, Number.MAX_VALUE, 1e-300),
      },
    },
  ],
  damaged: [8, 9],
  droppedTables: [TABLE_ID],
};
const STATUS: StatusMessage = {
  ...{ kind: 'status', atMs: 12.5, headSeq: 9, ready: false },
  nodes: [
    {
      ...{ nodeId: 'n', connections: 1, connectedSinceMs: 5, transport: 'quic' },
      ...{
        remoteAddress: '[::1]:1',
        epoch: 3,
        sequence: 4,
        receivedAtMs: 6,
        lastSampleAheadMs: -2,
      },
      ...{ knownGaps: 1, series: 2, maxSeries: 3, seriesTextBytes: 4, maxSeriesTextBytes: 5 },
    },
  ],
  checks: [{ name: 'journal', ok: false, reason: 'full' }],
  ledger: {
    ...{ received: 10, accepted: 4, duplicate: 3, rejected: 2, throttled: 1 },
    writers: [
      { ...{ name: 'parquet', state: 'running', cursor: 1, lagMs: 2 }, ...figures(3, 4, 5) },
    ],
  },
};

function figures(written: number, deadLettered: number, pending: number) {
  return { written, deadLettered, pending };
}

const MESSAGES: readonly Exclude<CollectorMessage, { kind: 'unknown' }>[] = [
  {
    ...{ kind: 'welcome', version: 1, collectorId: 'c', source: 'c/j', seq: 1, headSeq: 2 },
    ...{ cursor: 1, sharedUpTo: 0, hasFiles: true },
  },
  { kind: 'table', id: TABLE_ID, bytes: Uint8Array.of(1, 2, 3) },
  RECORDS,
  {
    ...{ kind: 'published', cursor: 5 },
    files: [{ path: 'metrics/a.parquet', hourMs: 3_600_000, firstSeq: 1, lastSeq: 5, bytes: 9 }],
  },
  STATUS,
  { kind: 'closing', word: 'stalled', message: 'too slow' },
];

test.each(MESSAGES)('a message of the collector comes back as it was: $kind', (message) => {
  const bytes = encodeCollectorMessage(message);
  const frame = Buffer.concat([Buffer.of(0), bytes]).subarray(1);
  const decoded = decodeCollectorMessage(frame);
  frame.fill(0);
  expect(decoded).toEqual(message);
});

test('a start comes back as it was', () => {
  const starts: FeedStart[] = [
    { at: 'cursor' },
    { at: 'position', position: new Map([['c/j', 12]]) },
    { at: 'position', position: new Map() },
  ];
  for (const start of starts) {
    const message = { version: 1, reader: 'gateway', start };
    expect(decodeStart(encodeStart(message))).toEqual(message);
  }
});

test('what is no message is refused with the reason', () => {
  const refused = (bytes: Uint8Array) => () => decodeStart(bytes);
  expect(refused(Buffer.from('GET / HTTP/1.1\r\n'))).toThrow('cannot read message of the feed');
  expect(refused(new Uint8Array(0))).toThrow('it holds no start');
  const beyond = encodeStart({
    ...{ version: 1, reader: '' },
    start: { at: 'position', position: new Map([['c/j', 2 ** 60]]) },
  });
  expect(refused(beyond)).toThrow('2^53');
});

test('columns of different lengths are refused', () => {
  const [record] = RECORDS.records;
  const samples = { ...record!.samples, values: Float64Array.of(1) };
  const bytes = encodeCollectorMessage({ ...RECORDS, records: [{ ...record!, samples }] });
  expect(() => decodeCollectorMessage(bytes)).toThrow('differ in length');
});

test('a body of a newer version is passed over', () => {
  // Field 15, a length-delimited body.
  expect(decodeCollectorMessage(Buffer.of(0x7a, 1, 0))).toEqual({ kind: 'unknown' });
});
