import { describe, expect, test } from 'vitest';
import {
  EPOCHS_PER_NODE,
  type Now,
  type ProducerStep,
  Producers,
} from '../../../src/journal/lmdb/producers.ts';

const step = (sequence: number, epoch = 1, nodeId = 'node-1'): ProducerStep => ({
  nodeId,
  epoch,
  sequence,
});

const NOW: Now = { wallMs: 1000, monotonicMs: 10 };

/** Stores what is planned in a map, as a transaction would, and folds it. */
function commit(
  producers: Producers,
  stored: Map<string, Uint8Array>,
  steps: ProducerStep[],
  now = NOW,
): void {
  for (const each of steps) producers.begin(each);
  const plan = producers.plan(steps, now);
  for (const { key, value } of plan.puts) stored.set(key.join(), value);
  for (const key of plan.removes) stored.delete(key.join());
  plan.fold();
}

describe('producers', () => {
  test('a sequence is new, then pending, then durable', () => {
    const producers = new Producers();
    expect(producers.state('node-1', 1, 1)).toBe('new');
    producers.begin(step(1));
    expect(producers.state('node-1', 1, 1)).toBe('pending');
    const plan = producers.plan([step(1)], NOW);
    expect(producers.state('node-1', 1, 1)).toBe('pending');
    plan.fold();
    expect(producers.state('node-1', 1, 1)).toBe('durable');
    expect(producers.state('node-1', 2, 1)).toBe('new');
    expect(producers.state('node-2', 1, 1)).toBe('new');
  });

  test('an abandoned sequence is new again and leaves nothing behind', () => {
    const producers = new Producers();
    producers.begin(step(1));
    producers.plan([step(1)], NOW);
    producers.abandon([step(1)]);
    expect(producers.state('node-1', 1, 1)).toBe('new');
    expect(producers.count).toBe(0);
  });

  test('sequence 0 is never tracked', () => {
    const producers = new Producers();
    commit(producers, new Map(), [step(0), step(0)]);
    expect(producers.state('node-1', 1, 0)).toBe('new');
    expect(producers.count).toBe(0);
  });

  test('what is stored restores the same answers', () => {
    const stored = new Map<string, Uint8Array>();
    const producers = new Producers();
    commit(producers, stored, [step(1), step(2), step(5), step(9, 7), step(3, 1, 'nöde')]);
    const restored = new Producers();
    restored.restore(stored.values(), 0);
    expect(restored.count).toBe(3);
    for (let sequence = 1; sequence < 12; sequence += 1) {
      for (const [node, epoch] of [
        ['node-1', 1],
        ['node-1', 7],
        ['nöde', 1],
      ] as const) {
        expect(restored.state(node, epoch, sequence)).toBe(producers.state(node, epoch, sequence));
      }
    }
  });

  test('a node keeps its latest epochs, in memory and stored', () => {
    const stored = new Map<string, Uint8Array>();
    const producers = new Producers();
    for (let epoch = 1; epoch <= EPOCHS_PER_NODE; epoch += 1) {
      commit(producers, stored, [step(1, epoch)]);
    }
    commit(producers, stored, [step(2, 1)]);
    commit(producers, stored, [step(1, 100)]);
    expect(producers.count).toBe(EPOCHS_PER_NODE);
    expect(stored.size).toBe(EPOCHS_PER_NODE);
    expect(producers.state('node-1', 1, 2)).toBe('durable');
    expect(producers.state('node-1', 3, 1)).toBe('durable');
  });

  test('what comes under a forgotten epoch is out of the window, also after a restart', () => {
    const stored = new Map<string, Uint8Array>();
    let producers = new Producers();
    for (let epoch = 10; epoch < 10 + EPOCHS_PER_NODE; epoch += 1) {
      commit(producers, stored, [step(1, epoch)]);
    }
    expect(producers.state('node-1', 5, 1)).toBe('new');
    // Two at once, and then the rows that tell of them are forgotten as well.
    commit(producers, stored, [step(1, 100), step(1, 101)]);
    for (let epoch = 102; epoch < 120; epoch += 1) commit(producers, stored, [step(1, epoch)]);
    for (const restart of [false, true]) {
      if (restart) {
        producers = new Producers();
        producers.restore(stored.values(), 0);
      }
      for (const epoch of [5, 10, 11, 100, 111]) {
        expect(producers.state('node-1', epoch, 1), `epoch ${epoch}`).toBe('out_of_window');
        expect(producers.state('node-1', epoch, 2), `epoch ${epoch}`).toBe('out_of_window');
      }
      expect(producers.state('node-1', 112, 1)).toBe('durable');
      expect(producers.state('node-1', 120, 1)).toBe('new');
      expect(producers.state('node-2', 5, 1)).toBe('new');
      expect(producers.state('node-1', 5, 0)).toBe('new');
    }
  });

  test('a gap is told from what is stored, also after a restart', () => {
    const stored = new Map<string, Uint8Array>();
    const producers = new Producers();
    commit(producers, stored, [step(1), step(3), step(1027)]);
    const restored = new Producers();
    restored.restore(stored.values(), 0);
    for (const each of [producers, restored]) {
      const states = [2, 3, 4, 1027].map((sequence) => each.state('node-1', 1, sequence));
      expect(states).toEqual(['out_of_window', 'durable', 'new', 'durable']);
    }
  });

  test('rows of format 2 are read: what a client may ask about counts as stored', () => {
    const stored = new Map<string, Uint8Array>();
    const producers = new Producers();
    commit(producers, stored, [step(5000, 7, 'nöde')]);
    const rows = [...stored.values()].map((row) => row.subarray(0, row.length - 17));
    const restored = new Producers();
    restored.restore(rows, 0);
    const floor = 5000 - 1024;
    const states = [5000, 4999, floor, floor - 1023, floor - 1024];
    expect(states.map((sequence) => restored.state('nöde', 7, sequence))).toEqual([
      'durable',
      'new',
      'durable',
      'durable',
      'out_of_window',
    ]);
    expect(restored.state('nöde', 6, 1)).toBe('new');
  });

  test('an epoch with sequences under way is not forgotten', () => {
    const producers = new Producers();
    producers.begin(step(1, 1));
    for (let epoch = 2; epoch < 20; epoch += 1) commit(producers, new Map(), [step(1, epoch)]);
    expect(producers.state('node-1', 1, 1)).toBe('pending');
    expect(producers.count).toBe(EPOCHS_PER_NODE);
  });

  test('silent nodes are forgotten, others are not', () => {
    const stored = new Map<string, Uint8Array>();
    const producers = new Producers();
    commit(producers, stored, [step(1, 1, 'old'), step(1, 2, 'old')]);
    commit(producers, stored, [step(1, 1, 'young')], { wallMs: 5000, monotonicMs: 4010 });
    const plan = producers.planForgetting({ wallMs: 2000, monotonicMs: 1010 }, 100);
    expect(plan.removes).toEqual([
      ['old', 1],
      ['old', 2],
    ]);
    plan.fold();
    expect(producers.state('old', 1, 1)).toBe('new');
    expect(producers.state('young', 1, 1)).toBe('durable');
  });

  test('a wall clock that jumps ahead makes nobody silent who was just heard', () => {
    const producers = new Producers();
    commit(producers, new Map(), [step(1)], { wallMs: 1000, monotonicMs: 5000 });
    const before = { wallMs: 1e12, monotonicMs: 4000 };
    expect(producers.planForgetting(before, 100).removes).toEqual([]);
  });

  test('the epochs used last are kept over a restart also when the clock was set back', () => {
    const stored = new Map<string, Uint8Array>();
    const producers = new Producers();
    for (let epoch = 1; epoch <= EPOCHS_PER_NODE; epoch += 1) {
      const wallMs = epoch <= 4 ? 1e9 + epoch : 1e6 + epoch;
      commit(producers, stored, [step(1, epoch)], { wallMs, monotonicMs: epoch });
    }
    const restarted = new Producers();
    restarted.restore(stored.values(), 0);
    commit(restarted, stored, [step(1, 100)], { wallMs: 1e6, monotonicMs: 1 });
    commit(restarted, stored, [step(1, 101)], { wallMs: 1e9 + 9, monotonicMs: 2 });
    const known = (epoch: number) => restarted.state('node-1', epoch, 1) === 'durable';
    expect([1, 2, 3, 4, 5, 6, 7, 8, 100, 101].filter(known)).toEqual([3, 4, 5, 6, 7, 8, 100, 101]);
  });

  test('a node id too long for a key is stored all the same', () => {
    const stored = new Map<string, Uint8Array>();
    const nodeId = 'x'.repeat(5000);
    const producers = new Producers();
    commit(producers, stored, [step(1, 1, nodeId)]);
    expect([...stored.keys()][0]!.length).toBeLessThan(200);
    const restored = new Producers();
    restored.restore(stored.values(), 0);
    expect(restored.state(nodeId, 1, 1)).toBe('durable');
  });
});
