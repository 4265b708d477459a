/**
 * What InfluxDB refuses, in its own words: each refused line, or field of it, is a dead letter, all
 * others are written, and a search goes on where it was after a failure.
 */
import { expect, test } from 'vitest';
import { openInfluxWriter } from '../../../../src/collector/writers/influx/influx-writer.ts';
import type { WriteFault } from '../../../../src/collector/writers/write-fault.ts';
import type { Writer, WriterRecord } from '../../../../src/collector/writers/writer.ts';
import {
  StrictInflux,
  type StrictInfluxOptions,
} from '../../../../trials/torture/strict-influx.ts';
import { influxSettings } from '../../../helpers/influx-settings.ts';
import { InfluxStandIn } from '../../../helpers/influx-stand-in.ts';
import { writerDeps } from '../../../helpers/writer-deps.ts';
import { gauge, RecordBook } from '../../../helpers/writer-records.ts';

const HOUR_MS = 3_600_000;
const NOW_MS = 1_700_000_000_000;
const VERSIONS = ['1.8', '2'] as const;

async function setUp(options: StrictInfluxOptions, changes: Record<string, unknown> = {}) {
  const strict = new StrictInflux(options, () => NOW_MS);
  const server = await InfluxStandIn.start();
  server.answer = ({ lines }) => strict.write(lines);
  const book = new RecordBook();
  const deps = writerDeps(book);
  const writer = openInfluxWriter(influxSettings(server.url, changes), deps);
  return { strict, server, book, deps, writer };
}

/** `count` lines of one node: a GPU each, at one time. */
function addLines(book: RecordBook, nodeId: string, count: number, timeMs: number): void {
  for (let from = 0; from < count; from += 1000) {
    const series = Array.from({ length: Math.min(1000, count - from) }, (_, i) =>
      gauge('util', { gpu: String(from + i) }),
    );
    book.add(
      nodeId,
      series,
      series.map((_, i) => [i, timeMs, i] as const),
    );
  }
}

/** As the loop does: again after a failure, until nothing is left. Returns what became safe. */
async function writeAll(writer: Writer, records: readonly WriterRecord[], callsMax = 2000) {
  let [cursor, deadLetteredSamples, failures] = [0, 0, 0];
  const faults: WriteFault[] = [];
  for (let call = 0; call < callsMax; call++) {
    const progress = await writer.write(call === 0 ? records : []).catch((error: WriteFault) => {
      failures += 1;
      faults.push(error);
      return error.progress;
    });
    cursor = progress?.cursor ?? cursor;
    deadLetteredSamples += progress?.deadLetteredSamples ?? 0;
    if (writer.backlog?.() === 'none') break;
  }
  return { cursor, deadLetteredSamples, failures, faults };
}

test.each(VERSIONS)(
  '2,400 lines beyond the retention cost a few requests (%s)',
  async (version) => {
    const { strict, server, book, deps, writer } = await setUp({ version, retentionMs: HOUR_MS });
    addLines(book, 'late', 2400, NOW_MS - 3 * HOUR_MS);
    addLines(book, 'good', 100, NOW_MS - 1000);
    const { cursor, deadLetteredSamples } = await writeAll(writer, book.records);
    expect({ cursor, deadLetteredSamples }).toEqual({ cursor: 4, deadLetteredSamples: 2400 });
    expect(new Set(deps.letters.map(({ line }) => line)).size).toBe(2400);
    expect(deps.letters.every(({ nodeId, line }) => nodeId === 'late' && line !== '')).toBe(true);
    expect(strict.points.size).toBe(100);
    expect(server.requests.length).toBeLessThan(10);
    await writer.close();
  },
);

