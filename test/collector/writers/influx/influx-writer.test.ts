import { expect, test } from 'vitest';
import { openInfluxWriter } from '../../../../src/collector/writers/influx/influx-writer.ts';
import type { WriteFault } from '../../../../src/collector/writers/write-fault.ts';
import { addFleet } from '../../../helpers/gpu-fleet.ts';
import { influxSettings } from '../../../helpers/influx-settings.ts';
import {
  type Answer,
  InfluxStandIn,
  type StandInRequest,
} from '../../../helpers/influx-stand-in.ts';
import { parseLine } from '../../../helpers/line-protocol.ts';
import { writerDeps } from '../../../helpers/writer-deps.ts';
import { gauge, progressOf, RecordBook } from '../../../helpers/writer-records.ts';

const FLEET = { nodes: 3, gpus: 4, metrics: 10, rounds: 5 };
const FLEET_RECORDS = FLEET.nodes * FLEET.rounds;
const SAMPLES_PER_RECORD = FLEET.gpus * FLEET.metrics + 2;

async function setUp(changes: Record<string, unknown> = {}) {
  const server = await InfluxStandIn.start();
  const book = new RecordBook();
  const deps = writerDeps(book);
  const writer = openInfluxWriter(influxSettings(server.url, changes), deps);
  return { server, book, deps, writer };
}

/** What `write` threw. */
async function faultOf(writing: Promise<unknown>): Promise<WriteFault> {
  try {
    await writing;
  } catch (error) {
    return error as WriteFault;
  }
  throw new Error('nothing was thrown');
}

const bad = (line: string) => line.includes('gpu_index=2') && line.includes('node_id=node-1');

/** As InfluxDB 2 does with partial writes switched off: one bad line refuses the whole request. */
function refuseBadLines(request: StandInRequest): Answer {
  if (!request.lines.some(bad)) return { status: 204 };
  const body = JSON.stringify({ code: 'invalid', message: 'field type conflict' });
  return { status: 400, headers: { 'content-type': 'application/json' }, body };
}

test.each([true, false])('every value arrives once with gzip %s', async (gzip) => {
  const { server, book, writer } = await setUp({ gzip, max_batch_bytes: 20_000 });
  addFleet(book, FLEET);
  const progress = await writer.write(book.records);
  expect(progress).toEqual(progressOf(book));
  expect(server.requests.length).toBeGreaterThan(1);
  const values = server.accepted.flatMap((line) =>
    Object.entries(line.fields).map(([key, value]) => [
      ...[line.tags.node_id, line.tags.gpu_index, key, line.timestamp, value],
    ]),
  );
  const expected = book.records.flatMap((record) =>
    [...record.samples.series].map((s, i) => {
      const { name, labels } = book.table(record.tableId).series[s]!;
      const gpu = labels.find(([key]) => key === 'gpu')?.[1];
      return [record.nodeId, gpu, name, record.samples.timestampsMs[i], record.samples.values[i]];
    }),
  );
  expect(values.map(String).sort()).toEqual(expected.map(String).sort());
  await writer.close();
});

test('a request names organisation, bucket and precision, and carries the token', async () => {
  const { server, book, writer } = await setUp();
  addFleet(book, { nodes: 1, gpus: 8, metrics: 20, rounds: 1 });
  await writer.write(book.records);
  const { url, headers } = server.requests[0]!;
  expect(url.pathname).toBe('/api/v2/write');
  expect(Object.fromEntries(url.searchParams)).toEqual({
    ...{ org: 'fleet', bucket: 'gpu metrics', precision: 'ms' },
  });
  expect(headers.authorization).toBe('Token very-secret');
  expect(headers['content-encoding']).toBe('gzip');
  await writer.close();
});

