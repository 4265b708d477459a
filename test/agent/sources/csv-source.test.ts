import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Reading, Source } from '../../../src/client/reading.ts';
import { type CsvSourceOptions, openCsvSource } from '../../../src/agent/sources/csv-source.ts';
import { OperatingError } from '../../../src/lib/errors.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { sharedData } from '../../helpers/shared-data.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

const NOW = Date.UTC(2026, 0, 1);
const RECORDED = Date.UTC(2025, 6, 18, 20, 42, 34);

function csvFile(content: string | Uint8Array): string {
  const file = path.join(tempDir(), 'export.csv');
  fs.writeFileSync(file, content);
  return file;
}

function open(content: string | Uint8Array, options: Omit<CsvSourceOptions, 'path'> = {}) {
  const clock = new FakeClock(NOW);
  return openCsvSource({ path: csvFile(content), ...options }, clock).then((source) => ({
    source,
    clock,
  }));
}

/** Everything that a source has to give, up to its end. */
async function drain(source: Source) {
  const readings: Reading[] = [];
  const skipped = [];
  for (let calls = 0; calls < 10_000; calls += 1) {
    const report = await source.collect();
    readings.push(...report.readings);
    skipped.push(...report.skipped);
    if (report.done) return { readings, skipped, calls: calls + 1 };
  }
  throw new Error('the source does not end');
}

const rows = (count: number) =>
  Array.from({ length: count }, (_, row) => `2025-07-18T20:42:34Z,M${row},n${row % 2},${row}`);
const HEADER = 'timestamp,metric_name,Hostname,value';
const valuesOf = (readings: readonly Reading[]) => readings.map(({ value }) => value);

describe('reading the file', () => {
  test('takes a BOM, CRLF, quotes, empty lines and a missing last newline', async () => {
    const { source } = await open(
      `\ufefftimestamp,"metric_name",value\r\n\r\n"2025-07-18T20:42:34Z","A","1"\r\n` +
        `2025-07-18T20:42:34Z, "B", 2\r\n2025-07-18T20:42:34Z,"with\r\nnewline","3"`,
    );
    const { readings, skipped } = await drain(source);
    expect(readings.map(({ name, value }) => [name, value])).toEqual([
      ['A', 1],
      ['B', 2],
      ['with\r\nnewline', 3],
    ]);
    expect(skipped).toEqual([]);
  });

  test('takes lines that end in CR alone', async () => {
    const { source } = await open(`${HEADER}\r${rows(3).join('\r')}\r`);
    expect(valuesOf((await drain(source)).readings)).toEqual([0, 1, 2]);
  });

  test('goes through a file larger than its buffers in bounded chunks', async () => {
    const { source } = await open(`${HEADER}\n${rows(20_000).join('\n')}\n`, { maxReadings: 1500 });
    const { readings, calls } = await drain(source);
    expect(valuesOf(readings)).toEqual(Array.from({ length: 20_000 }, (_, row) => row));
    expect(calls).toBeGreaterThanOrEqual(14);
  });

  test('loses one line to an open quote, not the rest of the file', async () => {
    const lines = rows(5000);
    lines[10] = `"2025-07-18T20:42:34Z,BROKEN,n0,10`;
    const { source } = await open(`${HEADER}\n${lines.join('\n')}\n`);
    const { readings, skipped } = await drain(source);
    expect(readings.length).toBe(4999);
    expect(skipped).toEqual([
      { what: 'row 12', why: 'row too long or quote not closed', count: 1 },
    ]);
  });

  test('loses one line to a quote that is open at the end', async () => {
    const { source } = await open(`${HEADER}\n"x,y\n${rows(2).join('\n')}\n`);
    const { readings, skipped } = await drain(source);
    expect(valuesOf(readings)).toEqual([0, 1]);
    expect(skipped).toEqual([{ what: 'row 2', why: 'quote not closed', count: 1 }]);
  });

  test('loses every line that is broken and none that is not, however many there are', async () => {
    const lines = rows(400).flatMap((line, at) => (at < 300 ? ['x","y', line] : [line]));
    const { source } = await open(`${HEADER}\n${lines.join('\n')}\n`);
    const { readings } = await drain(source);
    // Each pair of open quotes takes the row between them along; what follows is whole.
    expect(valuesOf(readings).slice(-100)).toEqual(
      Array.from({ length: 100 }, (_, at) => 300 + at),
    );
  });

  test('loses one line to a row without end', async () => {
    const lines = rows(3000);
    lines[1500] = 'x'.repeat(400_000);
    const { source } = await open(`${HEADER}\n${lines.join('\n')}\n`);
    const { readings, skipped } = await drain(source);
    expect(readings.length).toBe(2999);
    expect(skipped).toEqual([
      { what: 'row 1502', why: 'row too long or quote not closed', count: 1 },
    ]);
  });

  test('names bad rows by number, a bounded number of them, and counts all', async () => {
    const { source } = await open(`${HEADER}\n${'a,b\n'.repeat(1000)}${rows(3).join('\n')}\n`);
    const { readings, skipped } = await drain(source);
    expect(readings.length).toBe(3);
    expect(skipped[0]).toEqual({ what: 'row 2', why: 'wrong number of columns', count: 1 });
    expect(skipped.length).toBeLessThanOrEqual(102);
    expect(skipped.reduce((total, { count }) => total + count, 0)).toBe(1000);
  });

  test('takes only the rows of the wanted node', async () => {
    const { source } = await open(`${HEADER}\n${rows(10).join('\n')}\n`, { node: 'n1' });
    const { readings, skipped } = await drain(source);
    expect(valuesOf(readings)).toEqual([1, 3, 5, 7, 9]);
    expect(skipped).toEqual([{ what: 'rows of other nodes', why: 'node filter', count: 5 }]);
  });

  test.each([
    ['', 'CSV_HEADER', 'the file is empty'],
    ['a,b\n1,2\n', 'CSV_HEADER', 'no column "timestamp"'],
    [Buffer.from(`\ufeff${HEADER}\n`, 'utf16le'), 'CSV_ENCODING', 'UTF-16'],
  ])('refuses a file that is not an export', async (content, code, why) => {
    const error = await open(content).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OperatingError);
    expect(error).toMatchObject({ code, message: expect.stringContaining(why) });
  });

  test('says which file is missing', async () => {
    const opening = openCsvSource({ path: '/nowhere/x.csv' }, new FakeClock(NOW));
    await expect(opening).rejects.toThrow('cannot read /nowhere/x.csv: there is no such file');
  });

  test('gives nothing more once closed', async () => {
    const { source } = await open(`${HEADER}\n${rows(10).join('\n')}\n`, { maxReadings: 2 });
    await source.collect();
    await source.close();
    await source.close();
    expect(await source.collect()).toEqual({ readings: [], skipped: [], done: true });
  });
});

