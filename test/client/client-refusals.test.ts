import { afterEach, beforeEach, expect, test } from 'vitest';
import { Producers } from '../../src/journal/lmdb/producers.ts';
import { RejectionLog } from '../../src/client/rejection-log.ts';
import type { BatchAck, Rejection } from '../../src/domain/telemetry.ts';
import { AgentBench } from '../helpers/agent-bench.ts';
import { FakeClock } from '../helpers/fake-clock.ts';
import { createRecordingLogger } from '../helpers/recording-logger.ts';
import { gaugeTable, samplesOf } from '../helpers/sample-batches.ts';
import { tempDir } from '../helpers/temp-dir.ts';
import { TEST_HELLO } from '../helpers/test-hello.ts';

const TABLE = gaugeTable(10);
const NOW_MS = 1_700_000_000_000;

let bench: AgentBench;
beforeEach(async () => {
  bench = await AgentBench.create();
});
afterEach(() => bench.close());

test('an answer without numbers is that of the batch whose frame it names', async () => {
  const stub = await bench.stub({
    answer: ({ sequence }) => ({ kind: sequence === 2 ? 'unreadable' : 'accept' }),
  });
  const client = await bench.client(stub.address);
  const sends = [1, 2, 3].map((value) => client.send(TABLE, samplesOf(TABLE, value, NOW_MS)));
  const statuses = (await Promise.all(sends)).map(({ status }) => status);
  expect(statuses).toEqual(['accepted', 'rejected', 'accepted']);
  expect(client.stats).toMatchObject({ unknownAcks: 0, pendingBatches: 0, rejectedSamples: 10 });
});

test('a forgotten epoch is left: its batch counts as refused, the next ones are stored', async () => {
  const stub = await bench.stub();
  const client = await bench.client(stub.address);
  const first = client.epoch;
  stub.answer = ({ epoch }) =>
    epoch === first ? { kind: 'refuse', reason: 'out_of_window' } : { kind: 'accept' };
  const refused = await client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  const stored = await client.send(TABLE, samplesOf(TABLE, 2, NOW_MS));
  expect([refused.status, stored.status]).toEqual(['rejected', 'accepted']);
  expect(client.epoch).toBeGreaterThan(first);
  expect(stub.received.map(({ sequence, values }) => [sequence, values[0]])).toEqual([
    [1, 1],
    [1, 2],
  ]);
  expect(client.stats.rejectedByReason.get('out_of_window')).toBe(10);
});

test('an epoch of a clock that was years ahead does not keep a node out for years', async () => {
  const forgottenTo = Date.now() + 10 * 365 * 86_400_000;
  const stub = await bench.stub({
    answer: ({ epoch }) =>
      epoch <= forgottenTo ? { kind: 'refuse', reason: 'out_of_window' } : { kind: 'accept' },
  });
  const client = await bench.client(stub.address);
  const statuses: string[] = [];
  for (let value = 1; value <= 8; value += 1) {
    statuses.push((await client.send(TABLE, samplesOf(TABLE, value, NOW_MS))).status);
  }
  expect(statuses.slice(-2)).toEqual(['accepted', 'accepted']);
});

test('a spool of many restarts loses no batch that is sent back once', async () => {
  const dir = tempDir();
  const spool = { dir, maxBytes: 1_000_000 };
  const nobody = await bench.stub({ greets: false });
  for (let epoch = 1; epoch <= 20; epoch += 1) {
    const client = await bench.client(nobody.address, { spool, epoch });
    void client.send(TABLE, samplesOf(TABLE, epoch, NOW_MS));
    await client.close();
  }
  const producers = new Producers();
  let isSentBack = false;
  const stub = await bench.stub({
    answer({ epoch, sequence }) {
      if (epoch === 1 && !isSentBack) {
        isSentBack = true;
        return { kind: 'throttle', retryAfterMs: 10 };
      }
      const step = { nodeId: 'node-1', epoch, sequence };
      if (producers.state('node-1', epoch, sequence) === 'out_of_window') {
        return { kind: 'refuse', reason: 'out_of_window' };
      }
      producers.begin(step);
      producers.plan([step], { wallMs: NOW_MS + epoch, monotonicMs: epoch }).fold();
      return { kind: 'accept' };
    },
  });
  const client = await bench.client(stub.address, { spool, epoch: 21 });
  void client.send(TABLE, samplesOf(TABLE, 21, NOW_MS));
  expect(await client.drain(10_000)).toBe(true);
  expect(client.stats).toMatchObject({ ackedBatches: 21, rejectedBatches: 0, throttled: 1 });
});

test('what is refused reaches the log by reason, with the clock where it is about time', async () => {
  const rejections: Rejection[] = [
    { reason: 'too_far_ahead', count: 3, firstSeries: 'temp' },
    { reason: 'sentinel', count: 1, firstSeries: 'power' },
  ];
  const stub = await bench.stub({
    hello: { timeMs: Date.now() - 3_600_000 },
    answer: () => ({ kind: 'partial', rejected: 4, rejections }),
  });
  const client = await bench.client(stub.address);
  await client.send(TABLE, samplesOf(TABLE, 1, NOW_MS));
  const [line] = bench.log.lines.filter(({ msg }) => msg === 'the collector refused samples');
  expect(line?.reasons).toEqual([
    { reason: 'too_far_ahead', samples: 3, firstSeries: 'temp' },
    { reason: 'sentinel', samples: 1, firstSeries: 'power' },
  ]);
  expect(Math.round(Number(line?.clockAheadMs) / 60_000)).toBe(60);
});

test('refusals make a line a minute, in which all of them are counted', () => {
  const clock = new FakeClock(NOW_MS);
  const { logger, lines } = createRecordingLogger();
  const log = new RejectionLog(clock, logger);
  log.greeted({ ...TEST_HELLO, timeMs: NOW_MS });
  const ack: BatchAck = {
    epoch: 1,
    sequence: 1,
    status: 'partial',
    accepted: 0,
    rejected: 2,
    rejections: [{ reason: 'cardinality_node', count: 2, firstSeries: 'x' }],
    retryAfterMs: 0,
    message: '',
  };
  for (let second = 0; second < 90; second += 1) {
    log.refused(ack, 2);
    clock.advance(1000);
  }
  log.refused({ ...ack, rejections: [] }, 5);
  log.close();
  log.close();
  const samples = lines.map(({ reasons }) => (reasons as { samples: number }[])[0]?.samples);
  expect(samples).toEqual([2, 118, 60]);
  expect(lines.every((line) => !('clockAheadMs' in line))).toBe(true);
  expect(log.totals).toEqual(
    new Map([
      ['cardinality_node', 180],
      ['other', 5],
    ]),
  );
});
