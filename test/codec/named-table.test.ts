import { describe, expect, it } from 'vitest';
import {
  BatchDecoder,
  type DecodeLimits,
  type DecodeResult,
} from '../../src/codec/decode-batch.ts';
import { encodeBatch } from '../../src/codec/encode-batch.ts';
import { encodeSeriesTable, seriesTableId } from '../../src/codec/series-table.ts';
import { seriesTableIdField } from '../../src/codec/table-naming.ts';
import type { Batch } from '../../src/domain/telemetry.ts';
import { bytesField, TEST_LIMITS, type WireBatch, wireBatch } from '../helpers/wire-batch.ts';

const TABLE = encodeSeriesTable([
  { name: 'power', labels: [['gpu', '0']], kind: 'gauge', unit: 'W' },
  { name: 'power', labels: [['gpu', '1']], kind: 'gauge', unit: 'W' },
  { name: 'energy', labels: [['gpu', '0']], kind: 'counter', unit: 'mJ' },
]);
const NOW = 1_753_000_000_000;
const SAMPLES = {
  series: Uint32Array.of(0, 2, 1),
  timestampsMs: Float64Array.of(NOW, NOW - 90_000, NOW + 1),
  values: Float64Array.of(100.5, -0, 1e300),
};
const COLUMNS: WireBatch = {
  series_table: { symbols: ['', 'power'], series: [{ name: 1, kind: 1 }] },
  series: [0, 0],
  timestamp_delta_ms: [NOW, 5],
  value: [1.5, 2.5],
};

function decode(frame: Uint8Array): DecodeResult {
  return new BatchDecoder(TEST_LIMITS).decode(frame);
}

function accepted(result: DecodeResult): Batch {
  if (!result.ok) throw new Error(`${result.reason}: ${result.message}`);
  return result.batch;
}

describe('a named table', () => {
  const whole = { nodeId: 'node-1', epoch: 1, sequence: 1, table: TABLE, samples: SAMPLES };
  const named = (id = TABLE.id, batch: WireBatch = {}) =>
    Buffer.concat([
      wireBatch({ series: [2], timestamp_delta_ms: [NOW], value: [7], ...batch }),
      bytesField(10, Buffer.from(id, 'hex')),
    ]);

  it('is the one that came before, for columns and for rows', () => {
    const decoder = new BatchDecoder(TEST_LIMITS);
    const { table } = accepted(decoder.decode(encodeBatch(whole)));
    const again = accepted(decoder.decode(named()));
    expect(again.table).toBe(table);
    expect(again.samples.series).toEqual(Uint32Array.of(2));
    const rows = accepted(decoder.decode(named(TABLE.id, { metrics: [{ name: 'up' }] })));
    expect(rows.table.series.map(({ name }) => name)).toEqual(['power', 'power', 'energy', 'up']);
    expect(accepted(decoder.decode(named())).table).toBe(table);
  });

  it.each<[string, Uint8Array, Partial<DecodeLimits>]>([
    ['too large', encodeBatch(whole), { maxBatchSamples: 2 }],
    ['without a right name', encodeBatch({ ...whole, nodeId: 'x'.repeat(100) }), {}],
    ['of a wrong epoch', wireBatch({ ...COLUMNS, epoch: '18446744073709551615' }), {}],
    ['with columns that do not fit', wireBatch({ ...COLUMNS, value: [1] }), {}],
  ])('may have come with a batch that was refused: %s', (_, frame, limits) => {
    const decoder = new BatchDecoder({ ...TEST_LIMITS, ...limits });
    expect(decoder.decode(frame).ok).toBe(false);
    const ids = [TABLE.id, accepted(decode(wireBatch(COLUMNS))).table.id];
    const results = ids.map((id) => decoder.decode(named(id, { series: [0] })).ok);
    expect(results.filter(Boolean)).toHaveLength(1);
  });

  it('is refused where no batch of the connection had it', () => {
    const decoder = new BatchDecoder(TEST_LIMITS);
    decoder.decode(wireBatch(COLUMNS));
    const message = `series_table_id ${TABLE.id} names no table that came before`;
    expect(decoder.decode(named())).toMatchObject({
      reason: 'bad_series',
      message,
      sampleCount: 1,
    });
  });

  it('is refused beside a table, and with an id of another length', () => {
    const both = Buffer.concat([wireBatch(COLUMNS), bytesField(10, Buffer.alloc(16))]);
    const message = 'both series_table and series_table_id are given';
    expect(decode(both)).toMatchObject({ reason: 'bad_frame', message });
    for (const bytes of [1, 15, 17]) {
      const wrong = `series_table_id has ${bytes} bytes, not 16`;
      expect(decode(named('00'.repeat(bytes)))).toMatchObject({
        reason: 'bad_frame',
        message: wrong,
      });
    }
  });

  it('is remembered while it is the last one, whatever its size', () => {
    const large = encodeSeriesTable(
      Array.from({ length: 60_000 }, (_, index) => ({
        ...{ name: `metric_${index}`, labels: [], unit: '' },
        kind: 'gauge' as const,
      })),
    );
    const decoder = new BatchDecoder(TEST_LIMITS);
    accepted(decoder.decode(encodeBatch({ ...whole, table: large })));
    expect(decoder.decode(named(large.id)).ok).toBe(true);
  });

  it('knows a table by what its series say, whatever symbols are sent with it', () => {
    const up = (unused: string) =>
      `0801 12016e 1805 2006 2a0f 0a00 0a027570 0a01${unused} 120408011801 3200 3a00 4200`;
    const decoder = new BatchDecoder(TEST_LIMITS);
    const bytes = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex');
    const [a, b] = ['61', '62'].map((unused) => accepted(decoder.decode(bytes(up(unused)))).table);
    expect(b?.id).toBe(a?.id);
    expect(b?.bytes).toEqual(encodeSeriesTable(a?.series ?? []).bytes);
    // Batches go on naming it by what was sent.
    const sent = bytes('0a000a0275700a0162120408011801');
    const named = `0801 12016e 1805 2007 ${Buffer.from(seriesTableIdField(seriesTableId(sent))).toString('hex')} 3200 3a00 4200`;
    expect(accepted(decoder.decode(bytes(named))).table.id).toBe(a?.id);
  });
});
