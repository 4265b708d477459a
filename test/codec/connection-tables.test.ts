import { describe, expect, it } from 'vitest';
import { BatchDecoder, type DecodeResult } from '../../src/codec/decode-batch.ts';
import { encodeBatch } from '../../src/codec/encode-batch.ts';
import { REMEMBERED_TABLES } from '../../src/codec/remembered-tables.ts';
import { encodeSeriesTable, seriesTableId } from '../../src/codec/series-table.ts';
import { seriesTableIdField } from '../../src/codec/table-naming.ts';
import type { SeriesTable } from '../../src/domain/telemetry.ts';
import { TEST_LIMITS, type WireBatch, wireBatch } from '../helpers/wire-batch.ts';

const NOW = 1_753_000_000_000;

function tableOf(name: string, series = 1): SeriesTable {
  return encodeSeriesTable(
    Array.from({ length: series }, (_, index) => ({
      ...{ name: `${name}_${index}`, labels: [], unit: '' },
      kind: 'gauge' as const,
    })),
  );
}

function whole(table: SeriesTable): Uint8Array {
  const samples = {
    series: Uint32Array.of(0),
    timestampsMs: Float64Array.of(NOW),
    values: Float64Array.of(1),
  };
  return encodeBatch({ nodeId: 'node-1', epoch: 1, sequence: 1, table, samples });
}

function named(table: SeriesTable, batch: WireBatch = {}): Uint8Array {
  const columns = { series: [0], timestamp_delta_ms: [NOW], value: [1], ...batch };
  return Buffer.concat([wireBatch(columns), seriesTableIdField(table.id)]);
}

function rows(...names: string[]): Uint8Array {
  return wireBatch({ node_id: 'node-1', metrics: names.map((name) => ({ name, value: 1 })) });
}

/** A decoder whose node may have `left.bytes` bytes read, and what it was asked for. */
function decoderWith(bytes = Number.POSITIVE_INFINITY) {
  const left = { bytes };
  const asked: [nodeId: string, bytes: number][] = [];
  const decoder = new BatchDecoder(TEST_LIMITS, {
    charge(nodeId, cost) {
      asked.push([nodeId, cost]);
      if (cost > left.bytes) return 700;
      left.bytes -= cost;
      return 0;
    },
  });
  const decode = (frame: Uint8Array) => decoder.decode(frame);
  return { left, asked, decode };
}

function seriesOf(result: DecodeResult): string[] | undefined {
  return result.ok ? result.batch.table.series.map(({ name }) => name) : undefined;
}

describe('reading a table', () => {
  it('is asked for once for each of ten that take turns, sent or named', () => {
    const { asked, decode } = decoderWith();
    const tables = Array.from({ length: 10 }, (_, index) => tableOf(`m${index}`, 300));
    for (let round = 0; round < 5; round += 1) {
      for (const table of tables) {
        const result = decode(round % 2 === 0 ? whole(table) : named(table));
        expect(result).toMatchObject({ ok: true, batch: { table: { id: table.id } } });
      }
    }
    expect(asked).toEqual(tables.map(({ bytes }) => ['node-1', bytes.length]));
  });

  it('is refused for a while where the node has no budget left, with the time to wait', () => {
    const { left, asked, decode } = decoderWith(0);
    const table = tableOf('m');
    const postponed = { ok: false, reason: 'node_tables', retryAfterMs: 700, sampleCount: 1 };
    expect(decode(whole(table))).toMatchObject({ ...postponed, epoch: 1, sequence: 1 });
    expect(decode(whole(table))).toMatchObject(postponed);
    expect(asked).toHaveLength(2);
    left.bytes = 1000;
    expect(seriesOf(decode(whole(table)))).toEqual(['m_0']);
    expect(left.bytes).toBe(1000 - table.bytes.length);
  });

  it('happens when a batch names the table, where its own batch had to wait', () => {
    const { left, decode } = decoderWith(0);
    const [first, second] = [tableOf('first'), tableOf('second')];
    for (const table of [first, second]) expect(decode(whole(table)).ok).toBe(false);
    left.bytes = 1000;
    expect(seriesOf(decode(named(first)))).toEqual(['first_0']);
    expect(seriesOf(decode(named(second)))).toEqual(['second_0']);
  });

  it('is paid for whatever is found in it', () => {
    const { asked, decode } = decoderWith();
    const broken = { symbols: ['not empty'], series: [{ name: 1 }] };
    const frame = wireBatch({ node_id: 'n', series_table: broken });
    for (let round = 0; round < 2; round += 1) {
      expect(decode(frame)).toMatchObject({ ok: false, reason: 'bad_series' });
    }
    expect(asked.map(([nodeId]) => nodeId)).toEqual(['n', 'n']);
  });

  it('is asked for anew where there was no memory for what it says, by name too', () => {
    const { asked, decode } = decoderWith();
    const large = ['a', 'b'].map((name) => tableOf(name, 60_000));
    const [a, b] = large.map((table) => ({ ...table, bytes: table.bytes }));
    expect(a!.bytes.length + b!.bytes.length).toBeLessThan(REMEMBERED_TABLES.bytes);
    for (const table of [a!, b!]) decode(whole(table));
    for (const table of [a!, b!, b!]) expect(decode(named(table)).ok).toBe(true);
    expect(asked).toHaveLength(4);
  });
});

describe('reading rows', () => {
  it('is asked for where they are not those of the frame before', () => {
    const { left, asked, decode } = decoderWith();
    for (let round = 0; round < 3; round += 1) decode(rows('a', 'b'));
    expect(asked).toEqual([['node-1', rows('a', 'b').length]]);
    left.bytes = 0;
    expect(decode(rows('a', 'b')).ok).toBe(true);
    expect(decode(rows('a', 'c'))).toMatchObject({ reason: 'node_tables', retryAfterMs: 700 });
  });

  it('counts the table that they are added to', () => {
    const { asked, decode } = decoderWith();
    const table = tableOf('m', 5000);
    decode(whole(table));
    for (const name of ['a', 'b']) decode(named(table, { metrics: [{ name }] }));
    expect(asked.slice(1).every(([, bytes]) => bytes > table.bytes.length)).toBe(true);
    expect(asked).toHaveLength(3);
  });
});

describe('the tables that a batch may name', () => {
  const { decode } = decoderWith();

  it('are the last 64, by their last use', () => {
    const tables = Array.from({ length: 65 }, (_, index) => tableOf(`t${index}`));
    for (const table of tables.slice(0, 64)) decode(whole(table));
    expect(decode(named(tables[0]!)).ok).toBe(true);
    decode(whole(tables[64]!));
    expect(tables.map((table) => decode(named(table)).ok)).toEqual(
      tables.map((_, index) => index !== 1),
    );
  });

  it('are those of the last 2 MiB, and the newest in any case', () => {
    const symbols = ['', 'm', 'x'.repeat(1024 * 1024)];
    const sent = ['a', 'b', 'c'].map((unused) => {
      const batch = { series_table: { symbols: [...symbols, unused], series: [{ name: 1 }] } };
      return wireBatch(batch);
    });
    const ids = sent.map((frame) => {
      expect(decode(frame).ok).toBe(true);
      return seriesTableId(frame.subarray(frame.indexOf('0a00', 0, 'hex')));
    });
    const known = ids.map((id) => decode(named({ ...tableOf('m'), id })).ok);
    expect(known).toEqual([false, false, true]);
  });
});
