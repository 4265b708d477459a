import { expect, test } from 'vitest';
import { encodeSeriesTable } from '../../../../src/codec/series-table.ts';
import { lineRules, pointSeries } from '../../../../src/collector/writers/influx/label-rules.ts';
import {
  escapeKey,
  escapeMeasurement,
  quoteString,
} from '../../../../src/collector/writers/influx/line-escape.ts';
import { groupSeries } from '../../../../src/collector/writers/influx/promotion.ts';
import { influxSettings } from '../../../helpers/influx-settings.ts';
import { gauge } from '../../../helpers/writer-records.ts';

const RULES = lineRules(influxSettings('http://localhost'));

function pointsOf(...series: ReturnType<typeof gauge>[]) {
  return pointSeries(encodeSeriesTable(series), RULES);
}

/** Per series: the tags and the string fields it is written with. */
function writtenAs(...series: ReturnType<typeof gauge>[]) {
  const written = new Array<{ tags: object; fields: object }>(series.length);
  for (const group of groupSeries(pointsOf(...series))) {
    for (const member of group.members) {
      written[member] = {
        tags: Object.fromEntries(group.tags),
        fields: Object.fromEntries(group.fields),
      };
    }
  }
  return written;
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

test.each([
  ['plain, with = all', '"plain, with = all"'],
  ['say "hi"', '"say \\"hi\\""'],
  ['C:\\', '"C:\\\\"'],
  ['two\nlines', '"two\\\\nlines"'],
])('the string field %j is written %j', (text, expected) => {
  expect(quoteString(text)).toBe(expected);
});

test('identities in any spelling become the same tags, and other labels become string fields', () => {
  const dcgm = { UUID: 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee', gpu: '3', Hostname: 'h', pod: 'p' };
  const [point] = pointsOf(gauge('util', dcgm));
  expect(point).toEqual({
    labels: {
      measurement: 'gpu',
      tags: [
        ['gpu_index', '3'],
        ['gpu_uuid', 'GPU-aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee'],
      ],
      fields: [
        ['Hostname', 'h'],
        ['pod', 'p'],
      ],
    },
    metric: 'util',
  });
});

test('a label never takes the place of the node, a metric, another label or a reserved key', () => {
  const labels = { node_id: 'forged', util: 'x', time: 'now', exported_pod: 'a', pod: 'b' };
  const [point] = pointsOf(gauge('util', labels), gauge('time'));
  expect(point!.labels.tags).toEqual([]);
  expect(point!.labels.fields).toEqual([
    ['label_node_id', 'forged'],
    ['label_pod', 'b'],
    ['label_time', 'now'],
    ['label_util', 'x'],
    ['pod', 'a'],
  ]);
  expect(pointsOf(gauge('time'))[0]!.metric).toBe('metric_time');
});

test('two pods that share a GPU are told apart by a tag, and only where they meet', () => {
  const gpu = { gpu: '0', namespace: 'ml' };
  const [a, b, temp, other] = writtenAs(
    gauge('util', { ...gpu, pod: 'a' }),
    gauge('util', { ...gpu, pod: 'b' }),
    gauge('temp', gpu),
    gauge('util', { gpu: '1', namespace: 'ml', pod: 'a' }),
  );
  expect(a).toEqual({ tags: { gpu_index: '0', pod: 'a' }, fields: { namespace: 'ml' } });
  expect(b).toEqual({ tags: { gpu_index: '0', pod: 'b' }, fields: { namespace: 'ml' } });
  expect(temp).toEqual({ tags: { gpu_index: '0' }, fields: { namespace: 'ml' } });
  expect(other!.tags).toEqual({ gpu_index: '1' });
});

test('a label that only one of two series of a metric has is promoted for it', () => {
  const [without, withCode, other] = writtenAs(
    gauge('xid', { gpu: '0' }),
    gauge('xid', { gpu: '0', err_code: '31' }),
    gauge('util', { gpu: '0' }),
  );
  expect(without!.tags).toEqual({ gpu_index: '0' });
  expect(withCode!.tags).toEqual({ gpu_index: '0', err_code: '31' });
  expect(other!.tags).toEqual({ gpu_index: '0' });
});

test('one point never gets two values of one string field', () => {
  const [a, b] = writtenAs(gauge('x', { mode: 'one' }), gauge('y', { mode: 'two' }));
  expect(a!.tags).toEqual({ mode: 'one' });
  expect(b!.tags).toEqual({ mode: 'two' });
});

test('labels that add to each other without disagreeing stay string fields', () => {
  const [a, b] = writtenAs(gauge('x', { one: '1' }), gauge('y', { two: '2' }));
  expect(a).toEqual({ tags: {}, fields: { one: '1' } });
  expect(b).toEqual({ tags: {}, fields: { two: '2' } });
});

test('values that line protocol cannot tell apart get a hash', () => {
  const [a, b] = writtenAs(gauge('x', { device: 'C:\\' }), gauge('x', { device: 'C:/' }));
  expect(a!.tags).toHaveProperty('series_hash');
  expect(b!.tags).toHaveProperty('series_hash');
  expect(a).not.toEqual(b);
});
