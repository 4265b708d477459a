import { describe, expect, it } from 'vitest';
import { BatchDecoder, type DecodeResult } from '../../src/codec/decode-batch.ts';
import type { Batch } from '../../src/domain/telemetry.ts';
import { bytesField, TEST_LIMITS, type WireRow, wireBatch } from '../helpers/wire-batch.ts';

const NOW = 1_753_000_000_000;

function row(overrides: WireRow = {}): WireRow {
  const labels = { host: 'a', gpu: '0' };
  return { name: 'power', labels, kind: 1, unit: 'W', timestamp_ms: NOW, value: 7, ...overrides };
}

function decode(frame: Buffer): DecodeResult {
  return new BatchDecoder(TEST_LIMITS).decode(frame);
}

function accepted(result: DecodeResult): Batch {
  if (!result.ok) throw new Error(`${result.reason}: ${result.message}`);
  return result.batch;
}

describe('the row form', () => {
  it('becomes columns and a table', () => {
    const metrics = [
      row(),
      row({ name: 'energy', kind: 2, unit: 'mJ', value: -1 }),
      row({ value: 8 }),
    ];
    const { table, samples } = accepted(decode(wireBatch({ metrics })));
    const labels = [
      ['gpu', '0'],
      ['host', 'a'],
    ];
    expect(table.series).toEqual([
      { name: 'power', labels, kind: 'gauge', unit: 'W' },
      { name: 'energy', labels, kind: 'counter', unit: 'mJ' },
    ]);
    expect(samples).toEqual({
      series: Uint32Array.of(0, 1, 0),
      timestampsMs: Float64Array.of(NOW, NOW, NOW),
      values: Float64Array.of(7, -1, 8),
    });
  });

  it('is appended to the columns of the same batch, in one table', () => {
    const frame = wireBatch({
      series_table: {
        symbols: ['', 'power', 'gpu', '0', 'host', 'a', 'W'],
        series: [{ name: 1, labels: [2, 3, 4, 5], kind: 1, unit: 6 }],
      },
      series: [0],
      timestamp_delta_ms: [NOW],
      value: [1],
      metrics: [row({ name: 'new' }), row()],
    });
    const { table, samples } = accepted(decode(frame));
    expect(table.series.map(({ name }) => name)).toEqual(['power', 'new']);
    expect([...samples.series]).toEqual([0, 1, 0]);
    expect([...samples.values]).toEqual([1, 7, 7]);
  });

  it('keeps one table while the sender repeats its series', () => {
    const decoder = new BatchDecoder(TEST_LIMITS);
    const send = (value: number) =>
      accepted(decoder.decode(wireBatch({ metrics: [row({ value }), row({ name: 'b', value })] })));
    const first = send(1);
    const second = send(0);
    expect(second.table).toBe(first.table);
    expect([...second.samples.values]).toEqual([0, 0]);
    expect([...second.samples.series]).toEqual([0, 1]);
  });

  it('notices every change of its series', () => {
    const decoder = new BatchDecoder(TEST_LIMITS);
    const names = (metrics: WireRow[]) => {
      const { table, samples } = accepted(decoder.decode(wireBatch({ metrics })));
      return [...samples.series].map(
        (index) => `${table.series[index]!.name} ${table.series[index]!.unit}`,
      );
    };
    expect(names([row(), row({ name: 'b' })])).toEqual(['power W', 'b W']);
    expect(names([row({ name: 'b' }), row()])).toEqual(['b W', 'power W']);
    expect(names([row({ name: 'b' })])).toEqual(['b W']);
    expect(names([row({ name: 'b', unit: 'V' })])).toEqual(['b V']);
    expect(names([row({ name: 'b', unit: 'V' }), row()])).toEqual(['b V', 'power W']);
  });

  it('reads rows whose time and value do not come last, and says the same of them each time', () => {
    const plain = wireBatch({ metrics: [row()] });
    // value, timestamp_ms, then the name
    const odd = Buffer.concat([
      Buffer.from('31000000000000f03f', 'hex'),
      Buffer.from('2805', 'hex'),
      bytesField(1, 'late'),
    ]);
    const decoder = new BatchDecoder(TEST_LIMITS);
    accepted(decoder.decode(plain));
    for (let round = 0; round < 2; round += 1) {
      const { table, samples } = accepted(
        decoder.decode(Buffer.concat([wireBatch({}), bytesField(9, odd)])),
      );
      expect(table.series[0]?.name).toBe('late');
      expect([...samples.timestampsMs, ...samples.values]).toEqual([5, 1]);
    }
  });

  it('takes the last value of a label that comes twice, as in any map', () => {
    const entry = (value: string) =>
      bytesField(2, Buffer.concat([bytesField(1, 'k'), bytesField(2, value)]));
    const metric = Buffer.concat([bytesField(1, 'up'), entry('first'), entry('last')]);
    const { table } = accepted(decode(Buffer.concat([wireBatch({}), bytesField(9, metric)])));
    expect(table.series[0]?.labels).toEqual([['k', 'last']]);
  });

  it('may carry prototype keys as labels', () => {
    const labels = JSON.parse('{"__proto__":"x","constructor":"y"}');
    const { table } = accepted(decode(wireBatch({ metrics: [row({ labels })] })));
    expect(table.series[0]?.labels).toEqual([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ]);
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });

  it('drops labels with an empty value', () => {
    const { table } = accepted(
      decode(wireBatch({ metrics: [row({ labels: { a: '', b: 'c' } })] })),
    );
    expect(table.series[0]?.labels).toEqual([['b', 'c']]);
  });

  it('does not confuse series whose texts run together the same way', () => {
    const metrics = [row({ labels: { a: 'bc' } }), row({ labels: { ab: 'c' } })];
    expect(accepted(decode(wireBatch({ metrics }))).table.series).toHaveLength(2);
  });

  it('reads times before 1970, and refuses those that are no times', () => {
    const frame = (timestamp_ms: number) => wireBatch({ metrics: [row({ timestamp_ms })] });
    expect([...accepted(decode(frame(-5))).samples.timestampsMs]).toEqual([-5]);
    const message = 'sample 0 has the impossible time 8640000000000002 ms';
    expect(decode(frame(8.64e15 + 2))).toMatchObject({ reason: 'bad_frame', message });
  });

  const long = 'x'.repeat(65);
  it.each<[string, WireRow, string]>([
    ['no name', row({ name: '' }), 'row 1 has no metric name'],
    ['an empty key', row({ labels: { '': 'x' } }), 'row 1 has a label with an empty key'],
    ['a long name', row({ name: long }), 'metric name of row 1 has 65 bytes, over the limit of 64'],
    ['a long unit', row({ unit: long }), 'unit of row 1 has 65 bytes, over the limit of 64'],
    [
      'a long key',
      row({ labels: { [long]: 'v' } }),
      'label key of row 1 has 65 bytes, over the limit of 64',
    ],
    [
      'a long value',
      row({ labels: { k: long } }),
      'label value of row 1 has 65 bytes, over the limit of 64',
    ],
    [
      'many labels',
      row({ labels: { a: '1', b: '1', c: '1', d: '1', e: '1' } }),
      'row 1 has 5 labels, over the limit of 4',
    ],
  ])('is refused as bad_series for %s', (_, bad, message) => {
    const result = decode(wireBatch({ metrics: [row(), bad] }));
    expect(result).toMatchObject({ ok: false, reason: 'bad_series', message, sampleCount: 2 });
  });

  it('is refused as bad_series for a name that is not UTF-8', () => {
    const metric = bytesField(1, Buffer.of(0xed, 0xa0, 0x80));
    const result = decode(Buffer.concat([wireBatch({}), bytesField(9, metric)]));
    expect(result).toMatchObject({
      reason: 'bad_series',
      message: 'metric name of row 0 is not UTF-8',
    });
  });

  it('is refused as bad_frame for a row that is not protobuf, also after a good one like it', () => {
    const good = bytesField(1, 'up');
    const decoder = new BatchDecoder(TEST_LIMITS);
    accepted(decoder.decode(Buffer.concat([wireBatch({}), bytesField(9, good)])));
    for (const tail of [Buffer.of(0x31, 1, 2), Buffer.of(0x28, 0x80), Buffer.of(0x0a, 0x7f)]) {
      const frame = Buffer.concat([wireBatch({}), bytesField(9, Buffer.concat([good, tail]))]);
      expect(decoder.decode(frame)).toMatchObject({ ok: false, reason: 'bad_frame' });
    }
  });
});
