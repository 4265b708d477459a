import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { decodeSeriesTable, encodeSeriesTable } from '../../src/codec/series-table.ts';
import type { Series } from '../../src/domain/telemetry.ts';
import { protoType } from '../helpers/wire-batch.ts';

const SERIES: readonly Series[] = [
  {
    name: 'power',
    labels: [
      ['gpu', '0'],
      ['host', 'ä-1'],
    ],
    kind: 'gauge',
    unit: 'W',
  },
  {
    name: 'energy',
    labels: [
      ['gpu', '0'],
      ['host', 'ä-1'],
    ],
    kind: 'counter',
    unit: 'mJ',
  },
  { name: '温度', labels: [], kind: 'unspecified', unit: '' },
];

describe('series tables', () => {
  it('come back as they were encoded', () => {
    const table = encodeSeriesTable(SERIES);
    expect(decodeSeriesTable(table.bytes)).toEqual(table);
    expect(table.series).toEqual(SERIES);
  });

  it('have bytes that are pinned down to the last one', () => {
    const table = encodeSeriesTable([
      { name: 'up', labels: [['a', 'b']], kind: 'gauge', unit: 's' },
    ]);
    const hex = [
      '0a00', // symbols[0] = ""
      '0a027570', // symbols[1] = "up"
      '0a0161', // symbols[2] = "a"
      '0a0162', // symbols[3] = "b"
      '0a0173', // symbols[4] = "s"
      '120a', // series[0], 10 bytes
      '0801', // name 1
      '12020203', // labels 2 3, packed
      '1801', // kind gauge
      '2004', // unit 4
    ].join('');
    expect(Buffer.from(table.bytes).toString('hex')).toBe(hex);
    const digest = createHash('sha256').update(Buffer.from(hex, 'hex')).digest('hex');
    expect(table.id).toBe(digest.slice(0, 32));
  });

  it('are the same table for the same series, and another for others', () => {
    expect(encodeSeriesTable(SERIES).bytes).toEqual(encodeSeriesTable([...SERIES]).bytes);
    expect(encodeSeriesTable(SERIES).id).not.toBe(encodeSeriesTable(SERIES.toReversed()).id);
  });

  it('read as the contract says with another protobuf decoder', () => {
    const decoded = protoType('SeriesTable').toObject(
      protoType('SeriesTable').decode(encodeSeriesTable(SERIES).bytes),
    );
    expect(decoded.symbols).toEqual([
      '',
      'power',
      'gpu',
      '0',
      'host',
      'ä-1',
      'W',
      'energy',
      'mJ',
      '温度',
    ]);
    expect(decoded.series[1]).toEqual({ name: 7, labels: [2, 3, 4, 5], kind: 2, unit: 8 });
  });

  it('share one label array among series with the same labels', () => {
    const { series } = decodeSeriesTable(encodeSeriesTable(SERIES).bytes);
    expect(series[0]!.labels).toBe(series[1]!.labels);
  });

  it('own their bytes', () => {
    const bytes = new Uint8Array(encodeSeriesTable(SERIES).bytes);
    const table = decodeSeriesTable(bytes);
    const before = new Uint8Array(table.bytes);
    bytes.fill(0);
    expect(table.bytes).toEqual(before);
    expect(table.bytes.byteOffset).toBe(0);
    expect(table.bytes.buffer.byteLength).toBe(table.bytes.length);
  });

  it('may be empty', () => {
    expect(decodeSeriesTable(encodeSeriesTable([]).bytes).series).toEqual([]);
    expect(decodeSeriesTable(new Uint8Array(0)).series).toEqual([]);
  });

  it('are refused with a code where the bytes are something else', () => {
    expect(() => decodeSeriesTable(Buffer.from('hello'))).toThrowError(
      expect.objectContaining({ code: 'BAD_SERIES_TABLE' }),
    );
  });
});