test('a refused line becomes a dead letter and all others are written', async () => {
  const { server, book, deps, writer } = await setUp();
  addFleet(book, FLEET);
  server.answer = refuseBadLines;
  const progress = await writer.write(book.records);
  expect(deps.letters.length).toBe(FLEET.rounds);
  const lost = FLEET.rounds * FLEET.metrics;
  expect(progress).toEqual(progressOf(book, lost));
  for (const letter of deps.letters) {
    expect(letter).toMatchObject({
      ...{ reason: 'field type conflict', status: 400, nodeId: 'node-1', samples: FLEET.metrics },
    });
    expect(bad(letter.line)).toBe(true);
    const { timestamp } = parseLine(letter.line);
    expect(timestamp).toBe(book.records[letter.seq - 1]!.samples.timestampsMs[0]);
  }
  expect(server.points().size).toBe(FLEET_RECORDS * SAMPLES_PER_RECORD - lost);
  await writer.close();
});

test('a server that refuses everything from the start gets nothing given up', async () => {
  const { server, book, deps, writer } = await setUp();
  addFleet(book, { nodes: 1, gpus: 2, metrics: 2, rounds: 1 });
  server.answer = () => ({ status: 400, body: '<html>plain HTTP sent to an HTTPS port</html>' });
  const fault = await faultOf(writer.write(book.records));
  expect(fault).toMatchObject({ reason: 'refused', status: 400, progress: undefined });
  expect(deps.letters).toEqual([]);
  server.answer = () => ({ status: 204 });
  expect(await writer.write(book.records)).toEqual(progressOf(book));
  // Now the server is known to take lines: what it refuses is the line's own fault.
  addFleet(book, { nodes: 1, gpus: 2, metrics: 2, rounds: 1 });
  server.answer = () => ({ status: 422, body: 'no' });
  expect(await writer.write(book.records)).toMatchObject({ cursor: 2, deadLetteredSamples: 6 });
  await writer.close();
});

test('a partial success of status 201 is searched like a refusal', async () => {
  const { server, book, deps, writer } = await setUp();
  addFleet(book, { nodes: 2, gpus: 4, metrics: 2, rounds: 1 });
  server.answer = ({ lines }) =>
    lines.some(bad) ? { status: 201, body: 'line 3: rejected' } : { status: 204 };
  const progress = await writer.write(book.records);
  expect(progress).toEqual(progressOf(book, 2));
  expect(deps.letters).toMatchObject([{ status: 201, reason: 'line 3: rejected' }]);
  await writer.close();
});

test('a server that finds requests too large gets smaller ones from then on', async () => {
  const { server, book, deps, writer } = await setUp();
  addFleet(book, { nodes: 10, gpus: 8, metrics: 20, rounds: 5 });
  const bytes = (request: StandInRequest) => request.lines.join('\n').length;
  server.answer = (request) => ({ status: bytes(request) > 40_000 ? 413 : 204 });
  expect((await writer.write(book.records))!.cursor).toBe(50);
  const refusedAtFirst = server.requests.filter((request) => bytes(request) > 40_000).length;
  expect(refusedAtFirst).toBeGreaterThan(0);
  server.requests.length = 0;
  addFleet(book, { nodes: 10, gpus: 8, metrics: 20, rounds: 5 });
  expect((await writer.write(book.records))!.cursor).toBe(100);
  expect(server.requests.filter((request) => bytes(request) > 40_000)).toEqual([]);
  expect(deps.letters).toEqual([]);
  expect(deps.logLines.join()).toContain('too large');
  await writer.close();
});

test('a single line that is too large is a dead letter', async () => {
  const { server, book, deps, writer } = await setUp();
  book.add(
    'n1',
    [gauge('a', { note: 'x'.repeat(900) }), gauge('b')],
    [
      [0, 1, 1],
      [1, 1, 2],
    ],
  );
  server.answer = ({ lines }) => ({ status: lines.join().length > 500 ? 413 : 204 });
  expect(await writer.write(book.records)).toEqual(progressOf(book, 1));
  expect(deps.letters).toMatchObject([{ status: 413, samples: 1 }]);
  await writer.close();
});

