import { afterEach, beforeEach, expect, test } from 'vitest';
import { AgentLoop, roundOffset, untilNextRound } from '../../src/agent/agent-loop.ts';
import type { Source } from '../../src/client/reading.ts';
import { BatchDecoder } from '../../src/codec/decode-batch.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { describeSeries } from '../../src/domain/telemetry.ts';
import { AgentBench } from '../helpers/agent-bench.ts';
import { reportOf, ScriptedSource } from '../helpers/scripted-source.ts';
import type { StubCollector } from '../helpers/stub-collector.ts';

let bench: AgentBench;
beforeEach(async () => {
  bench = await AgentBench.create();
});
afterEach(() => bench.close());

/** Runs so many rounds of 50 ms and returns what each round's batch said. */
async function runRounds(sources: Source[], rounds: number): Promise<Map<string, number>[]> {
  const stub = await bench.stub();
  const client = await bench.client(stub.address);
  const loop = new AgentLoop({ clock: systemClock, logger: bench.log.logger, client }, sources, {
    intervalMs: 50,
    rounds,
    nodeKey: 'node-1',
    maxBatchSamples: 1000,
  });
  await loop.run();
  expect(await client.drain(10_000)).toBe(true);
  return contents(stub);
}

function contents(stub: StubCollector): Map<string, number>[] {
  const limits = { maxBatchSamples: 1e6, maxLabelsPerSeries: 64, maxNameBytes: 999 };
  const tables = { maxLabelValueBytes: 999, maxSeries: 1e6, maxTextCharacters: 1e9 };
  const ratio = { maxTextPerByte: 1000 };
  const decoder = new BatchDecoder({ ...limits, ...tables, ...ratio });
  return stub.received.map(({ bytes }) => {
    const result = decoder.decode(bytes);
    if (!result.ok) throw new Error(result.message);
    const { table, samples } = result.batch;
    const entries = [...samples.series].map(
      (index, at) => [describeSeries(table.series[index]!), samples.values[at]!] as const,
    );
    return new Map(entries);
  });
}

test('each round brings the readings of every source, in one batch with an unchanging table', async () => {
  const sources = ['a', 'b'].map(
    (name) => new ScriptedSource(name, async () => reportOf([`${name}_1`, `${name}_2`])),
  );
  const rounds = await runRounds(sources, 3);
  expect(rounds).toHaveLength(3);
  for (const round of rounds) {
    expect([...round.keys()].slice(0, 4)).toEqual(['a_1', 'a_2', 'b_1', 'b_2']);
    expect(round.get('agent_source_up{source="a"}')).toBe(1);
  }
});

test('a source that fails is reported as down, while the others go on', async () => {
  const good = new ScriptedSource('good', async () => reportOf(['fine']));
  const bad = new ScriptedSource('bad', async () => {
    throw new Error('exporter is dead');
  });
  const rounds = await runRounds([good, bad], 4);
  for (const round of rounds) {
    expect(round.get('agent_source_up{source="bad"}')).toBe(0);
    expect(round.get('agent_source_up{source="good"}')).toBe(1);
    expect(round.has('fine')).toBe(true);
  }
  // After the failure it is left alone for a while, and complained about once.
  expect(bad.collections).toBe(1);
  const complaints = bench.log.lines.filter((line) => line.msg === 'source fails');
  expect(complaints.map((line) => [line.source, line.why])).toEqual([['bad', 'exporter is dead']]);
});

test('a source that hangs holds up neither the round nor the others, and is down meanwhile', async () => {
  let release = () => {};
  const hanging = new ScriptedSource('hanging', async () => {
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    return reportOf(['late']);
  });
  const good = new ScriptedSource('good', async (collection) => {
    if (collection === 3) release();
    return reportOf(['fine']);
  });
  const rounds = await runRounds([hanging, good], 4);
  expect(rounds[0]?.get('agent_source_up{source="hanging"}')).toBe(0);
  expect(rounds[0]?.has('fine')).toBe(true);
  expect(rounds.filter((round) => round.has('late'))).toHaveLength(1);
});