test('refused lines that no words tell apart end, and the other nodes are not kept waiting', async () => {
  const { server, book, deps, writer } = await setUp({ version: '2' }, { max_batch_bytes: 65_536 });
  const good = new Set<string>();
  let searchesWhenGoodDone = 0;
  server.answer = ({ lines }) => {
    if (lines.some((line) => line.includes('node_id=bad'))) return { status: 400, body: 'no' };
    for (const line of lines) good.add(line);
    if (good.size === 2000) searchesWhenGoodDone ||= server.requests.length;
    return { status: 204 };
  };
  addLines(book, 'bad', 3000, NOW_MS);
  addLines(book, 'good', 2000, NOW_MS);
  const { cursor, deadLetteredSamples } = await writeAll(writer, book.records);
  expect({ cursor, deadLetteredSamples }).toEqual({ cursor: 5, deadLetteredSamples: 3000 });
  expect(deps.letters.map(({ samples }) => samples)).toEqual(new Array(3000).fill(1));
  expect(good.size).toBe(2000);
  // A search may cost two requests a line; the good node waits for a few turns of it at most.
  expect(server.requests.length).toBeLessThan(3000 * 2 + 500);
  expect(searchesWhenGoodDone).toBeLessThan(1500);
  await writer.close();
});

test.each(VERSIONS)('a conflicting field costs its values and no others (%s)', async (version) => {
  const types = { 'gpu util': 'integer', 'gpu odd,name': 'string' };
  const { strict, server, book, deps, writer } = await setUp({ version, types });
  const names = ['temp', 'util', 'odd,name', 'power'];
  const series = Array.from({ length: 50 }, (_, i) =>
    names.map((name) => gauge(name, { gpu: `${i}, =x` })),
  ).flat();
  book.add(
    'n',
    series,
    series.map((_, i) => [i, NOW_MS, i] as const),
  );
  const { cursor, deadLetteredSamples } = await writeAll(writer, book.records);
  expect({ cursor, deadLetteredSamples }).toEqual({ cursor: 1, deadLetteredSamples: 100 });
  expect(strict.points.size).toBe(100);
  expect(deps.letters).toHaveLength(100);
  for (const { line, samples, reason } of deps.letters) {
    expect(samples).toBe(1);
    expect(reason).toContain('field type conflict');
    expect(line).toMatch(/^gpu,gpu_index=\d+\\,\\ \\=x,node_id=n (util|odd\\,name)=\d+ \d+$/);
  }
  expect(server.requests.length).toBeLessThan(10);
  await writer.close();
});

test('a field that conflicts in the older shard alone costs a few requests', async () => {
  const { server, book, deps, writer } = await setUp({ version: '2' });
  const written = new Set<string>();
  server.answer = ({ lines }) => {
    const isOld = (line: string) => Number(line.split(' ').at(-1)) < NOW_MS;
    const bad = lines.filter((line) => line.includes('util=') && isOld(line));
    for (const line of lines) if (!bad.includes(line)) written.add(line);
    if (bad.length === 0) return { status: 204 };
    const message =
      'failure writing points to database: partial write: field type conflict: input field ' +
      `"util" on measurement "gpu" is type float, already exists as type string dropped=${bad.length}`;
    return { status: 422, body: JSON.stringify({ code: 'unprocessable entity', message }) };
  };
  // A backlog in which both shards' lines alternate.
  for (let i = 0; i < 60; i++) addLines(book, 'n', 20, NOW_MS + (i % 3 === 0 ? -1000 + i : i));
  const { cursor, deadLetteredSamples } = await writeAll(writer, book.records);
  expect({ cursor, deadLetteredSamples }).toEqual({ cursor: 60, deadLetteredSamples: 400 });
  expect(written.size).toBe(800);
  expect(deps.letters).toHaveLength(400);
  expect(server.requests.length).toBeLessThan(10);
  await writer.close();
});

test.each(VERSIONS)(
  'a bucket that is full for a tag costs only its new values (%s)',
  async (version) => {
    const { strict, book, deps, writer } = await setUp({ version, valuesPerTagMax: 60 });
    addLines(book, 'n', 100, NOW_MS);
    addLines(book, 'n', 60, NOW_MS + 1);
    expect(await writeAll(writer, book.records)).toMatchObject({ deadLetteredSamples: 40 });
    expect(strict.points.size).toBe(120);
    expect(deps.letters).toHaveLength(40);
    await writer.close();
  },
);

