import { expect, onTestFinished, test } from 'vitest';
import { RecordFeed } from '../../../src/collector/writers/record-feed.ts';
import { BREAKER_FAILURES } from '../../../src/collector/writers/retry-policy.ts';
import { WriteFault, type WriteFaultReason } from '../../../src/collector/writers/write-fault.ts';
import type { WriterProgress } from '../../../src/collector/writers/writer.ts';
import { WriterLoop } from '../../../src/collector/writers/writer-loop.ts';
import type { LogReader } from '../../../src/journal/log-reader.ts';
import { eventually } from '../../helpers/eventually.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { ScriptedWriter } from '../../helpers/scripted-writer.ts';
import { writerDeps } from '../../helpers/writer-deps.ts';
import { gauge, RecordBook } from '../../helpers/writer-records.ts';

const START_MS = 1_700_000_000_000;

/** A loop over a book of records, some of them damaged, with a clock turned by hand. */
function setUp(startCursor = 0) {
  const clock = new FakeClock(START_MS);
  const book = new RecordBook();
  const damaged = new Set<number>();
  const deps = writerDeps(book, { clock });
  const writer = new ScriptedWriter();
  const reports: WriterProgress[] = [];
  const source: Pick<LogReader, 'read' | 'samplesUpTo'> = {
    read(afterSeq, maxRecords) {
      const all = book.records.filter((record) => record.seq > afterSeq).slice(0, maxRecords);
      return {
        records: all.filter((record) => !damaged.has(record.seq)),
        damaged: all.filter(({ seq }) => damaged.has(seq)).map(({ seq }) => ({ seq, why: 'CRC' })),
        lastSeq: all.at(-1)?.seq ?? afterSeq,
      };
    },
    samplesUpTo(seq) {
      if (seq === 0) return 0;
      return damaged.has(seq) ? undefined : book.records[seq - 1]?.cumulativeSamples;
    },
  };
  const feed = new RecordFeed({ ...deps, source }, startCursor);
  const report = (progress: WriterProgress) => void reports.push(progress);
  const loop = new WriterLoop({ ...deps, feed, writer, report }, { startCursor });
  const running = loop.run();
  onTestFinished(async () => {
    loop.close();
    await running;
  });
  /** Adds records of `samples` samples each and tells the loop. */
  function append(count: number, samples = 3): void {
    const columns = Array.from({ length: samples }, (_, i) => [0, START_MS + i, i] as const);
    for (let i = 0; i < count; i++) book.add('n1', [gauge('a')], columns);
    loop.notifyHead(book.records.length);
  }
  /** Lets everything happen that needs no time to pass. */
  async function settle(): Promise<void> {
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  }
  async function advance(ms: number): Promise<void> {
    await settle();
    clock.advance(ms);
    await settle();
  }
  return { clock, book, damaged, deps, writer, reports, loop, append, advance, settle };
}

function fault(reason: WriteFaultReason, options: Partial<WriteFault> = {}): WriteFault {
  return new WriteFault(`cannot write: ${reason}`, { reason, ...options });
}

test('a new record is written at once and its progress reported', async () => {
  const { loop, writer, reports, append, settle } = setUp();
  await settle();
  append(2);
  await settle();
  expect(writer.written).toEqual([[1, 2]]);
  expect(reports).toEqual([{ cursor: 2, writtenSamples: 6, deadLetteredSamples: 0 }]);
  expect(loop.status()).toMatchObject({ state: 'running', cursor: 2, oldestUnsafeMs: 0 });
});

test('records that nobody has read yet count as lag, though all that was read is safe', async () => {
  const { book, loop, writer, append, settle, advance } = setUp();
  append(2);
  await settle();
  const unread = book.records.length + 1;
  append(3);
  // Within the pause after a small slice: the loop has not looked at them.
  expect(writer.written).toEqual([[1, 2]]);
  const received = book.records.find(({ seq }) => seq === unread)!.receivedAtMs;
  expect(received).toBeGreaterThan(0);
  expect(loop.status()).toMatchObject({ cursor: 2, readSeq: 2, oldestUnsafeMs: received });
  await advance(300);
  expect(loop.status()).toMatchObject({ cursor: 5, oldestUnsafeMs: 0 });
});

