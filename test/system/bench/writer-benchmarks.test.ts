import { expect, test } from 'vitest';
import { measureInflux } from '../../../bench/influx.ts';
import { measureParquet } from '../../../bench/parquet.ts';

const figure = (found: readonly { figure: string; value: number }[], name: string) =>
  found.find((one) => one.figure === name)?.value ?? Number.NaN;

test('compression makes write requests at least four times smaller', async () => {
  const found = await measureInflux(5);
  expect(figure(found, 'on the wire')).toBeGreaterThan(4 * figure(found, 'on the wire, gzip'));
});

test('hyparquet writes at least five times as many rows as parquetjs, in less space', async () => {
  const found = await measureParquet(0.05);
  const rate = (encoder: string) => figure(found, `rows per CPU-second, fleet, ${encoder}`);
  const bytes = (encoder: string) => figure(found, `bytes of a row, fleet, ${encoder}`);
  expect(rate('hyparquet')).toBeGreaterThan(5 * rate('parquetjs'));
  expect(bytes('hyparquet')).toBeLessThan(bytes('parquetjs'));
});
