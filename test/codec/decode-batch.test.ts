import { describe, expect, it } from 'vitest';
import {
  BatchDecoder,
  type DecodeLimits,
  type DecodeResult,
} from '../../src/codec/decode-batch.ts';
import { encodeBatch } from '../../src/codec/encode-batch.ts';
import { encodeSeriesTable } from '../../src/codec/series-table.ts';
import type { Batch, SampleColumns } from '../../src/domain/telemetry.ts';
import {
  bytesField,
  protoType,
  TEST_LIMITS,
  unpackedWireBatch,
  type WireBatch,
  type WireSeries,
  wireBatch,
} from '../helpers/wire-batch.ts';

const TABLE = encodeSeriesTable([
  { name: 'power', labels: [['gpu', '0']], kind: 'gauge', unit: 'W' },
  { name: 'power', labels: [['gpu', '1']], kind: 'gauge', unit: 'W' },
  {
    name: 'energy',
    labels: [
      ['gpu', '0'],
      ['host', 'é'],
    ],
    kind: 'counter',
    unit: 'mJ',
  },
]);
const NOW = 1_753_000_000_000;
const SAMPLES: SampleColumns = {
  series: Uint32Array.of(0, 2, 1),
  timestampsMs: Float64Array.of(NOW, NOW - 90_000, NOW + 1),
  values: Float64Array.of(100.5, -0, 1e300),
};
const COLUMNS: WireBatch = {
  series_table: {
    symbols: ['', 'power', 'gpu', '0', 'W'],
    series: [{ name: 1, labels: [2, 3], kind: 1, unit: 4 }],
  },
  series: [0, 0],
  timestamp_delta_ms: [NOW, 5],
  value: [1.5, 2.5],
};

function decode(frame: Uint8Array, limits: Partial<DecodeLimits> = {}): DecodeResult {
  return new BatchDecoder({ ...TEST_LIMITS, ...limits }).decode(frame);
}

function accepted(result: DecodeResult): Batch {
  if (!result.ok) throw new Error(`${result.reason}: ${result.message}`);
  return result.batch;
}

function tableOf(symbols: string[], ...series: WireSeries[]): Buffer {
  return wireBatch({ ...COLUMNS, series_table: { symbols, series } });
}