test('a trickle is gathered for a moment instead of written record by record', async () => {
  const { writer, append, advance, settle } = setUp();
  append(1);
  await settle();
  for (let i = 0; i < 10; i++) {
    append(1);
    await advance(10);
  }
  await advance(200);
  expect(writer.written).toEqual([[1], [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]]);
});

test('records that are visible but not yet said to be durable are not written', async () => {
  const { loop, writer, book, advance, settle } = setUp();
  await settle();
  for (const value of [1, 2, 3]) book.add('n1', [gauge('a')], [[0, START_MS, value]]);
  await advance(1000);
  expect(writer.written).toEqual([]);
  loop.notifyHead(2);
  await settle();
  expect(writer.written).toEqual([[1, 2]]);
});

test('after a failure the same records come again, and nothing is reported before', async () => {
  const { loop, writer, reports, append, advance, settle } = setUp();
  writer.beforeWrite = () => {
    if (writer.calls.length <= 2) throw fault('network');
  };
  append(3);
  await settle();
  expect(reports).toEqual([]);
  expect(loop.status()).toMatchObject({
    ...{ state: 'backing_off', cursor: 0, failingSinceMs: START_MS, failures: { network: 1 } },
    ...{ lastError: 'cannot write: network', oldestUnsafeMs: START_MS + 1 },
  });
  await advance(260);
  await advance(600);
  expect(writer.written).toEqual([[1, 2, 3]]);
  expect(reports).toEqual([{ cursor: 3, writtenSamples: 9, deadLetteredSamples: 0 }]);
  expect(loop.status()).toMatchObject({ state: 'running', failingSinceMs: 0, lastError: '' });
});

test('the wait that the server asks for is kept, whatever else happens', async () => {
  const { writer, append, advance, settle } = setUp();
  writer.beforeWrite = () => {
    if (writer.calls.length === 1) throw fault('throttled', { retryAfterMs: 30_000 });
  };
  append(1);
  await settle();
  for (let i = 0; i < 29; i++) {
    append(1);
    await advance(1000);
  }
  expect(writer.calls.length).toBe(1);
  await advance(1001);
  expect(writer.written.flat().length).toBe(30);
});

test('what the operator has to mend is asked again slowly', async () => {
  const { writer, append, advance, settle } = setUp();
  writer.beforeWrite = () => {
    throw fault('operator', { status: 401 });
  };
  append(1);
  await settle();
  await advance(9900);
  expect(writer.calls.length).toBe(1);
  await advance(200);
  expect(writer.calls.length).toBe(2);
});

test('after several failures only one record is tried until that succeeds', async () => {
  const { loop, writer, append, advance } = setUp();
  let isUp = false;
  writer.beforeWrite = () => {
    if (!isUp) throw fault('server_error');
  };
  append(100);
  for (let i = 0; i < 60; i++) await advance(1000);
  expect(loop.status().breaker).not.toBe('closed');
  expect(writer.calls.slice(0, 5).map((call) => call.length)).toEqual([100, 100, 100, 100, 100]);
  expect(writer.calls.slice(5).every((call) => call.length === 1)).toBe(true);
  expect(writer.calls.length).toBeGreaterThan(6);
  expect(writer.calls.length).toBeLessThan(20);
  isUp = true;
  for (let i = 0; i < 20; i++) await advance(1000);
  expect(loop.status()).toMatchObject({ breaker: 'closed', state: 'running', cursor: 100 });
  expect(writer.written.flat()).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
});

test('what was safe before a failure is not written again', async () => {
  const { writer, reports, append, advance, settle } = setUp();
  writer.beforeWrite = () => {
    if (writer.calls.length > 1) return;
    throw fault('throttled', {
      progress: { cursor: 4, writtenSamples: 10, deadLetteredSamples: 2 },
    });
  };
  append(6);
  await settle();
  expect(reports).toEqual([{ cursor: 4, writtenSamples: 10, deadLetteredSamples: 2 }]);
  await advance(300);
  expect(writer.written).toEqual([[5, 6]]);
});