test.each<[string, Answer, object]>([
  [
    '429',
    { status: 429, headers: { 'retry-after': '7' } },
    { reason: 'throttled', retryAfterMs: 7000 },
  ],
  ['503', { status: 503 }, { reason: 'throttled', retryAfterMs: 0 }],
  ['500', { status: 500, body: 'engine closed' }, { reason: 'server_error', status: 500 }],
  ['401', { status: 401 }, { reason: 'operator', status: 401 }],
  ['404', { status: 404, body: '{"message":"bucket not found"}' }, { reason: 'operator' }],
  ['a redirect', { status: 302, headers: { location: '/' } }, { reason: 'operator' }],
  ['silence', 'hang', { reason: 'timeout', status: 0 }],
  ['a reset', 'reset', { reason: 'network', status: 0 }],
  ['a truncated answer', 'truncated', { reason: 'network', status: 0 }],
])('%s is a failure that gives nothing up', async (_what, answer, expected) => {
  const { server, book, deps, writer } = await setUp({ timeout_secs: 0.3 });
  addFleet(book, { nodes: 1, gpus: 1, metrics: 2, rounds: 1 });
  server.answer = () => answer;
  expect(await faultOf(writer.write(book.records))).toMatchObject(expected);
  expect(deps.letters).toEqual([]);
  server.answer = () => ({ status: 204 });
  expect(await writer.write(book.records)).toEqual(progressOf(book));
  await writer.close();
});

test('no socket stays open after requests that got no answer', async () => {
  const { server, book, writer } = await setUp({ timeout_secs: 0.1 });
  addFleet(book, { nodes: 1, gpus: 1, metrics: 2, rounds: 1 });
  server.answer = () => 'hang';
  for (let i = 0; i < 4; i++) await faultOf(writer.write(book.records));
  expect(await server.openConnections()).toBeLessThanOrEqual(1);
  await writer.close();
});

test('a failure in the middle keeps the records that were complete before it', async () => {
  const { server, book, writer } = await setUp({ max_batch_bytes: 5000 });
  addFleet(book, FLEET);
  server.answer = () => ({ status: server.requests.length > 3 ? 503 : 204 });
  const fault = await faultOf(writer.write(book.records));
  const done = fault.progress!.cursor;
  expect(done).toBeGreaterThan(0);
  expect(done).toBeLessThan(FLEET_RECORDS);
  const times = new Set(server.accepted.map((line) => line.timestamp));
  for (const record of book.records.slice(0, done)) {
    expect(times.has(record.samples.timestampsMs[0]!)).toBe(true);
  }
  await writer.close();
});

test('dead letters that cannot be kept stop the writer instead of being lost', async () => {
  const server = await InfluxStandIn.start();
  const book = new RecordBook();
  const deadLetter = () => {
    throw new Error('no space left on device');
  };
  const writer = openInfluxWriter(influxSettings(server.url), writerDeps(book, { deadLetter }));
  addFleet(book, FLEET);
  server.answer = refuseBadLines;
  const fault = await faultOf(writer.write(book.records));
  expect(fault).toMatchObject({ reason: 'dead_letter', progress: undefined });
  await writer.close();
});

test('the token appears neither in messages nor in dead letters, even if the server quotes it', async () => {
  const { server, book, deps, writer } = await setUp();
  addFleet(book, FLEET);
  await writer.write(book.records);
  server.answer = ({ headers }) => ({ status: 401, body: `bad: ${headers.authorization}` });
  addFleet(book, { nodes: 1, gpus: 1, metrics: 1, rounds: 1 });
  const fault = await faultOf(writer.write(book.records));
  expect(fault.message).toContain('Token ***');
  server.answer = ({ headers }) => ({ status: 400, body: `bad: ${headers.authorization}` });
  await writer.write([]);
  const everything = JSON.stringify([deps.letters, deps.logLines, fault.message, fault.stack]);
  expect(deps.letters.length).toBeGreaterThan(0);
  expect(everything).not.toContain('very-secret');
  await writer.close();
});

