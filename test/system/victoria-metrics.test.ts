import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openInfluxWriter } from '../../src/collector/writers/influx/influx-writer.ts';
import { addFleet } from '../helpers/gpu-fleet.ts';
import { influxSettings } from '../helpers/influx-settings.ts';
import {
  startVictoriaMetrics,
  type VictoriaMetrics,
  victoriaMetricsPath,
} from '../helpers/victoria-metrics.ts';
import { writerDeps } from '../helpers/writer-deps.ts';
import { gauge, progressOf, RecordBook } from '../helpers/writer-records.ts';

const program = victoriaMetricsPath();

describe.runIf(program !== undefined)('a real server', () => {
  let server: VictoriaMetrics;
  beforeAll(async () => {
    server = await startVictoriaMetrics(program!);
  });
  afterAll(() => server?.stop());

  /** Writes the book and returns every point the server then has: labels, time → value. */
  async function roundTrip(book: RecordBook, cluster: string, settings = {}) {
    const writer = openInfluxWriter(influxSettings(server.url, settings), writerDeps(book));
    const progress = await writer.write(book.records);
    await writer.close();
    expect(progress).toEqual(progressOf(book));
    const points = new Map<string, number>();
    for (const { metric, values, timestamps } of await server.export(`{cluster="${cluster}"}`)) {
      for (const [i, value] of values.entries()) points.set(point(metric, timestamps[i]!), value);
    }
    return points;
  }

  /** Series that cannot be spelled exactly carry a hash as well. */
  const withoutHash = (points: Map<string, number>) =>
    [...points].map(([key, value]) => [key.replace(/,\["series_hash","[^"]*"\]/, ''), value]);

  const point = (labels: Record<string, string>, timestampMs: number) =>
    `${JSON.stringify(Object.entries(labels).sort())}@${timestampMs}`;

  test('has every value, label and timestamp that was written', async () => {
    const book = new RecordBook();
    addFleet(book, { nodes: 4, gpus: 8, metrics: 25, rounds: 6 });
    const writer = openInfluxWriter(
      influxSettings(server.url, { max_batch_bytes: 50_000 }),
      writerDeps(book),
    );
    await writer.write(book.records);
    await writer.close();
    const expected = new Map<string, number>();
    for (const { nodeId, tableId, samples } of book.records) {
      for (let i = 0; i < samples.values.length; i++) {
        const { name, labels } = book.table(tableId).series[samples.series[i]!]!;
        const of = Object.fromEntries(labels);
        const tags = of.gpu
          ? { gpu_index: of.gpu, gpu_uuid: of.UUID!, gpu_model: of.modelName!, pod: of.pod! }
          : {};
        const __name__ = `${of.gpu ? 'gpu' : 'node'}_${name}`;
        const key = point({ __name__, node_id: nodeId, ...tags }, samples.timestampsMs[i]!);
        expected.set(key, samples.values[i]!);
      }
    }
    const actual = new Map<string, number>();
    for (const { metric, values, timestamps } of await server.export('{node_id=~"node-.*"}')) {
      for (const [i, value] of values.entries()) actual.set(point(metric, timestamps[i]!), value);
    }
    expect(actual.size).toBe(4 * 6 * 202);
    expect(actual).toEqual(expected);
  });

  test('reads back tag values with every kind of odd character', async () => {
    const book = new RecordBook();
    const values = ['a b', 'a,b', 'a=b', '"q"', 'C:\\x', 'C:\\', 'x\\,y', 'Ä 显卡', 'e=,\\ ', '#'];
    for (const [i, device] of values.entries()) {
      const series = [gauge('m', { device, cluster: 'odd' })];
      book.add('odd', series, [[0, 1_700_000_000_000 + i, i]]);
    }
    const points = await roundTrip(book, 'odd');
    const expected = values.map((device, i) => {
      const spelled = device.replace(/\\(?=[\\,= ]|$)/g, '/');
      const labels = { __name__: 'node_m', cluster: 'odd', device: spelled, node_id: 'odd' };
      return [point(labels, 1_700_000_000_000 + i), i];
    });
    expect(withoutHash(points).sort()).toEqual(expected.sort());
  });

  test('keeps apart two pods on one GPU, whatever their labels hold', async () => {
    const book = new RecordBook();
    const gpu = { gpu: '0', cluster: 'shared', note: 'say "hi", a=b \\ \n two' };
    const series = [gauge('util', { ...gpu, pod: 'a' }), gauge('util', { ...gpu, pod: 'b' })];
    book.add(
      'n',
      [...series, gauge('temp', gpu)],
      [
        [0, 1_700_000_000_000, 10],
        [1, 1_700_000_000_000, 20],
        [2, 1_700_000_000_000, 30],
      ],
    );
    const points = await roundTrip(book, 'shared');
    const note = { label_note: 'say "hi", a=b / \\n two' };
    const labels = { cluster: 'shared', gpu_index: '0', node_id: 'n', ...note };
    const time = 1_700_000_000_000;
    expect(Object.fromEntries(withoutHash(points))).toEqual({
      [point({ ...labels, __name__: 'gpu_util', pod: 'a' }, time)]: 10,
      [point({ ...labels, __name__: 'gpu_util', pod: 'b' }, time)]: 20,
      [point({ ...labels, __name__: 'gpu_temp' }, time)]: 30,
    });
  });

  test('reads numbers of any size as they were', async () => {
    const book = new RecordBook();
    const values = [0.1, 1 / 3, 1e300, 5e-300, -1.5, 2 ** 53 - 1, 123456.789, 1e21, -7];
    // A series each: the server keeps the values of a series at one scale, to about 12 digits.
    const series = values.map((_, i) => gauge('m', { cluster: 'numbers', cpu: String(i) }));
    book.add(
      'n',
      series,
      [...values.entries()].map(([i, value]) => [i, 1_700_000_000_000, value]),
    );
    const points = await roundTrip(book, 'numbers');
    for (const [i, value] of values.entries()) {
      const labels = { __name__: 'node_m', cluster: 'numbers', cpu: String(i), node_id: 'n' };
      const stored = points.get(point(labels, 1_700_000_000_000))!;
      expect(Math.abs(stored / value - 1)).toBeLessThan(2e-12);
    }
  });
});
