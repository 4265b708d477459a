import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { decodeSeriesTable, encodeSeriesTable } from '../../src/codec/series-table.ts';
import type { Series } from '../../src/domain/telemetry.ts';
import { SeededRandom } from '../helpers/seeded-random.ts';
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

  it('have the bytes that a protobuf library writes, whatever the texts and their number', () => {
    const random = new SeededRandom(3);
    const text = () => random.pick(['', 'ä', '温度', 'x'.repeat(200)]) + random.below(400);
    for (const count of [0, 1, 2, 40, 700]) {
      const shared = Array.from({ length: 5 }, () => [[text(), text()] as const]);
      const series = Array.from({ length: count }, (_, index): Series => {
        const labels = random.pick<Series['labels']>([[], [['k', text()]], ...shared]);
        const kind = random.pick(['unspecified', 'gauge', 'counter'] as const);
        return { name: text(), labels, kind, unit: index % 2 === 0 ? '' : text() };
      });
      expect(Buffer.from(encodeSeriesTable(series).bytes)).toEqual(libraryBytes(series));
    }
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

/** A table as protobufjs writes it, its symbols in the order of first use. */
function libraryBytes(series: readonly Series[]): Buffer {
  const symbols = [''];
  const refer = (text: string) => {
    const known = symbols.indexOf(text);
    return known >= 0 ? known : symbols.push(text) - 1;
  };
  const encoded = series.map(({ name, labels, kind, unit }) => ({
    name: refer(name),
    labels: labels.flatMap(([key, value]) => [refer(key), refer(value)]),
    kind: ['unspecified', 'gauge', 'counter'].indexOf(kind),
    unit: refer(unit),
  }));
  return Buffer.from(protoType('SeriesTable').encode({ symbols, series: encoded }).finish());
}