describe('BatchDecoder', () => {
  it('gives back what encodeBatch was given', () => {
    const batch = { nodeId: 'node-1', epoch: NOW, sequence: 7, table: TABLE, samples: SAMPLES };
    expect(accepted(decode(encodeBatch(batch)))).toEqual({ schemaVersion: 1, ...batch });
  });

  it('gives back numbers at the edges of their range', () => {
    const samples = {
      series: Uint32Array.of(0, 127, 128, 16_383, 16_384, 99_999),
      timestampsMs: Float64Array.of(-8.64e15, -1, 0, 8.64e15, 63, -65),
      values: Float64Array.of(Number.NaN, Infinity, -Infinity, 5e-324, Number.MAX_VALUE, 2 ** 63),
    };
    const table = encodeSeriesTable(
      Array.from({ length: 100_000 }, () => ({ name: 'x', labels: [], kind: 'gauge', unit: '' })),
    );
    const epoch = Number.MAX_SAFE_INTEGER;
    const frame = encodeBatch({ nodeId: '', epoch, sequence: epoch, table, samples });
    expect(accepted(decode(frame))).toMatchObject({ epoch, sequence: epoch, samples });
  });

  it('reads bytes that are pinned down to the last one', () => {
    const hex = [
      '0801', // schema_version 1
      '12016e', // node_id "n"
      '1805', // epoch 5
      '2006', // sequence 6
      '2a0c0a000a027570120408011801', // series_table: "", "up"; {name 1, kind gauge}
      '32020000', // series 0 0
      '3a03d00f01', // timestamps +1000, -1
      '4210000000000000f83f000000000000e0bf', // values 1.5, -0.5
    ].join('');
    const expected: Batch = {
      schemaVersion: 1,
      nodeId: 'n',
      epoch: 5,
      sequence: 6,
      table: expect.objectContaining({
        series: [{ name: 'up', labels: [], kind: 'gauge', unit: '' }],
      }),
      samples: {
        series: Uint32Array.of(0, 0),
        timestampsMs: Float64Array.of(1000, 999),
        values: Float64Array.of(1.5, -0.5),
      },
    };
    expect(accepted(decode(Buffer.from(hex, 'hex')))).toEqual(expected);
    const { nodeId, epoch, sequence, table, samples } = accepted(decode(Buffer.from(hex, 'hex')));
    const encoded = encodeBatch({ nodeId, epoch, sequence, table, samples });
    expect(Buffer.from(encoded).toString('hex')).toBe(hex);
  });

  it('is understood by another protobuf decoder', () => {
    const frame = encodeBatch({
      nodeId: 'n',
      epoch: 1,
      sequence: 2,
      table: TABLE,
      samples: SAMPLES,
    });
    const type = protoType('MetricBatch');
    const message = type.toObject(type.decode(frame), { longs: Number });
    expect(message).toMatchObject({ schemaVersion: 1, nodeId: 'n', epoch: 1, sequence: 2 });
    expect(message.series).toEqual([0, 2, 1]);
    expect(message.timestampDeltaMs).toEqual([NOW, -90_000, 90_001]);
    expect(message.value).toEqual([100.5, -0, 1e300]);
    expect(message.seriesTable.series).toHaveLength(3);
  });

  it('reads columns that are not packed, and columns cut in pieces, as the same batch', () => {
    const whole = accepted(decode(wireBatch(COLUMNS)));
    expect(accepted(decode(unpackedWireBatch(COLUMNS)))).toEqual(whole);
    const { series, timestamp_delta_ms, value, ...rest } = COLUMNS;
    const pieces = Buffer.concat([
      wireBatch({ ...rest, series: [0], timestamp_delta_ms: [NOW], value: [1.5] }),
      bytesField(6, ''),
      unpackedWireBatch({ series: [0], timestamp_delta_ms: [5], value: [2.5] }),
    ]);
    expect(accepted(decode(pieces))).toEqual(whole);
    expect([series, timestamp_delta_ms, value]).toEqual([
      [0, 0],
      [NOW, 5],
      [1.5, 2.5],
    ]);
  });

  it('joins many pieces of a column in the right order', () => {
    const count = 500;
    const value = Array.from({ length: count }, (_, index) => index * 1.25);
    const columns = {
      ...COLUMNS,
      value,
      series: value.map(() => 0),
      timestamp_delta_ms: value.map((_, index) => index * 1000),
    };
    const { samples } = accepted(decode(unpackedWireBatch(columns)));
    expect(samples).toEqual(accepted(decode(wireBatch(columns))).samples);
  });

  it('merges a table that comes in two fields, as protobuf does with a message', () => {
    const first = wireBatch({ series_table: { symbols: ['', 'power'], series: [{ name: 1 }] } });
    const second = wireBatch({ series_table: { symbols: ['energy'], series: [{ name: 2 }] } });
    const { table } = accepted(decode(Buffer.concat([first, second])));
    expect(table.series.map(({ name }) => name)).toEqual(['power', 'energy']);
  });

  it('takes the last of a number that comes twice, and passes over fields it does not know', () => {
    const frame = Buffer.concat([
      wireBatch({ sequence: 1 }),
      bytesField(100, 'from a later version'),
      Buffer.from([0xf3, 0x01, 0x08, 0x01, 0xf4, 0x01]), // a group
      wireBatch({ ...COLUMNS, sequence: 2 }),
    ]);
    expect(accepted(decode(frame)).sequence).toBe(2);
  });

  it('reads a batch without samples, and one without a table', () => {
    expect(accepted(decode(wireBatch({}))).samples.values).toHaveLength(0);
    expect(accepted(decode(wireBatch({}))).table.series).toEqual([]);
  });

  it('keeps no view of the frame', () => {
    const frame = encodeBatch({
      nodeId: 'n',
      epoch: 1,
      sequence: 1,
      table: TABLE,
      samples: SAMPLES,
    });
    const batch = accepted(decode(frame));
    frame.fill(0xff);
    expect(batch.samples).toEqual(SAMPLES);
    expect(batch.table).toEqual(TABLE);
    expect(batch.nodeId).toBe('n');
  });

  it('leaves the frame as it was, also where it joins pieces', () => {
    const frame = unpackedWireBatch(COLUMNS);
    const before = Buffer.from(frame);
    accepted(decode(frame));
    expect(frame).toEqual(before);
  });

  it('reads a frame that is a plain Uint8Array at an odd offset', () => {
    const frame = wireBatch(COLUMNS);
    const shifted = new Uint8Array(frame.length + 3);
    shifted.set(frame, 3);
    expect(accepted(decode(shifted.subarray(3))).samples.values).toEqual(Float64Array.of(1.5, 2.5));
  });
});

