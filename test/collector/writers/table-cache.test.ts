import { expect, test } from 'vitest';
import { createTableLookup } from '../../../src/collector/writers/table-cache.ts';
import { makeSeries, makeTable } from '../../helpers/warehouse-rows.ts';

const TEXT = 'x'.repeat(100_000);

/** How many of `tables` tables are still known when the first is asked for again. */
function keptOf(tables: number, noteOf: (table: number) => string): number {
  let loads = 0;
  const lookUp = createTableLookup(
    (id) => {
      loads += 1;
      return Buffer.from(id);
    },
    (bytes) => {
      const note = noteOf(Number(Buffer.from(bytes).toString()));
      return makeTable([makeSeries('m', { note })]);
    },
  );
  for (let table = 0; table < tables; table++) lookUp(`${table}`);
  loads = 0;
  for (let table = tables - 1; table >= 0; table--) lookUp(`${table}`);
  return tables - loads;
}

test('a decoded table counts with its texts, however few bytes it came in', () => {
  expect(keptOf(1000, () => 'short')).toBe(1000);
  expect(keptOf(1000, (table) => `${TEXT}${table}`)).toBeLessThan(170);
});

test('a table that is missing is an operating fault', () => {
  const lookUp = createTableLookup(
    () => undefined,
    () => makeTable([]),
  );
  expect(() => lookUp('a')).toThrow('cannot find series table a in the journal');
});