describe('times', () => {
  /** Three rows, 0, 1 and 3 s after the first. */
  const THREE = `${HEADER}
2025-07-18T20:42:34Z,A,n1,1
2025-07-18T20:42:35Z,B,n1,2
2025-07-18T20:42:37Z,A,n1,3
`;
  const offsets = (readings: readonly Reading[]) =>
    readings.map(({ timestampMs }) => timestampMs - NOW);

  test('stay as recorded without restamp', async () => {
    const { source } = await open(THREE);
    const { readings } = await drain(source);
    expect(readings.map(({ timestampMs }) => timestampMs - RECORDED)).toEqual([0, 1000, 3000]);
  });

  test('move to now with the distances kept, and never into the future', async () => {
    const { source } = await open(THREE, { restamp: true });
    const { readings } = await drain(source);
    expect(offsets(readings)).toEqual([-5000, -4000, -2000]);
  });

  test('start again with each pass of a loop, which do not overlap', async () => {
    const { source, clock } = await open(THREE, { loop: true });
    const times: number[] = [];
    for (let pass = 0; pass < 4; pass += 1) {
      const { readings, done } = await source.collect();
      expect(done).toBe(false);
      expect(readings.length).toBe(3);
      times.push(...offsets(readings));
      clock.advance(10_000);
    }
    expect(times.slice(3, 6)).toEqual([5000, 6000, 8000]);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    await source.close();
  });

  test('of passes that are asked for too fast still do not overlap', async () => {
    const { source, clock } = await open(THREE, { loop: true });
    const times: number[] = [];
    for (let calls = 0; calls < 50; calls += 1) {
      times.push(...offsets((await source.collect()).readings));
      clock.advance(100);
    }
    expect(new Set(times).size).toBe(times.length);
    expect(Math.max(...times)).toBeLessThanOrEqual(5000);
    await source.close();
  });

  test('make later rows wait until they are due, faster with a higher speed', async () => {
    const hour = `${HEADER}\n2025-07-18T20:00:00Z,A,n1,1\n2025-07-18T21:00:00Z,A,n1,2\n`;
    const { source, clock } = await open(hour, { restamp: true, speed: 60 });
    expect((await source.collect()).readings.length).toBe(1);
    clock.advance(54_000);
    expect((await source.collect()).readings.length).toBe(0);
    clock.advance(1000);
    const report = await source.collect();
    expect(offsets(report.readings)).toEqual([55_000]);
    expect(report.done).toBe(true);
  });

  test('are the time of reading at speed 0', async () => {
    const { source } = await open(THREE, { loop: true, speed: 0 });
    expect(offsets((await source.collect()).readings)).toEqual([0, 0, 0]);
    await source.close();
  });

  test('that leap far ahead do not stop the replay', async () => {
    const { source } = await open(`${THREE}2099-01-01T00:00:00Z,A,n1,4\n${rows(1)[0]}\n`, {
      restamp: true,
    });
    const { readings, skipped } = await drain(source);
    expect(valuesOf(readings)).toEqual([1, 2, 3, 0]);
    expect(skipped).toMatchObject([{ what: 'row 5', why: 'time leaps more than a day ahead' }]);
  });

  test('cannot loop without being moved', async () => {
    const opening = open(THREE, { loop: true, restamp: false });
    await expect(opening).rejects.toThrow('a loop without restamp');
  });
});