test('what a source skipped is counted, and so is what no batch can carry', async () => {
  const source = new ScriptedSource('a', async () => {
    const { readings, ...rest } = reportOf(['fine']);
    const broken = { ...readings[0]!, name: 'broken', value: Number.NaN };
    const skipped = [{ what: 'column 3', why: 'not a number', count: 5 }];
    return { ...rest, readings: [...readings, broken], skipped };
  });
  const rounds = await runRounds([source], 3);
  const counts = rounds.map((round) => round.get('agent_source_skipped_total{source="a"}'));
  // A round's own broken reading shows in the next round.
  expect(counts).toEqual([5, 11, 17]);
  expect(bench.log.lines.filter((line) => line.msg === 'readings were skipped')).toHaveLength(1);
});

test('the loop ends when every source is done', async () => {
  const source = new ScriptedSource('file', async (collection) =>
    reportOf(['row'], { done: collection === 2 }),
  );
  const rounds = await runRounds([source], 100);
  expect(rounds.filter((round) => round.has('row'))).toHaveLength(2);
  expect(source.collections).toBe(2);
});

test('stop ends a loop at once, even one that waits for a hanging source', async () => {
  const stub = await bench.stub();
  const client = await bench.client(stub.address);
  const source = new ScriptedSource('hanging', () => new Promise(() => {}));
  const options = { intervalMs: 60_000, nodeKey: 'n', maxBatchSamples: 10 };
  const deps = { clock: systemClock, logger: bench.log.logger, client };
  const loop = new AgentLoop(deps, [source], options);
  const done = loop.run();
  await client.connected();
  loop.stop();
  loop.stop();
  await done;
});

test('with interval zero the next collection waits until the last one is acknowledged', async () => {
  const stub = await bench.stub();
  const client = await bench.client(stub.address);
  const unacked: number[] = [];
  const source = new ScriptedSource('file', async (collection) => {
    unacked.push(client.stats.pendingBatches);
    return reportOf(['row'], { done: collection === 50 });
  });
  const options = { intervalMs: 0, nodeKey: 'n', maxBatchSamples: 10 };
  const loop = new AgentLoop(
    { clock: systemClock, logger: bench.log.logger, client },
    [source],
    options,
  );
  await loop.run();
  await client.drain(10_000);
  expect(unacked).toEqual(Array(50).fill(0));
  expect(contents(stub).filter((batch) => batch.has('row'))).toHaveLength(50);
});

test('batches are laid out for the limits of the Hello', async () => {
  const stub = await bench.stub({ hello: { maxBatchSamples: 7 } });
  const client = await bench.client(stub.address);
  const names = Array.from({ length: 40 }, (_, index) => `m${index}`);
  const source = new ScriptedSource('a', async () => reportOf(names));
  const options = { intervalMs: 50, rounds: 1, nodeKey: 'n', maxBatchSamples: 1000 };
  const deps = { clock: systemClock, logger: bench.log.logger, client };
  await new AgentLoop(deps, [source], options).run();
  expect(await client.drain(10_000)).toBe(true);
  expect(client.stats.droppedSamples).toBe(0);
  expect(stub.received.every((batch) => batch.sampleCount <= 7)).toBe(true);
});

test('rounds lie at multiples of the interval plus an offset of the node’s own', () => {
  expect(untilNextRound(10_000, 10_000, 0)).toBe(10_000);
  expect(untilNextRound(10_001, 10_000, 0)).toBe(9_999);
  expect(untilNextRound(12_000, 10_000, 3_000)).toBe(1_000);
  expect(untilNextRound(1_000, 10_000, 3_000)).toBe(2_000);
  const offsets = Array.from({ length: 1000 }, (_, node) => roundOffset(`node-${node}`, 10_000));
  expect(Math.min(...offsets)).toBeLessThan(100);
  expect(Math.max(...offsets)).toBeGreaterThan(9_900);
  expect(roundOffset('node-1', 10_000)).toBe(roundOffset('node-1', 10_000));
});
