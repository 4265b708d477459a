import { expect, test } from 'vitest';
import {
  escapeKey,
  escapeMeasurement,
  fieldKey,
  linePrefix,
  pointRules,
} from '../../../../src/collector/writers/influx/point.ts';
import { buildTablePlan } from '../../../../src/collector/writers/influx/table-plan.ts';
import { influxSettings } from '../../../helpers/influx-settings.ts';
import { parseLine } from '../../../helpers/line-protocol.ts';
import { seededRandom } from '../../../helpers/seeded-random.ts';
import { gauge } from '../../../helpers/writer-records.ts';

const RULES = pointRules(influxSettings('http://localhost'));

/** Measurement, tags and field of one series, read back from a line. */
function pointOf(name: string, labels: Record<string, string> = {}) {
  const { head, tail } = linePrefix(gauge(name, labels).labels, RULES);
  const line = parseLine(`${head}n${tail}${fieldKey(name, RULES)}=1 1`);
  const { node_id, ...tags } = line.tags;
  expect(node_id).toBe('n');
  return { measurement: line.measurement, tags, field: Object.keys(line.fields)[0]! };
}

test.each([
  ['plain', 'plain'],
  ['a b,c=d', 'a\\ b\\,c\\=d'],
  ['C:\\data', 'C:\\data'],
  ['C:\\', 'C:/'],
  ['a\\,b', 'a/\\,b'],
  ['a\\\\b', 'a/\\b'],
  ['two\nlines\r\tend', 'two\\nlines\\r\\tend'],
  ['"quoted"', '"quoted"'],
  ['Grafikkarte Ä 显卡', 'Grafikkarte\\ Ä\\ 显卡'],
])('the key or tag value %j is written %j', (text, expected) => {
  expect(escapeKey(text)).toBe(expected);
});

test.each([
  ['gpu', 'gpu'],
  ['my gpu,x=1', 'my\\ gpu\\,x=1'],
  ['#gpu', '_gpu'],
])('the measurement %j is written %j', (text, expected) => {
  expect(escapeMeasurement(text)).toBe(expected);
});

test('identities in any spelling become the same tags, and other labels get a prefix', () => {
  const dcgm = { UUID: 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee', gpu: '3', Hostname: 'h', pod: 'p' };
  const tags = {
    ...{ gpu_index: '3', gpu_uuid: 'GPU-aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee', pod: 'p' },
    label_Hostname: 'h',
  };
  expect(pointOf('util', dcgm)).toEqual({ measurement: 'gpu', tags, field: 'util' });
});

test('a label never takes the place of the node, another label or a reserved key', () => {
  const labels = { node_id: 'forged', time: 'now', exported_pod: 'a', pod: 'b', label_pod: 'c' };
  expect(pointOf('util', labels).tags).toEqual({
    ...{ label_node_id: 'forged', label_time: 'now', pod: 'a', label_pod: 'b' },
    label_label_pod: 'c',
  });
});

test('no label and no metric ever share a name, whatever a node sends', () => {
  const names = ['util', 'pod', 'uuid', 'gpu_uuid', 'node_id', 'time', 'series_hash', 'link'];
  for (const prefix of ['label_', 'metric_', 'metric_metric_', 'label_label_', 'metric_label_']) {
    for (const name of names.slice(0, 8)) names.push(prefix + name);
  }
  const fields = names.map((name) => pointOf(name).field);
  const tags = names.flatMap((name) => Object.keys(pointOf('m', { [name]: 'x' }).tags));
  expect(new Set(fields).size).toBe(names.length);
  expect(new Set([...fields, ...tags, 'node_id']).size).toBe(
    fields.length + new Set([...tags, 'node_id']).size,
  );
  expect(pointOf('time').field).toBe('metric_time');
  expect(pointOf('metric_util').field).toBe('metric_util');
});

test('a point is the same whatever other series are in its table', () => {
  const random = seededRandom(8);
  const values = ['a', 'b', 'C:\\', 'C:/', 'two\nlines', 'two\\nlines'];
  const keys = ['gpu', 'UUID', 'pod', 'zone', 'note', 'label_note', 'err_code', 'util'];
  const series = Array.from({ length: 300 }, () => {
    const labels = keys
      .filter(() => random.below(10) < 3)
      .map((key) => [key, random.pick(values)] as const);
    return gauge(random.pick(['util', 'temp', 'pod', 'a\\', 'a/']), Object.fromEntries(labels));
  });
  const pointsOf = (table: typeof series) => {
    const plan = buildTablePlan({ series: table }, RULES);
    const text = (from: number, to: number) =>
      Buffer.from(plan.arena.subarray(from, to)).toString('utf8');
    return table.map((_, i) => {
      const g = plan.groupOf[i]!;
      const [head, tail, end] = [plan.headAt[g]!, plan.tailAt[g]!, plan.headAt[g + 1]!];
      return `${text(head, tail)}n${text(tail, end)}${text(plan.fieldAt[i]!, plan.fieldAt[i + 1]!)}`;
    });
  };
  const together = pointsOf(series);
  expect(together).toEqual(series.flatMap((one) => pointsOf([one])));
  // And different series never share one.
  const identities = series.map(({ name, labels }) => JSON.stringify([name, labels]));
  expect(new Set(together).size).toBe(new Set(identities).size);
});

test('values that line protocol cannot tell apart get a hash', () => {
  const [a, b] = [pointOf('x', { device: 'C:\\' }), pointOf('x', { device: 'C:/' })];
  expect(a.tags).toHaveProperty('series_hash');
  expect(b.tags).toEqual({ device: 'C:/' });
});
