import { expect, test } from 'vitest';
import { atLeast, atMost, medians, passes } from '../../bench/figures.ts';
import { lineChart } from '../../bench/line-chart.ts';
import { jsonLine } from '../../bench/report.ts';

const run = (value: number) => [{ figure: 'rate', value, unit: 'metrics/s', bar: atLeast(10) }];

test('several runs make one figure: the median, with the least and the greatest', () => {
  const [figure] = medians('ingest', [run(30), run(5), run(20)]);
  expect(figure).toMatchObject({ value: 20, least: 5, greatest: 30, runs: 3 });
});

test('a bar is met at its very value, from either side', () => {
  expect(passes({ figure: '', unit: '', value: 10, bar: atLeast(10) })).toBe(true);
  expect(passes({ figure: '', unit: '', value: 10.1, bar: atMost(10) })).toBe(false);
  expect(passes({ figure: '', unit: '', value: 10 })).toBeUndefined();
});

test('a figure is one line of JSON with its bar and its verdict', () => {
  const [figure] = medians('ingest', [run(5)]);
  expect(JSON.parse(jsonLine(figure!))).toEqual({
    bench: 'ingest',
    figure: 'rate',
    value: 5,
    unit: 'metrics/s',
    bar: '≥ 10',
    pass: false,
  });
});

test('a chart shows every line by name, with its points inside the picture', () => {
  const axis = { label: 'size', ticks: [1, 10, 100], isLogarithmic: true };
  const line = { name: 'cost < 1', points: [[1, 1] as const, [1000, 100] as const] };
  const svg = lineChart({ title: 'T', x: axis, y: axis, lines: [line] });
  expect(svg).toContain('cost &lt; 1');
  const places = [...svg.matchAll(/cx="([\d.]+)"/g)].map((match) => Number(match[1]));
  expect(places).toHaveLength(2);
  expect(Math.max(...places)).toBeLessThan(760);
});
