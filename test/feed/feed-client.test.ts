import { expect, test } from 'vitest';
import type { FeedClient, FeedEvent, FeedRecords } from '../../src/feed/feed-client.ts';
import type { FeedPosition } from '../../src/feed/feed-contract.ts';
import { FeedBed, tableOf } from '../helpers/feed-bed.ts';
import { eventually } from '../helpers/eventually.ts';
import { seededRandom } from '../helpers/seeded-random.ts';

/** Reads on until an event is what is looked for. */
async function until<K extends FeedEvent['kind']>(
  events: AsyncGenerator<FeedEvent>,
  kind: K,
  isIt: (event: Extract<FeedEvent, { kind: K }>) => boolean = () => true,
): Promise<Extract<FeedEvent, { kind: K }>> {
  for (;;) {
    const { value } = await events.next();
    const event = value as FeedEvent;
    if (event.kind !== kind) continue;
    const found = event as Extract<FeedEvent, { kind: K }>;
    if (isIt(found)) return found;
  }
}

/** The sequences of all records up to the one at `seq`. */
async function sequencesUpTo(events: AsyncGenerator<FeedEvent>, seq: number): Promise<number[]> {
  const sequences: number[] = [];
  for (;;) {
    const { value } = await events.next();
    const event = value as FeedEvent;
    if (event.kind !== 'records') continue;
    sequences.push(...event.records.map(({ sequence }) => sequence));
    if (event.seq >= seq) return sequences;
  }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

test('a reader gets every record, with its series and values, as it becomes durable', async () => {
  const bed = await FeedBed.open();
  await bed.append(1, 3);
  const { client, events } = bed.client();
  const welcome = await until(events, 'welcome');
  expect(welcome).toMatchObject({ source: bed.source, seq: 0, headSeq: 3, hasFiles: true });
  const records: FeedRecords = await until(events, 'records');
  const [first] = records.records;
  expect(records).toMatchObject({ seq: 3, headSeq: 3, source: bed.source, damaged: [] });
  expect(records.records.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
  expect(first).toMatchObject({ seq: 1, nodeId: 'node-1', epoch: 1 });
  expect([...first!.samples.values]).toEqual(Array(10).fill(1));
  expect(first!.table).toMatchObject({ id: tableOf('metric').id });
  expect(first!.table.series[3]).toMatchObject({ name: 'metric_3', kind: 'gauge' });
  await bed.append(4, 6);
  expect(await sequencesUpTo(events, 6)).toEqual([4, 5, 6]);
  expect(positionOf(client, bed)).toBe(3);
});

function positionOf(client: FeedClient, bed: FeedBed): number | undefined {
  return client.position.get(bed.source);
}

test('the union over random cuts is every record, once', async () => {
  const bed = await FeedBed.open({ maxQueueBytes: 4096 });
  const random = seededRandom();
  const sequences: number[] = [];
  let position: FeedPosition = new Map([[bed.source, 0]]);
  let appended = 0;
  for (let round = 0; round < 60; round += 1) {
    const more = 1 + random.below(30);
    await bed.append(appended + 1, appended + more, { size: 100 });
    appended += more;
    if (random.chance(0.2)) await bed.restart();
    const { events } = bed.client({ at: 'position', position });
    // The reader dies after some events, whatever they are.
    for (let left = random.below(6); left > 0 && sequences.length < appended; left -= 1) {
      const next: IteratorResult<FeedEvent, void> = await events.next();
      const { value } = next;
      if (value?.kind !== 'records') continue;
      sequences.push(...value.records.map(({ sequence }) => sequence));
      position = new Map([[value.source, value.seq]]);
    }
    await events.return(undefined);
  }
  await bed.append(appended + 1, appended + 1);
  const last = bed.client({ at: 'position', position });
  sequences.push(...(await sequencesUpTo(last.events, appended + 1)));
  expect(sequences, `SEED=${random.seed}`).toEqual(range(1, appended + 1));
});

test('one iteration goes on over ends of the server, without a gap or a double', async () => {
  const bed = await FeedBed.open();
  const { events } = bed.client();
  const sequences: number[] = [];
  for (let round = 0; round < 5; round += 1) {
    await bed.append(round * 10 + 1, round * 10 + 10);
    sequences.push(...(await sequencesUpTo(events, round * 10 + 10)));
    await bed.restart();
  }
  expect(sequences).toEqual(range(1, 50));
});

test('a reader that is too slow hears so, and goes on behind the files', async () => {
  const bed = await FeedBed.open({ maxQueueBytes: 4096 });
  const { client, events } = bed.client();
  await until(events, 'welcome');
  for (let from = 1; from <= 500; from += 100) await bed.append(from, from + 99, { size: 1000 });
  const before = await sequencesUpTo(events, 1);
  await bed.publish(500, 1000);
  await eventually('the journal lets go of them', () => bed.journal.tailSeq === 500);
  const gone = await until(events, 'disconnected');
  expect(gone).toMatchObject({ word: 'position_gone' });
  expect(gone.message).toMatch(/records \d+ to 500: take them from warehouse files/);
  expect(before.at(-1)).toBeLessThan(500);
  const welcome = await until(events, 'welcome');
  expect(welcome).toMatchObject({ seq: 500, cursor: 500 });
  await bed.append(501, 502);
  expect(await sequencesUpTo(events, 502)).toEqual([501, 502]);
  expect(positionOf(client, bed)).toBe(500);
});

test('published files come with the cursor, and records go on behind them', async () => {
  const bed = await FeedBed.open();
  const { events } = bed.client();
  await bed.append(1, 10);
  expect(await sequencesUpTo(events, 10)).toEqual(range(1, 10));
  await bed.publish(10);
  const published = await until(events, 'published');
  expect(published).toMatchObject({ cursor: 10 });
  expect(published.files).toMatchObject([{ path: 'metrics/10.parquet', lastSeq: 10 }]);
  await bed.append(11, 12);
  expect(await sequencesUpTo(events, 12)).toEqual([11, 12]);
});

test('records without samples pass by, also when the journal has let go of them', async () => {
  const bed = await FeedBed.open();
  const { client, events } = bed.client();
  await bed.append(1, 2);
  expect(await sequencesUpTo(events, 2)).toEqual([1, 2]);
  bed.isDeaf = true;
  await bed.append(3, 40, { size: 0 });
  await bed.publish(2);
  await bed.publish(40, 0);
  await eventually('the journal lets go of them', () => bed.journal.tailSeq === 40);
  bed.isDeaf = false;
  await bed.append(41, 41);
  expect(await sequencesUpTo(events, 41)).toEqual([41]);
  expect(positionOf(client, bed)).toBe(2);
});

test('a reader waits for a collector that is not there yet', async () => {
  const bed = await FeedBed.open();
  bed.server.close();
  const { events } = bed.client();
  const first = await until(events, 'disconnected');
  expect(first).toMatchObject({ word: 'cut' });
  expect(first.message).toMatch(/ENOENT|ECONNREFUSED/);
  await bed.restart();
  await until(events, 'welcome');
});

test('tables that the reader had to drop come again', async () => {
  const bed = await FeedBed.open();
  const { events } = bed.client();
  for (let round = 0; round < 2; round += 1) {
    for (let index = 1; index <= 8; index += 1) {
      const sequence = round * 8 + index;
      // 2.5 MB each: with eight of them both sides let go of the oldest ones.
      await bed.append(sequence, sequence, {
        table: tableOf(`${'x'.repeat(200)}${index}`, 12_000),
      });
      expect(await sequencesUpTo(events, sequence)).toEqual([sequence]);
    }
  }
});
