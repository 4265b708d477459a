import { expect, it } from 'vitest';
import { BatchDecoder } from '../../src/codec/decode-batch.ts';
import { encodeBatch } from '../../src/codec/encode-batch.ts';
import { encodeFrame, FrameSplitter } from '../../src/codec/framing.ts';
import { REMEMBERED_TABLES } from '../../src/codec/remembered-tables.ts';
import { encodeSeriesTable } from '../../src/codec/series-table.ts';
import { TableNaming } from '../../src/codec/table-naming.ts';
import type { SeriesTable } from '../../src/domain/telemetry.ts';
import { SeededRandom } from '../helpers/seeded-random.ts';
import { bytesField, TEST_LIMITS, wireBatch } from '../helpers/wire-batch.ts';

const POWER = tableOf('power');
const ENERGY = tableOf('energy');

function tableOf(...names: string[]): SeriesTable {
  return encodeSeriesTable(
    names.map((name) => ({ name, labels: [['gpu', '0']], kind: 'gauge', unit: 'W' })),
  );
}

function frameOf(table: SeriesTable, sequence: number): Uint8Array {
  const samples = {
    series: Uint32Array.of(0),
    timestampsMs: Float64Array.of(1_753_000_000_000 + sequence),
    values: Float64Array.of(sequence),
  };
  return encodeFrame(encodeBatch({ nodeId: 'node-1', epoch: 5, sequence, table, samples }));
}

/** What a collector makes of the parts, as one stream. */
function received(sent: readonly (readonly Uint8Array[])[]): unknown[] {
  const decoder = new BatchDecoder(TEST_LIMITS);
  const splitter = new FrameSplitter(1_000_000);
  const results: unknown[] = [];
  for (const part of sent.flat()) {
    splitter.push(part, (frame) => results.push(decoder.decode(frame)));
  }
  expect(splitter.bufferedBytes).toBe(0);
  return results;
}

it('means the same as the frames it was given, in fewer bytes', () => {
  const tables = [POWER, POWER, ENERGY, ENERGY, ENERGY, POWER, POWER];
  const frames = tables.map((table, index) => frameOf(table, index + 1));
  const naming = new TableNaming(REMEMBERED_TABLES);
  const sent = frames.map((frame) => naming.shorten(frame));
  expect(received(sent)).toEqual(received(frames.map((frame) => [frame])));
  const isWhole = sent.map((parts) => parts.length === 1);
  expect(isWhole).toEqual([true, false, true, false, false, false, false]);
  const bytes = (parts: readonly Uint8Array[]) => parts.reduce((sum, part) => sum + part.length, 0);
  const tableField = POWER.bytes.length + 2;
  expect(bytes(sent[1]!)).toBe(bytes(sent[0]!) - tableField + 18);
});

it('names the newest table alone where the collector promises no more', () => {
  const naming = new TableNaming({ tables: 0, bytes: 0 });
  const tables = [POWER, POWER, ENERGY, POWER, POWER];
  const sent = tables.map((table, index) => naming.shorten(frameOf(table, index + 1)));
  expect(sent.map((parts) => parts.length === 1)).toEqual([true, false, true, true, false]);
});

it('names what the collector remembers, whatever the order and the size of the tables', () => {
  const random = new SeededRandom(5);
  const tables = Array.from({ length: 90 }, (_, index) => {
    const pad = index % 30 === 0 ? 'x'.repeat(700_000) : '';
    const names = Array.from({ length: 1 + random.below(40) }, (_, at) => `m_${index}_${at}`);
    return { table: tableOf(...names), pad };
  });
  const naming = new TableNaming(REMEMBERED_TABLES);
  const decoder = new BatchDecoder(TEST_LIMITS);
  let named = 0;
  for (let round = 1; round <= 2000; round += 1) {
    // Mostly some favourites, at times any of them.
    const { table, pad } = tables[random.below(random.chance(0.9) ? 40 : 90)]!;
    const unused = bytesField(1, Buffer.from(pad));
    const frame = frameOf({ ...table, bytes: Buffer.concat([table.bytes, unused]) }, round);
    const parts = naming.shorten(frame);
    if (parts.length > 1) named += 1;
    const result = decoder.decode(Buffer.concat(parts).subarray(4));
    expect(result).toMatchObject({ ok: true, batch: { sequence: round, table: { id: table.id } } });
  }
  expect(named).toBeGreaterThan(1000);
});

it('takes tables with the same length for different ones', () => {
  const naming = new TableNaming(REMEMBERED_TABLES);
  naming.shorten(frameOf(POWER, 1));
  expect(naming.shorten(frameOf(tableOf('tower'), 2))).toHaveLength(1);
});

it('leaves alone what has no table, a table in pieces, or is no batch', () => {
  const naming = new TableNaming(REMEMBERED_TABLES);
  naming.shorten(frameOf(POWER, 1));
  const rows = encodeFrame(wireBatch({ metrics: [{ name: 'a' }] }));
  const half = POWER.bytes.length >> 1;
  const pieces = encodeFrame(
    Buffer.concat([
      bytesField(5, POWER.bytes.subarray(0, half)),
      bytesField(5, POWER.bytes.subarray(half)),
    ]),
  );
  const noise = encodeFrame(Buffer.from('no batch at all'));
  for (const frame of [rows, pieces, noise]) expect(naming.shorten(frame)).toEqual([frame]);
  expect(naming.shorten(frameOf(POWER, 2))).toHaveLength(2);
});
