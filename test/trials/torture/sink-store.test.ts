import { expect, it } from 'vitest';
import { readLine } from '../../../trials/torture/line-reader.ts';
import { gpuOf, sampleTime, sampleValue } from '../../../trials/torture/samples.ts';
import { SinkStore } from '../../../trials/torture/sink-store.ts';

const BASE_MS = Date.UTC(2026, 0, 1);
const id = { node: 2, round: 77, series: 5 };
const line = (value: number, gpu = gpuOf(5), timeMs = sampleTime(BASE_MS, id)) =>
  `gpu,gpu_uuid=${gpu},node_id=torture-02 note="a \\"b\\", c=d \\\\ e",torture_05=${value} ${timeMs}`;

it('reads lines with quotes, blanks and escapes in them', () => {
  const read = readLine('m\\ x,a\\,b=c\\=d f="x, y=\\"1\\" z",g=-1.5e3 12');
  expect(read).toEqual({
    measurement: 'm x',
    tags: new Map([['a,b', 'c=d']]),
    fields: new Map([['g', -1500]]),
    timeMs: 12,
  });
  expect(readLine('m,a=b f=1')).toBeUndefined();
  expect(readLine('m,a=b f=x 1')).toBeUndefined();
});

it('keeps what the torture sends', () => {
  const store = new SinkStore(BASE_MS);
  store.addLine(line(sampleValue(id)));
  store.addLine(line(sampleValue(id)));
  expect(store).toMatchObject({ samples: 1, flawCount: 0 });
  expect(store.has(2, 77, 5)).toBe(true);
  expect(store.has(2, 77, 6)).toBe(false);
});

it('notices another value, another time, another label and what is no line', () => {
  const store = new SinkStore(BASE_MS);
  store.addLine(line(sampleValue(id) + 1));
  store.addLine(line(sampleValue(id), gpuOf(5), sampleTime(BASE_MS, id) + 3_600_000));
  store.addLine(line(sampleValue(id), 'GPU-3'));
  store.addLine('gpu,node_id=torture-02');
  store.addLine(line(sampleValue(id)).replace('torture-02', 'somebody'));
  expect(store).toMatchObject({ samples: 0, flawCount: 5 });
});