describe('the tables of a connection', () => {
  const frameWith = (name: string) =>
    wireBatch({ ...COLUMNS, series_table: { symbols: ['', name], series: [{ name: 1 }] } });

  it('are the same object while their bytes stay the same', () => {
    const decoder = new BatchDecoder(TEST_LIMITS);
    const first = accepted(decoder.decode(frameWith('a'))).table;
    expect(accepted(decoder.decode(frameWith('a'))).table).toBe(first);
  });

  it('are told apart by content where their lengths are equal', () => {
    const decoder = new BatchDecoder(TEST_LIMITS);
    accepted(decoder.decode(frameWith('a')));
    expect(accepted(decoder.decode(frameWith('z'))).table.series[0]?.name).toBe('z');
  });

  it('have no labels with empty values, and labels in the order of their keys', () => {
    const symbols = ['', 'up', 'zone', 'eu', 'app', 'x', 'gone'];
    const { table } = accepted(decode(tableOf(symbols, { name: 1, labels: [2, 3, 6, 0, 4, 5] })));
    expect(table.series[0]?.labels).toEqual([
      ['app', 'x'],
      ['zone', 'eu'],
    ]);
  });

  it('may carry a prototype key as a label and as a name', () => {
    const symbols = ['', '__proto__', 'constructor'];
    const { table } = accepted(decode(tableOf(symbols, { name: 1, labels: [1, 2] })));
    expect(table.series[0]).toMatchObject({
      name: '__proto__',
      labels: [['__proto__', 'constructor']],
    });
  });

  it('have series of an unknown kind as unspecified', () => {
    const { table } = accepted(decode(tableOf(['', 'up'], { name: 1, kind: 77 })));
    expect(table.series[0]?.kind).toBe('unspecified');
  });

  it('keep a byte order mark, which is part of the text', () => {
    const { table } = accepted(decode(tableOf(['', '\ufeffup'], { name: 1 })));
    expect(table.series[0]?.name).toBe('\ufeffup');
  });

  it('read labels that are not packed or come in pieces', () => {
    const series = Buffer.from([0x08, 1, 0x10, 2, 0x10, 3, 0x12, 2, 4, 5]);
    const symbols = ['', 'up', 'a', 'b', 'c', 'd'].map((symbol) => bytesField(1, symbol));
    const bytes = Buffer.concat([bytesField(2, series), ...symbols]);
    const frame = Buffer.concat([wireBatch({}), bytesField(5, bytes)]);
    expect(accepted(decode(frame)).table.series[0]?.labels).toEqual([
      ['a', 'b'],
      ['c', 'd'],
    ]);
  });
});