test('a damaged record is noted, passed over, and its samples are counted', async () => {
  const { loop, writer, deps, damaged, reports, append, advance, settle } = setUp();
  damaged.add(2).add(3);
  append(1, 5);
  append(2, 7);
  append(1, 2);
  await settle();
  expect(writer.written).toEqual([[1, 4]]);
  expect(reports).toEqual([{ cursor: 4, writtenSamples: 7, deadLetteredSamples: 14 }]);
  expect(deps.letters.map(({ seq, reason }) => [seq, reason])).toEqual([
    [2, 'damaged journal record: CRC'],
    [3, 'damaged journal record: CRC'],
  ]);
  await advance(1000);
  expect(loop.status().damagedRecords).toBe(2);
  expect(deps.logLines.filter((line) => line.includes('damaged')).length).toBe(2);
});

test('a damaged record at the end waits for the next good one, noted once', async () => {
  const { writer, deps, damaged, reports, append, advance, settle } = setUp();
  append(1);
  damaged.add(2);
  append(1);
  await settle();
  await advance(1000);
  await advance(1000);
  append(1);
  await advance(1000);
  expect(writer.written).toEqual([[1], [3]]);
  expect(reports.at(-1)).toEqual({ cursor: 3, writtenSamples: 3, deadLetteredSamples: 3 });
  expect(deps.letters.length).toBe(1);
});

test('damaged records right after the cursor that reading starts at are counted', async () => {
  const { damaged, reports, append, settle } = setUp(2);
  append(2, 5);
  damaged.add(3).add(4);
  append(2, 7);
  append(1, 2);
  await settle();
  expect(reports).toEqual([{ cursor: 5, writtenSamples: 2, deadLetteredSamples: 14 }]);
});

test('what a writer says of the first records of a slice costs the later ones nothing', async () => {
  const { writer, reports, append, settle, advance } = setUp();
  const write = writer.write.bind(writer);
  // Seals after the first record, as the Parquet writer does when many hours are open.
  writer.write = async (records) => {
    const progress = await write(records);
    return writer.calls.length > 1 ? progress : { ...progress!, cursor: 1, writtenSamples: 3 };
  };
  append(2);
  await settle();
  append(2);
  await advance(1000);
  expect(reports.map(({ deadLetteredSamples }) => deadLetteredSamples)).toEqual([0, 0]);
});

test('a record whose series table is missing is passed over like a damaged one', async () => {
  const { writer, book, deps, reports, append, settle } = setUp();
  book.add('n1', [gauge('lost')], [[0, START_MS, 1]]);
  book.tables.clear();
  append(1);
  await settle();
  expect(writer.written).toEqual([[2]]);
  expect(reports).toEqual([{ cursor: 2, writtenSamples: 3, deadLetteredSamples: 1 }]);
  expect(deps.letters[0]!.reason).toContain('no table');
});

test('a writer that lost what it held is given it again', async () => {
  const { writer, append, advance, settle } = setUp();
  let wanted = 1;
  writer.holdsBack = true;
  writer.readFrom = () => wanted;
  writer.beforeWrite = (records) => {
    if (writer.calls.length === 2) {
      wanted = 1;
      throw fault('local');
    }
    wanted = records.at(-1)!.seq + 1;
  };
  append(2);
  await settle();
  append(1);
  await advance(250);
  expect(writer.calls).toEqual([[1, 2], [3]]);
  await advance(500);
  expect(writer.calls.at(-1)).toEqual([1, 2, 3]);
});

test('draining writes what waits, flushes and then reads no more', async () => {
  const { loop, writer, reports, append, advance, settle } = setUp();
  writer.holdsBack = true;
  append(3);
  await settle();
  expect(reports).toEqual([]);
  append(2);
  const drained = loop.drain(5, 10_000);
  await settle();
  await drained;
  expect(writer.written.flat()).toEqual([1, 2, 3, 4, 5]);
  expect(reports).toEqual([{ cursor: 5, writtenSamples: 15, deadLetteredSamples: 0 }]);
  append(1);
  await advance(5000);
  expect(writer.written.flat().length).toBe(5);
});