describe('the real export', () => {
  const FILE = 'dcgm/dcgm_metrics_20250718_134233.csv';

  test('is 2,470 readings with the values of the file', async () => {
    const file = sharedData(FILE);
    if (file === undefined) return;
    const source = await openCsvSource({ path: file }, new FakeClock(NOW));
    const { readings, skipped } = await drain(source);
    expect(skipped).toEqual([]);
    expect(readings.length).toBe(2470);
    // Cut out by hand: every cell of this file is quoted, and none before the last holds a quote.
    const cells = fs
      .readFileSync(file, 'utf8')
      .split('\n')
      .slice(1, -1)
      .map((line) => line.slice(1).split('","', 12));
    expect(
      readings.map(({ name, value, labels, timestampMs }) => [
        name,
        value,
        labels.gpu_uuid,
        labels.gpu_index,
        labels.hostname,
        timestampMs,
      ]),
    ).toEqual(
      cells.map((cell) => [
        cell[1],
        Number(cell[10]),
        cell[4],
        cell[2],
        cell[6],
        new Date(cell[0] ?? '').getTime(),
      ]),
    );
    expect(new Set(readings.map(({ labels }) => labels.gpu_uuid)).size).toBe(247);
    expect(readings.every(({ labels }) => labels.pod === undefined)).toBe(true);
    expect(readings.every(({ labels }) => labels.DCGM_FI_DRIVER_VERSION !== undefined)).toBe(true);
    expect(readings.every(({ unit, kind }) => unit !== '' && kind === 'gauge')).toBe(true);
  });

  test('tells the same GPU index on 31 hosts apart, and filters by host', async () => {
    const file = sharedData(FILE);
    if (file === undefined) return;
    const node = 'mtv5-dgx1-hgpu-012';
    const source = await openCsvSource({ path: file, node }, new FakeClock(NOW));
    const { readings } = await drain(source);
    // The one host with seven GPUs.
    expect(readings.length).toBe(70);
  });

  test('loops a pass a collection, 4 s of skew kept', async () => {
    const file = sharedData(FILE);
    if (file === undefined) return;
    const clock = new FakeClock(NOW);
    const source = await openCsvSource({ path: file, loop: true }, clock);
    for (let pass = 0; pass < 3; pass += 1) {
      const { readings } = await source.collect();
      const times = readings.map(({ timestampMs }) => timestampMs);
      expect(readings.length).toBe(2470);
      expect(Math.max(...times) - Math.min(...times)).toBe(3000);
      expect(Math.max(...times)).toBeLessThanOrEqual(clock.nowMs());
      clock.advance(10_000);
    }
    await source.close();
  });
});
