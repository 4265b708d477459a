/**
 * Rows of several sources come out in the order of one sort over all of them, however their times
 * overlap, their blocks are cut and the row groups fall.
 */
import { expect, test } from 'vitest';
import { mergeRows } from '../../../../src/collector/writers/parquet/merge-rows.ts';
import { type SortedRows, splitRows } from '../../../../src/warehouse/sorted-rows.ts';
import { SeededRandom } from '../../../helpers/seeded-random.ts';

interface Row {
  readonly series: number;
  readonly time: number;
  /** Unlike any other row's. */
  readonly value: number;
}

const CELLS = { textId: () => 0, text: () => null };

/** Every source is sorted by itself, as a spill is. */
function randomSources(seed: number, longestRun: number): Row[][] {
  const seeded = new SeededRandom(seed);
  const random = () => seeded.next();
  let value = 0;
  const sources = 1 + Math.floor(random() * 7);
  return Array.from({ length: sources }, () => {
    const series = Array.from({ length: 12 }, (_, id) => id).filter(() => random() < 0.7);
    return series.flatMap((id) => {
      const times = Array.from({ length: Math.ceil(random() * longestRun) }, () =>
        Math.floor(random() * 40),
      );
      return times.sort((a, b) => a - b).map((time) => ({ series: id, time, value: value++ }));
    });
  });
}

function toSorted(rows: readonly Row[]): SortedRows {
  const ids = [...new Set(rows.map(({ series }) => series))];
  const count = (id: number) => rows.filter(({ series }) => series === id).length;
  return {
    runs: { series: Uint32Array.from(ids), rows: Uint32Array.from(ids, count) },
    timestampsMs: Float64Array.from(rows, ({ time }) => time),
    values: Float64Array.from(rows, ({ value }) => value),
    receivedAtMs: Float64Array.from(rows, ({ value }) => value + 0.5),
  };
}

function* blocksOf(rows: readonly Row[], blockRows: number): Generator<SortedRows, undefined> {
  if (rows.length > 0) yield* splitRows(toSorted(rows), blockRows);
  return undefined;
}

function merged(sources: readonly Row[][], blockRows: number, rowGroupRows: number) {
  const rows: Row[] = [];
  const sizes: number[] = [];
  const options = {
    cells: CELLS,
    ranks: Uint32Array.from({ length: 12 }, (_, id) => id),
    rows: sources.flat().length,
    rowGroupRows,
  };
  for (const group of mergeRows(
    sources.map((source) => blocksOf(source, blockRows)),
    options,
  )) {
    sizes.push(group.rows);
    let row = 0;
    group.runs.series.forEach((series, run) => {
      for (const end = row + group.runs.rows[run]!; row < end; row++) {
        const value = group.values[row]!;
        expect(group.receivedAtMs[row]).toBe(value + 0.5);
        rows.push({ series, time: group.timestampsMs[row]!, value });
      }
    });
    expect(row).toBe(group.rows);
  }
  return { rows, sizes };
}

test.each([
  ['runs of a few rows', 5, 16, 1000],
  ['runs longer than a block', 60, 16, 1000],
  ['row groups that end within a series', 20, 64, 23],
  ['blocks and row groups of one row', 4, 1, 1],
])('%s come out as one sort has them', (_, longestRun, blockRows, rowGroupRows) => {
  for (let seed = 1; seed <= 30; seed++) {
    const sources = randomSources(seed, longestRun);
    // Sorts are stable: rows of equal series and time stay in the order of their sources.
    const expected = sources.flat().sort((a, b) => a.series - b.series || a.time - b.time);
    const { rows, sizes } = merged(sources, blockRows, rowGroupRows);
    expect(rows, `seed ${seed}`).toEqual(expected);
    expect(Math.max(0, ...sizes)).toBeLessThanOrEqual(rowGroupRows);
  }
});