test('the stop signal ends a request under way', async () => {
  const server = await InfluxStandIn.start();
  const book = new RecordBook();
  addFleet(book, { nodes: 1, gpus: 1, metrics: 1, rounds: 1 });
  const stopping = new AbortController();
  const deps = writerDeps(book, { signal: stopping.signal });
  const writer = openInfluxWriter(influxSettings(server.url, { timeout_secs: 600 }), deps);
  server.answer = () => {
    stopping.abort();
    return 'hang';
  };
  expect(await faultOf(writer.write(book.records))).toMatchObject({ reason: 'network' });
  await writer.close();
  await writer.close();
});

test('a record without samples is passed, and one with unspeakable values is a dead letter', async () => {
  const { book, deps, writer } = await setUp();
  book.add('n1', [gauge('a')], []);
  book.add('n1', [gauge('a')], [[0, 1, Number.NaN]]);
  expect(await writer.write(book.records)).toEqual(progressOf(book, 1));
  expect(deps.letters).toMatchObject([{ seq: 2, samples: 1, line: '' }]);
  await writer.close();
});

test('records without samples ask the server whether it would take any', async () => {
  const { server, book, writer } = await setUp();
  const ask = () => writer.write([book.add('_collector', [], [])]);
  expect(await ask()).toMatchObject({ cursor: 1, deadLetteredSamples: 0 });
  expect(server.requests.map(({ url, lines }) => [url.pathname, lines])).toEqual([
    ['/api/v2/write', []],
  ]);
  server.answer = () => ({ status: 400, body: '{"message":"writing requires points"}' });
  expect(await ask()).toMatchObject({ cursor: 2, deadLetteredSamples: 0 });
  server.answer = () => ({ status: 401, body: '{"message":"unauthorized access"}' });
  expect(await faultOf(ask())).toMatchObject({ reason: 'operator', status: 401 });
  server.answer = () => 'reset';
  expect(await faultOf(ask())).toMatchObject({ reason: 'network' });
  server.answer = () => ({ status: 204 });
  const asked = server.requests.length;
  expect(await writer.write([])).toMatchObject({ cursor: 4 });
  book.add('n', [gauge('a')], [[0, 1000, 1]]);
  expect(await writer.write(book.records.slice(4))).toMatchObject({ cursor: 5 });
  expect(server.requests.length).toBe(asked + 3);
});

test("a node's expensive records do not hold back the points of the others", async () => {
  const { server, book, writer } = await setUp({ max_batch_bytes: 4096 });
  let bytesBefore = 0;
  let bytes = 0;
  server.answer = ({ lines }) => {
    if (lines.some((line) => line.includes('node_id=honest'))) bytesBefore ||= bytes;
    bytes += lines.reduce((sum, line) => sum + line.length, 0);
    return { status: 204 };
  };
  const wide = Object.fromEntries(Array.from({ length: 31 }, (_, i) => [`l${i}`, '"'.repeat(16)]));
  const times = Array.from({ length: 1000 }, (_, i) => [0, 1000 + i, i] as const);
  for (let i = 0; i < 5; i++) book.add('greedy', [gauge('a', wide)], times);
  book.add('honest', [gauge('a')], [[0, 1000, 1]]);
  // 4 MB of lines in small requests: more than one call may take.
  expect(await writer.write(book.records)).not.toMatchObject({ cursor: 6 });
  expect(bytesBefore).toBeLessThan(10_000);
  expect(writer.backlog!()).toBe('some');
  book.add('late', [gauge('a')], [[0, 1000, 1]]);
  const before = bytes;
  await writer.write(book.records.slice(6));
  const late = server.requests.findIndex(({ lines }) => lines.some((l) => l.includes('=late ')));
  const ahead = server.requests.slice(0, late).flatMap(({ lines }) => lines);
  expect(ahead.reduce((sum, line) => sum + line.length, 0) - before).toBeLessThan(15_000);
  expect(await writer.flush()).toMatchObject({ cursor: 7 });
  expect(server.points().size).toBe(1002);
  await writer.close();
});
