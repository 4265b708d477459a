/**
 * One node has sent a hundred times what it can have written at once; another node's record came in
 * behind all of that.
 */
import { expect, test } from 'vitest';
import { openInfluxWriter } from '../../../../src/collector/writers/influx/influx-writer.ts';
import type { Writer, WriterRecord } from '../../../../src/collector/writers/writer.ts';
import { influxSettings } from '../../../helpers/influx-settings.ts';
import { InfluxStandIn } from '../../../helpers/influx-stand-in.ts';
import { writerDeps } from '../../../helpers/writer-deps.ts';
import { gauge, progressOf, RecordBook, type Sample } from '../../../helpers/writer-records.ts';

const MIB = 1024 * 1024;
const SLICE_RECORDS = 4;
const HOSTILE_RECORDS = 100;
const LINES_PER_RECORD = 60;
const NOW = 1_700_000_000_000;

/** Records of a mebibyte each in the journal, as far as the writer can tell, and one small one. */
async function setUp(readAgain = (record: WriterRecord) => record) {
  const server = await InfluxStandIn.start();
  const book = new RecordBook();
  let line = 0;
  const add = (nodeId: string, lines: number, bytes: number) => {
    const samples = Array.from({ length: lines }, (): Sample => [0, NOW + line, line++]);
    const series = [gauge('power', { label: 'x'.repeat(800) })];
    const record = book.add(nodeId, series, samples);
    book.records[record.seq - 1] = { ...record, bytes };
  };
  for (let count = 0; count < HOSTILE_RECORDS; count += 1) add('hostile', LINES_PER_RECORD, MIB);
  add('neighbour', 1, 100);
  const settings = influxSettings(server.url, { max_batch_bytes: 20_000 });
  const deps = writerDeps(book, {
    headSeq: () => book.records.length,
    record: (seq) => readAgain(book.records[seq - 1]!),
  });
  return { server, book, deps, writer: openInfluxWriter(settings, deps) };
}

/** Hands over slices as the loop around a writer does, until `isOver`; returns the cursor. */
async function pump(
  writer: Writer,
  book: RecordBook,
  isOver: (cursor: number) => boolean,
): Promise<number> {
  let cursor = 0;
  for (let call = 0; call < 3000 && !isOver(cursor); call += 1) {
    const from = (writer.readFrom?.() ?? 1) - 1;
    const isFull = writer.backlog?.() === 'full';
    const progress = await writer.write(
      isFull ? [] : book.records.slice(from, from + SLICE_RECORDS),
    );
    cursor = progress?.cursor ?? cursor;
  }
  return cursor;
}

test('what a node sends that becomes much more in lines delays itself', async () => {
  const { server, book, writer } = await setUp();
  const { cursor: lastSeq } = progressOf(book);
  let mostBytes = 0;
  let mostLater = 0;
  const isDone = (cursor: number) => {
    const { backlog_bytes = 0, backlog_later_records = 0 } = writer.stats();
    mostBytes = Math.max(mostBytes, backlog_bytes);
    mostLater = Math.max(mostLater, backlog_later_records);
    return cursor === lastSeq;
  };
  expect(await pump(writer, book, isDone)).toBe(lastSeq);
  expect(mostBytes).toBeLessThanOrEqual(32 * MIB);
  expect(mostLater).toBeGreaterThan(0);
  const nodes = server.accepted.map(({ tags }) => tags.node_id);
  expect(nodes).toHaveLength(HOSTILE_RECORDS * LINES_PER_RECORD + 1);
  expect(nodes.indexOf('neighbour')).toBeLessThan(nodes.length / 4);
  // What was put off came back in its order.
  const values = server.accepted.filter(({ tags }) => tags.node_id === 'hostile');
  expect(values.map(({ fields }) => fields.power)).toEqual(
    Array.from({ length: nodes.length - 1 }, (_, line) => line),
  );
  await writer.close();
});

test('a node whose lines are being searched for refused ones delays itself, however much it sends', async () => {
  const { server, book, deps, writer } = await setUp();
  // An empty request shows that it reads lines: what it refuses is the lines' own fault.
  server.answer = ({ lines }) =>
    lines.some((text) => text.includes('node_id=hostile'))
      ? { status: 400, body: 'no' }
      : { status: 204 };
  await pump(writer, book, () => server.accepted.length > 0);
  expect(server.accepted.map(({ tags }) => tags.node_id)).toEqual(['neighbour']);
  expect(deps.letters.length).toBeLessThan((HOSTILE_RECORDS * LINES_PER_RECORD) / 4);
  await writer.close();
});

test('a record that cannot be read again fails the call, and is tried again by the next one', async () => {
  let isBroken = true;
  const { server, book, writer } = await setUp((again) => {
    if (isBroken) throw new Error('the journal cannot be read now');
    return again;
  });
  const { cursor: lastSeq } = progressOf(book);
  await expect(pump(writer, book, () => false)).rejects.toThrow('cannot be read now');
  await expect(writer.write([])).rejects.toThrow('cannot be read now');
  isBroken = false;
  expect(await pump(writer, book, (cursor) => cursor === lastSeq)).toBe(lastSeq);
  expect(server.accepted).toHaveLength(HOSTILE_RECORDS * LINES_PER_RECORD + 1);
  expect(server.points().size).toBe(HOSTILE_RECORDS * LINES_PER_RECORD + 1);
  await writer.close();
});