describe('a batch is refused as bad_series', () => {
  const long = 'x'.repeat(65);
  const reference = { name: 1, labels: [2, 3] };
  it.each<[string, Buffer, string]>([
    [
      'a name out of range',
      tableOf(['', 'a'], { name: 9 }),
      'name of series 0 points at symbol 9 of 2',
    ],
    ['no name', tableOf(['', 'a'], { name: 1 }, { unit: 1 }), 'series 1 has no name'],
    [
      'a unit out of range',
      tableOf(['', 'a'], { name: 1, unit: 2 }),
      'unit of series 0 points at symbol 2 of 2',
    ],
    [
      'a label key out of range',
      tableOf(['', 'a'], { name: 1, labels: [5, 1] }),
      'label key of series 0 points at symbol 5 of 2',
    ],
    [
      'a label value out of range',
      tableOf(['', 'a'], { name: 1, labels: [1, 5] }),
      'label value of series 0 points at symbol 5 of 2',
    ],
    [
      'a key without a value',
      tableOf(['', 'a'], { name: 1, labels: [1] }),
      'series 0 has a label key without a value',
    ],
    [
      'an empty key',
      tableOf(['', 'a'], { name: 1, labels: [0, 1] }),
      'series 0 has a label with an empty key',
    ],
    [
      'a key twice',
      tableOf(['', 'a', 'k', 'v'], { name: 1, labels: [2, 3, 2, 1] }),
      'series 0 has label "k" twice',
    ],
    [
      'a first symbol that is not empty',
      tableOf(['a'], { name: 0 }),
      'symbol 0 is not the empty string',
    ],
    [
      'too many labels',
      tableOf(['', 'a', 'b', 'c', 'd', 'e'], { name: 1, labels: [1, 1, 2, 1, 3, 1, 4, 1, 5, 1] }),
      'series 0 has 5 labels, over the limit of 4',
    ],
    [
      'a long name',
      tableOf(['', long], { name: 1 }),
      'name of series 0 has 65 bytes, over the limit of 64',
    ],
    [
      'a long unit',
      tableOf(['', 'a', long], { name: 1, unit: 2 }),
      'unit of series 0 has 65 bytes, over the limit of 64',
    ],
    [
      'a long label key',
      tableOf(['', 'a', long, 'v'], reference),
      'label key of series 0 has 65 bytes, over the limit of 64',
    ],
    [
      'a long label value',
      tableOf(['', 'a', 'k', long], reference),
      'label value of series 0 has 65 bytes, over the limit of 64',
    ],
    [
      'a symbol that is not UTF-8',
      Buffer.concat([wireBatch({}), bytesField(5, Buffer.from([0x0a, 0, 0x0a, 1, 0xff]))]),
      'symbol 1 is not UTF-8',
    ],
    [
      'a table that is not protobuf',
      Buffer.concat([wireBatch({}), bytesField(5, 'hello')]),
      'series table is not protobuf: invalid wire type',
    ],
    [
      'a series past its end',
      Buffer.concat([wireBatch({}), bytesField(5, Buffer.from([0x12, 5, 1]))]),
      'series table is not protobuf: index out of range',
    ],
  ])('for %s', (_, frame, message) => {
    const result = decode(frame);
    expect(result).toMatchObject({ ok: false, reason: 'bad_series' });
    expect(result).toHaveProperty('message', expect.stringContaining(message));
  });
});

