import { expect, test } from 'vitest';
import { LineChunk } from '../../../../src/collector/writers/influx/line-chunk.ts';
import { pointRules } from '../../../../src/collector/writers/influx/point.ts';
import { RecordEncoder } from '../../../../src/collector/writers/influx/record-encoder.ts';
import { buildTablePlan } from '../../../../src/collector/writers/influx/table-plan.ts';
import type { WriterRecord } from '../../../../src/collector/writers/writer.ts';
import { influxSettings } from '../../../helpers/influx-settings.ts';
import { parseLine } from '../../../helpers/line-protocol.ts';
import { gauge, RecordBook } from '../../../helpers/writer-records.ts';

const RULES = pointRules(influxSettings('http://localhost'));
const T = 1_700_000_000_000;

/** The lines of `records`, chunk by chunk. */
function encode(book: RecordBook, records: readonly WriterRecord[], maxBytes = 1 << 20) {
  const encoder = new RecordEncoder();
  const chunks: LineChunk<WriterRecord>[] = [new LineChunk()];
  for (const record of records) {
    encoder.start(record, buildTablePlan(book.table(record.tableId), RULES));
    while (!encoder.encodeInto(chunks.at(-1)!, maxBytes, record)) chunks.push(new LineChunk());
  }
  return chunks;
}

function linesOf(chunk: LineChunk<WriterRecord>): string[] {
  const text = Buffer.from(chunk.bytes.subarray(0, chunk.length)).toString('utf8');
  return text.split('\n').slice(0, -1);
}

function linesFor(
  series: ReturnType<typeof gauge>[],
  samples: [number, number, number][],
  node = 'n1',
): string[] {
  const book = new RecordBook();
  book.add(node, series, samples);
  return encode(book, book.records).flatMap(linesOf);
}

test('a line holds all fields of one label set and time, labels as sorted tags', () => {
  const labels = { UUID: 'GPU-1', gpu: '0', modelName: 'NVIDIA H100', pod: 'train-0', zone: 'a' };
  const lines = linesFor(
    [gauge('util', labels), gauge('temp', labels), gauge('load1')],
    [
      [0, T, 97],
      [1, T, 41.5],
      [2, T, 0.25],
    ],
  );
  expect(lines).toEqual([
    `gpu,gpu_index=0,gpu_model=NVIDIA\\ H100,gpu_uuid=GPU-1,label_zone=a,node_id=n1,pod=train-0 util=97,temp=41.5 ${T}`,
    `node,node_id=n1 load1=0.25 ${T}`,
  ]);
});

test('metric-major samples of many GPUs still make one line per GPU', () => {
  const series = ['a', 'b', 'c'].flatMap((name) =>
    [0, 1, 2].map((gpu) => gauge(name, { gpu: String(gpu) })),
  );
  const lines = linesFor(
    series,
    series.map((_, i) => [i, T, i]),
  );
  expect(lines).toEqual([
    `gpu,gpu_index=0,node_id=n1 a=0,b=3,c=6 ${T}`,
    `gpu,gpu_index=1,node_id=n1 a=1,b=4,c=7 ${T}`,
    `gpu,gpu_index=2,node_id=n1 a=2,b=5,c=8 ${T}`,
  ]);
});

test('timestamps in any order are gathered into one line each', () => {
  const series = [gauge('a'), gauge('b')];
  const lines = linesFor(series, [
    [0, T + 2, 1],
    [0, T, 2],
    [1, T + 2, 3],
    [1, T + 1, 4],
    [1, T, 5],
  ]);
  expect(lines).toEqual([
    `node,node_id=n1 a=2,b=5 ${T}`,
    `node,node_id=n1 b=4 ${T + 1}`,
    `node,node_id=n1 a=1,b=3 ${T + 2}`,
  ]);
});