test.each([503, 429] as const)('a search goes on where it was after a %s', async (status) => {
  let requests = 0;
  const { strict, server, book, deps, writer } = await setUp({ version: '2' });
  server.answer = ({ lines }) => {
    if (++requests % 7 === 0) return { status, headers: { 'retry-after': '1' } };
    const isBad = lines.some((line) => /gpu_index=\d*9,/.test(line));
    return isBad ? { status: 400, body: '{"message":"no"}' } : strict.write(lines);
  };
  addLines(book, 'n', 1000, NOW_MS);
  const { cursor, deadLetteredSamples, failures, faults } = await writeAll(writer, book.records);
  expect({ cursor, deadLetteredSamples }).toEqual({ cursor: 1, deadLetteredSamples: 100 });
  expect(failures).toBeGreaterThan(20);
  expect(strict.points.size).toBe(900);
  expect(deps.letters).toHaveLength(100);
  // Halving down to 100 lines takes some 1,000 requests, whatever fails between.
  expect(requests).toBeLessThan(1300);
  // Something was achieved before each of them: no standstill for breaker and readiness.
  expect(faults.slice(1).every(({ isAdvanced }) => isAdvanced)).toBe(true);
  await writer.close();
});

test('words that name the wrong lines lose nothing', async () => {
  const { strict, server, book, deps, writer } = await setUp({ version: '2' });
  server.answer = ({ lines }) => {
    const answer = strict.write(lines.filter((line) => !line.includes('gpu_index=7,')));
    if (!lines.some((line) => line.includes('gpu_index=7,'))) return answer;
    const message =
      `partial write: unable to parse '${lines[0]}': bad timestamp; ` +
      'points beyond retention policy dropped=2';
    return { status: 422, body: JSON.stringify({ message }) };
  };
  addLines(book, 'n', 64, NOW_MS);
  expect(await writeAll(writer, book.records)).toMatchObject({ cursor: 1 });
  expect(strict.points.size).toBe(63);
  expect(deps.letters.map(({ line }) => line)).toEqual([expect.stringContaining('gpu_index=7,')]);
  await writer.close();
});

test('lines that InfluxDB 3 names by their position are found at once', async () => {
  const { server, book, deps, writer } = await setUp({ version: '2' });
  server.answer = ({ lines }) => {
    const data = lines.flatMap((line, i) =>
      /gpu_index=(3|77),/.test(line) ? [{ line_number: i + 1, error_message: 'no' }] : [],
    );
    if (data.length === 0) return { status: 204 };
    const error = 'partial write of line protocol occurred';
    return { status: 400, body: JSON.stringify({ error, data }) };
  };
  addLines(book, 'n', 500, NOW_MS);
  expect(await writeAll(writer, book.records)).toMatchObject({ deadLetteredSamples: 2 });
  expect(deps.letters).toHaveLength(2);
  expect(server.requests.length).toBeLessThan(8);
  await writer.close();
});

test.each(VERSIONS)(
  'after a restart a record refused whole stops nothing (%s)',
  async (version) => {
    const { strict, book, deps, writer } = await setUp({ version, retentionMs: HOUR_MS });
    addLines(book, 'late', 3, NOW_MS - 2 * HOUR_MS);
    addLines(book, 'good', 3, NOW_MS);
    // The record at the cursor alone, as a breaker tried it.
    expect(await writer.write(book.records.slice(0, 1))).toMatchObject({ cursor: 1 });
    expect(await writer.write(book.records.slice(1))).toMatchObject({ cursor: 2 });
    expect(deps.letters).toHaveLength(3);
    expect(strict.points.size).toBe(3);
    await writer.close();
  },
);

test('words of an unknown kind are believed of a server that takes an empty request', async () => {
  const { server, book, deps, writer } = await setUp({ version: '2' });
  addLines(book, 'n', 3, NOW_MS);
  server.answer = ({ lines }) => ({ status: lines.length === 0 ? 204 : 400, body: 'nein' });
  expect(await writer.write(book.records)).toEqual({
    ...{ cursor: 1, writtenSamples: 0, deadLetteredSamples: 3 },
  });
  expect(deps.letters).toHaveLength(3);
  await writer.close();
});