describe('a batch is refused as bad_frame', () => {
  const numbered = { ...COLUMNS, epoch: 3, sequence: 4 };
  it.each<[string, Buffer, string]>([
    ['bytes that are not protobuf', Buffer.from('GET / HTTP/1.1'), 'not a MetricBatch'],
    [
      'a field past the end',
      wireBatch(numbered).subarray(0, -3),
      'not a MetricBatch: field of 16 bytes',
    ],
    ['field number 0', Buffer.from([0x00, 0x01]), 'not a MetricBatch: illegal tag'],
    [
      'an epoch of 2^53',
      wireBatch({ ...COLUMNS, epoch: '9007199254740992' }),
      'epoch is 2^53 or more',
    ],
    [
      'a sequence of 2^64 - 1',
      wireBatch({ ...COLUMNS, sequence: '18446744073709551615' }),
      'sequence is 2^53 or more',
    ],
    [
      'a stray series',
      wireBatch({ ...COLUMNS, series: [0, 99] }),
      'sample 1 points at series 99 of 1',
    ],
    [
      'samples without a table',
      wireBatch({ series: [0], timestamp_delta_ms: [NOW], value: [1] }),
      'sample 0 points at series 0 of 0',
    ],
    [
      'too few series',
      wireBatch({ ...COLUMNS, series: [0] }),
      'series has 1 entries and value has 2',
    ],
    [
      'too many series',
      wireBatch({ ...COLUMNS, series: [0, 0, 0] }),
      'series has more entries than value, which has 2',
    ],
    [
      'too few times',
      wireBatch({ ...COLUMNS, timestamp_delta_ms: [] }),
      'timestamp_delta_ms has 0 entries and value has 2',
    ],
    [
      'too many times',
      wireBatch({ ...COLUMNS, timestamp_delta_ms: [1, 2, 3] }),
      'timestamp_delta_ms has more entries than value, which has 2',
    ],
    [
      'half a value',
      Buffer.concat([wireBatch(COLUMNS), bytesField(8, '1234')]),
      'value has 4 bytes, which is not a multiple of 8',
    ],
    [
      'half a series index',
      Buffer.concat([wireBatch(COLUMNS), bytesField(6, Buffer.of(0x80))]),
      'series ends in the middle of a number',
    ],
    [
      'an index of more than 32 bits',
      wireBatchWithSeries([0xff, 0xff, 0xff, 0xff, 0x1f]),
      'series holds a number that is too long',
    ],
    [
      'an endless index',
      wireBatchWithSeries([0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
      'series holds a number that is too long',
    ],
    [
      'an impossible time',
      wireBatch({ ...COLUMNS, timestamp_delta_ms: [8.64e15, 1] }),
      'sample 1 has the impossible time 8640000000000001 ms',
    ],
    [
      'a node id that is not UTF-8',
      Buffer.concat([wireBatch({}), bytesField(2, Buffer.of(0xc0))]),
      'node_id is not UTF-8',
    ],
    [
      'a long node id',
      wireBatch({ node_id: 'n'.repeat(65) }),
      'node_id has 65 bytes, over the limit of 64',
    ],
  ])('for %s', (_, frame, message) => {
    const result = decode(frame);
    expect(result).toMatchObject({ ok: false, reason: 'bad_frame' });
    expect(result).toHaveProperty('message', expect.stringContaining(message));
  });

  it('with what is known of it', () => {
    const cut = Buffer.concat([wireBatch(numbered), Buffer.of(0x4a, 0x05)]);
    expect(decode(cut)).toMatchObject({ ok: false, epoch: 3, sequence: 4, sampleCount: 2 });
    const huge = wireBatch({ ...COLUMNS, epoch: '18446744073709551615', sequence: 4 });
    expect(decode(huge)).toMatchObject({ ok: false, epoch: 0, sequence: 4, sampleCount: 2 });
  });
});

function wireBatchWithSeries(packed: number[]): Buffer {
  const { series: _, ...rest } = COLUMNS;
  const frame = wireBatch({ ...rest, timestamp_delta_ms: [NOW], value: [1] });
  return Buffer.concat([frame, bytesField(6, Buffer.from(packed))]);
}

describe('a batch is refused', () => {
  it('as schema_version before anything that could depend on the version', () => {
    const frame = Buffer.concat([
      wireBatch({ ...COLUMNS, schema_version: 2, epoch: '18446744073709551615', series: [9] }),
      bytesField(5, 'a table of another version'),
    ]);
    const message = 'schema_version is 2, not 1';
    expect(decode(frame)).toMatchObject({ ok: false, reason: 'schema_version', message });
    expect(decode(Buffer.alloc(0))).toMatchObject({ reason: 'schema_version' });
  });

  it('as too_large for one sample too many, and taken with as many as allowed', () => {
    const message = 'batch has 2 samples, over the limit of 1';
    const refused = { ok: false, reason: 'too_large', message, sampleCount: 2 };
    expect(decode(wireBatch(COLUMNS), { maxBatchSamples: 1 })).toMatchObject(refused);
    const rows = [{ name: 'a' }, { name: 'b' }];
    expect(decode(wireBatch({ metrics: rows }), { maxBatchSamples: 1 })).toMatchObject(refused);
    expect(decode(wireBatch(COLUMNS), { maxBatchSamples: 2 }).ok).toBe(true);
  });
});
