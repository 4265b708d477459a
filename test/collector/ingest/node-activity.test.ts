import { expect, test } from 'vitest';
import { NodeActivity } from '../../../src/collector/ingest/node-activity.ts';

function samplesAt(...timestampsMs: number[]) {
  const count = timestampsMs.length;
  return {
    series: new Uint32Array(count),
    timestampsMs: Float64Array.from(timestampsMs),
    values: new Float64Array(count),
  };
}

test('the newest batch of a node is kept, and one without samples tells nothing', () => {
  const activity = new NodeActivity();
  activity.note('node-1', 1, 1, 1000, samplesAt(900, 950));
  activity.note('node-1', 1, 2, 2000, samplesAt(1950));
  activity.note('node-1', 1, 3, 3000, samplesAt());
  const batch = { epoch: 1, sequence: 2, receivedAtMs: 2000, lastSampleMs: 1950 };
  expect([...activity.nodes]).toEqual([['node-1', batch]]);
});

test('of too many nodes, the one that was silent for longest is forgotten', () => {
  const activity = new NodeActivity();
  const samples = samplesAt(1);
  for (let node = 0; node < 100_000; node += 1) activity.note(`node-${node}`, 1, 1, 1, samples);
  activity.note('node-0', 1, 2, 1, samples);
  activity.note('one more', 1, 1, 1, samples);
  expect(activity.nodes.size).toBe(100_000);
  expect(activity.nodes.has('node-0')).toBe(true);
  expect(activity.nodes.has('node-1')).toBe(false);
});