test('draining against a destination that is down ends with its time and still flushes', async () => {
  const { loop, writer, append, advance, settle } = setUp();
  writer.beforeWrite = () => {
    throw fault('network');
  };
  append(3);
  await settle();
  let isDone = false;
  void loop.drain(3, 10_000).then(() => {
    isDone = true;
  });
  await settle();
  expect(writer.calls.length).toBe(2);
  for (let i = 0; i < 6; i++) await advance(1000);
  expect(isDone).toBe(false);
  await advance(1000);
  expect(isDone).toBe(true);
  expect(writer.flushes).toBe(1);
});

test('the writer is given its time about once a second, except while it backs off', async () => {
  const { writer, append, advance } = setUp();
  for (let i = 0; i < 5; i++) await advance(1000);
  expect(writer.ticks).toBe(5);
  writer.beforeWrite = () => {
    throw fault('operator');
  };
  append(1);
  for (let i = 0; i < 5; i++) await advance(1000);
  expect(writer.ticks).toBe(5);
});

test('closing ends the loop while it waits', async () => {
  const { loop, writer, append, settle } = setUp();
  writer.beforeWrite = () => {
    throw fault('operator');
  };
  append(1);
  await settle();
  loop.close();
  await settle();
  append(1);
  await settle();
  await eventually('no call after the close', () => writer.calls.length === 1);
});

test('a writer that owes something counts as failing however well it takes records', async () => {
  const { writer, loop, append, advance, settle } = setUp();
  let owes = false;
  writer.owes = () => owes;
  writer.holdsBack = true;
  append(1);
  await settle();
  writer.beforeWrite = () => {
    owes = true;
    throw fault('local');
  };
  append(1);
  await advance(1000);
  writer.beforeWrite = () => {};
  await advance(2000);
  append(1);
  await advance(2000);
  expect(loop.status()).toMatchObject({ state: 'running', lastError: 'cannot write: local' });
  expect(loop.status().failingSinceMs).toBeGreaterThan(0);
  owes = false;
  await advance(2000);
  expect(loop.status()).toMatchObject({ failingSinceMs: 0, lastError: '' });
});

test('an open breaker asks with a probe, and then writes all that waits', async () => {
  const { loop, writer, append, advance, settle } = setUp();
  const probes: number[] = [];
  let isDown = true;
  writer.probe = async () => {
    probes.push(writer.calls.length);
    if (isDown) throw fault('network');
  };
  writer.beforeWrite = () => {
    if (isDown) throw fault('network');
  };
  append(3);
  await settle();
  for (let i = 0; i < 12; i++) await advance(16_000);
  expect(loop.status().breaker).toBe('open');
  expect(probes.length).toBeGreaterThan(2);
  // No record was tried again and again meanwhile.
  expect(writer.calls.length).toBe(BREAKER_FAILURES);
  isDown = false;
  await advance(16_000);
  expect(writer.written).toEqual([[1, 2, 3]]);
  expect(loop.status()).toMatchObject({ breaker: 'closed', failingSinceMs: 0 });
});

test('a writer with a backlog is called without new records, and with none where it is full', async () => {
  const { writer, append, settle } = setUp();
  const backlog = ['full', 'some', 'none'] as const;
  writer.backlog = () => (writer.written.length === 0 ? 'none' : backlog[left]!);
  let left = 0;
  writer.beforeWrite = (records) => {
    if (writer.written.length === 0) append(1);
    else left = Math.min(2, left + 1);
    if (writer.written.length === 1) expect(records).toEqual([]);
  };
  append(2);
  await settle();
  expect(writer.written.slice(0, 3)).toEqual([[1, 2], [], [3]]);
});

test('a failure before which something was achieved is no standstill', async () => {
  const { loop, writer, append, advance, settle, clock } = setUp();
  writer.beforeWrite = () => {
    throw fault('throttled', { isAdvanced: true });
  };
  append(1);
  await settle();
  for (let i = 0; i < 20; i++) await advance(1000);
  expect(loop.status()).toMatchObject({ breaker: 'closed', state: 'backing_off' });
  expect(clock.nowMs() - loop.status().failingSinceMs).toBeLessThan(3000);
});