test('two samples of one field and time become two lines, the later one last', () => {
  const lines = linesFor(
    [gauge('a'), gauge('b'), gauge('a')],
    [
      [0, T, 1],
      [1, T, 2],
      [0, T, 3],
      [2, T, 4],
    ],
  );
  expect(lines).toEqual([
    `node,node_id=n1 a=1,b=2 ${T}`,
    `node,node_id=n1 a=3 ${T}`,
    `node,node_id=n1 a=4 ${T}`,
  ]);
});

test('numbers read back as the same doubles', () => {
  const values = [0, 1, 9, 10, 99, 100, 12345, 2 ** 31 - 1, 2 ** 31, 999_999_999, 1e9, 1e9 + 7];
  values.push(2 ** 53 - 1, 2 ** 53, 2 ** 63, 1e21, 1e300, 5e-324, 1e-7, 0.1, 0.001, 0.0005, 41.125);
  values.push(Math.PI, 1 / 3, 2147483.647, 2147483.648, 123456.789, 1.005, 1e15 + 0.5);
  let random = 1;
  for (let i = 0; i < 5000; i++) {
    random = (random * 48271) % 2147483647;
    values.push(random / 1000, random / 997, random * 1e6, random * 2 ** ((i % 600) - 300));
  }
  const all = values.flatMap((value) => [value, -value]);
  const lines = linesFor(
    [gauge('a')],
    all.map((value, i) => [0, T + i, value]),
  );
  expect(lines.length).toBe(all.length);
  for (const [i, line] of lines.entries()) {
    const { fields, timestamp } = parseLine(line);
    // -0 is written as 0.
    const isSame = fields.a === all[i]! + 0 && timestamp === T + i;
    if (!isSame) throw new Error(`${all[i]} at ${T + i} became ${line}`);
  }
});

test('values that are no finite numbers are left out and counted', () => {
  const book = new RecordBook();
  const record = book.add(
    'n1',
    [gauge('a'), gauge('b')],
    [
      [0, T, Number.NaN],
      [1, T, 1],
      [0, T + 1, Infinity],
    ],
  );
  const encoder = new RecordEncoder();
  const chunk = new LineChunk<WriterRecord>();
  encoder.start(record, buildTablePlan(book.table(record.tableId), RULES));
  expect(encoder.encodeInto(chunk, 1 << 20, record)).toBe(true);
  expect(linesOf(chunk)).toEqual([`node,node_id=n1 b=1 ${T}`]);
  expect(encoder.notFinite).toBe(2);
});

test('chunks stay within the bound, and every line knows its record and its samples', () => {
  const book = new RecordBook();
  const series = Array.from({ length: 50 }, (_, i) => gauge(`metric_${i}`, { gpu: String(i % 4) }));
  for (let r = 0; r < 20; r++) {
    book.add(
      `node-${r}`,
      series,
      series.map((_, i) => [i, T + r, i * r]),
    );
  }
  const chunks = encode(book, book.records, 2000);
  expect(chunks.length).toBeGreaterThan(5);
  let samples = 0;
  const seen = new Set<string>();
  for (const chunk of chunks) {
    expect(chunk.length).toBeLessThanOrEqual(2000);
    for (const [i, line] of linesOf(chunk).entries()) {
      const parsed = parseLine(line);
      expect(parsed.tags.node_id).toBe(chunk.ownerOf(i).nodeId);
      expect(Object.keys(parsed.fields).length).toBe(chunk.lineSamples[i]);
      samples += chunk.lineSamples[i]!;
      for (const field of Object.keys(parsed.fields)) seen.add(`${parsed.tags.node_id} ${field}`);
    }
  }
  expect(samples).toBe(20 * 50);
  expect(seen.size).toBe(20 * 50);
});

test('a field that alone is over the bound gets a chunk of its own', () => {
  const book = new RecordBook();
  const long = 'x'.repeat(5000);
  book.add(
    'n1',
    [gauge('a', { note: long }), gauge('b')],
    [
      [0, T, 1],
      [1, T, 2],
    ],
  );
  const chunks = encode(book, book.records, 1024);
  expect(chunks.flatMap(linesOf).map((line) => parseLine(line).fields)).toEqual([
    { a: 1 },
    { b: 2 },
  ]);
});
