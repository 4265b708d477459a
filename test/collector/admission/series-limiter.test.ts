import { describe, expect, it } from 'vitest';
import { costsOf } from '../../../src/collector/admission/series-costs.ts';
import { seriesHashes } from '../../../src/collector/admission/series-identity.ts';
import {
  SeriesLimiter,
  type SeriesLimits,
} from '../../../src/collector/admission/series-limiter.ts';
import { encodeSeriesTable } from '../../../src/codec/series-table.ts';
import type { SeriesChange, SeriesTable } from '../../../src/domain/telemetry.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { seededRandom } from '../../helpers/seeded-random.ts';

const START_MS = 1_753_000_000_000;
const HOUR_MS = 3_600_000;

function tableOf(...names: string[]): SeriesTable {
  return encodeSeriesTable(
    names.map((name) => ({ name, labels: [['pod', `pod-of-${name}`]], kind: 'gauge', unit: '' })),
  );
}

/** One series as it was persisted last. */
type StoredSeries = Extract<SeriesChange, { kind: 'put' }>;

/** A limiter with what it persisted, as the journal would hold it. */
function limiterWith(overrides: Partial<SeriesLimits> = {}, clock = new FakeClock(START_MS)) {
  const limits = {
    max_cardinality: 100,
    max_cardinality_per_node: 10,
    max_series_text_per_node: 1_000_000,
    series_ttl_secs: 3600,
    ...overrides,
  };
  const stored = new Map<number, StoredSeries>();
  const changes: SeriesChange[] = [];
  const limiter = new SeriesLimiter(clock, limits, (batch) => {
    for (const change of batch) {
      changes.push(change);
      for (const hash of change.hashes) {
        if (change.kind === 'put') stored.set(hash, { ...change, hashes: Float64Array.of(hash) });
        else stored.delete(hash);
      }
    }
  });
  const resolve = (nodeId: string, table: SeriesTable) =>
    limiter.resolve(nodeId, table, costsOf(table.series).textBytes);
  const admitted = (nodeId: string, table: SeriesTable) => [...resolve(nodeId, table).admitted];
  return { limiter, clock, limits, stored, changes, resolve, admitted };
}

describe('SeriesLimiter', () => {
  it('gives slots in table order until the node has no more', () => {
    const { limiter, admitted, resolve } = limiterWith({ max_cardinality_per_node: 2 });
    const table = tableOf('a', 'b', 'c', 'd');
    expect(admitted('n', table)).toEqual([1, 1, 0, 0]);
    expect(resolve('n', table)).toMatchObject({
      refused: 2,
      refusedBy: 'cardinality_node',
    });
    expect([limiter.size, limiter.refusedNow, limiter.nodes()]).toEqual([2, 2, 1]);
    expect(limiter.refusedTotal('cardinality_node')).toBe(2);
  });

  it('gives slots until there are no more over all nodes', () => {
    const { limiter, admitted, resolve } = limiterWith({ max_cardinality: 3 });
    expect(admitted('n1', tableOf('a', 'b'))).toEqual([1, 1]);
    expect(admitted('n2', tableOf('a', 'b'))).toEqual([1, 0]);
    expect(resolve('n2', tableOf('a', 'b')).refusedBy).toBe('cardinality_global');
    expect(limiter.refusedTotal('cardinality_global')).toBe(1);
  });

  it('always lets known series pass, in whatever table they come', () => {
    const { admitted } = limiterWith({ max_cardinality_per_node: 2 });
    admitted('n', tableOf('a', 'b'));
    expect(admitted('n', tableOf('x', 'b', 'a'))).toEqual([0, 1, 1]);
  });

  it('keeps known series under a limit that was lowered, and refuses new ones', () => {
    const { limiter, limits, admitted, clock } = limiterWith();
    const table = tableOf('a', 'b', 'c');
    admitted('n', table);
    limiter.reconfigure({ ...limits, max_cardinality_per_node: 1 });
    clock.advance(60_000);
    expect(admitted('n', table)).toEqual([1, 1, 1]);
    expect(admitted('n', tableOf('d'))).toEqual([0]);
  });

  it('counts a series that is in two tables once', () => {
    const { limiter, admitted } = limiterWith();
    admitted('n', tableOf('a', 'b'));
    admitted('n', tableOf('b', 'c'));
    expect(limiter.size).toBe(3);
  });

  it('frees the slots of series that were not seen for the time to live', () => {
    const { limiter, admitted, clock, stored } = limiterWith({ max_cardinality_per_node: 2 });
    const [old, fresh] = [tableOf('a', 'b'), tableOf('c', 'd')];
    admitted('n', old);
    expect(admitted('n', fresh)).toEqual([0, 0]);
    clock.advance(HOUR_MS);
    limiter.sweep();
    expect(admitted('n', fresh)).toEqual([0, 0]);
    clock.advance(5000);
    limiter.sweep();
    expect([limiter.size, limiter.nodes(), stored.size]).toEqual([0, 0, 0]);
    clock.advance(5000);
    expect(admitted('n', fresh)).toEqual([1, 1]);
    expect([...stored.values()].map(({ nodeId }) => nodeId)).toEqual(['n', 'n']);
  });

  it('keeps the slots of series that go on being seen', () => {
    const { limiter, admitted, clock } = limiterWith();
    const table = tableOf('a');
    for (let minute = 0; minute < 180; minute += 1) {
      expect(admitted('n', table)).toEqual([1]);
      clock.advance(60_000);
      limiter.sweep();
    }
    expect(limiter.size).toBe(1);
  });

  it('keeps them too where the time to live is shorter than a minute', () => {
    const { limiter, admitted, clock } = limiterWith({ series_ttl_secs: 1 });
    const table = tableOf('a');
    for (let step = 0; step < 100; step += 1) {
      admitted('n', table);
      clock.advance(100);
      limiter.sweep();
      expect(limiter.size).toBe(1);
    }
  });

  it('gives a series that lost its slot a new one when it is seen again', () => {
    const { limiter, admitted, clock } = limiterWith();
    const table = tableOf('a');
    admitted('n', table);
    clock.advance(2 * HOUR_MS);
    limiter.sweep();
    expect(limiter.size).toBe(0);
    expect(admitted('n', table)).toEqual([1]);
    expect(limiter.size).toBe(1);
  });

  it('looks at a table with refused series again every five seconds, not at every batch', () => {
    const { limiter, limits, admitted, clock } = limiterWith({ max_cardinality_per_node: 1 });
    const table = tableOf('a', 'b');
    expect(admitted('n', table)).toEqual([1, 0]);
    limiter.reconfigure({ ...limits, max_cardinality_per_node: 2 });
    clock.advance(4999);
    expect(admitted('n', table)).toEqual([1, 0]);
    clock.advance(1);
    expect(admitted('n', table)).toEqual([1, 1]);
    expect([limiter.refusedNow, limiter.refusedTotal('cardinality_node')]).toEqual([0, 1]);
  });

  it('counts a series as refused once, however often it is looked at', () => {
    const { limiter, admitted, clock } = limiterWith({ max_cardinality_per_node: 1 });
    for (let look = 0; look < 5; look += 1) {
      admitted('n', tableOf('a', 'b'));
      clock.advance(5000);
    }
    expect(limiter.refusedTotal('cardinality_node')).toBe(1);
    expect(limiter.topOffenders(3).byMetric).toEqual([{ name: 'b', count: 1 }]);
  });

  it('persists a newer last seen only when it moved by a tenth of the time to live', () => {
    const { admitted, clock, changes, stored } = limiterWith();
    const table = tableOf('a');
    admitted('n', table);
    for (let minute = 0; minute < 6; minute += 1) {
      clock.advance(60_000);
      admitted('n', table);
    }
    expect(changes).toHaveLength(1);
    clock.advance(60_000);
    admitted('n', table);
    expect(changes).toHaveLength(2);
    expect([...stored.values()][0]?.seenSecs).toBe(START_MS / 1000 + 7 * 60);
  });

  it('has the same members after a restart, with the same times to live', () => {
    const before = limiterWith({ max_cardinality_per_node: 2 });
    before.admitted('n', tableOf('a', 'b'));
    before.clock.advance(HOUR_MS / 2);
    const after = limiterWith({ max_cardinality_per_node: 2 }, before.clock);
    after.limiter.restore(before.stored.values());
    expect(after.limiter.size).toBe(2);
    expect(after.admitted('n', tableOf('x', 'a', 'b'))).toEqual([0, 1, 1]);
    expect(after.limiter.topOffenders(1).byNode).toEqual([{ nodeId: 'n', series: 2, refused: 1 }]);
  });

  it('frees after a restart what expired before it, and has that forgotten', () => {
    const before = limiterWith();
    before.admitted('n', tableOf('a', 'b'));
    before.clock.advance(2 * HOUR_MS);
    const after = limiterWith({}, before.clock);
    after.limiter.restore(before.stored.values());
    after.limiter.sweep();
    expect(after.limiter.size).toBe(0);
    const [change] = after.changes;
    expect([after.changes.length, change?.kind]).toEqual([1, 'remove']);
    expect(change?.hashes.sort()).toEqual(seriesHashes('n', tableOf('a', 'b').series).sort());
  });

  it('sweeps in slices: no call frees more than ten thousand', () => {
    const count = 25_000;
    const limits = { max_cardinality: count, max_cardinality_per_node: count };
    const { limiter, admitted, clock } = limiterWith(limits);
    admitted('n', tableOf(...Array.from({ length: count }, (_, index) => `m${index}`)));
    clock.advance(2 * HOUR_MS);
    const sizes = Array.from({ length: 4 }, () => {
      limiter.sweep();
      return limiter.size;
    });
    expect(sizes).toEqual([15_000, 5000, 0, 0]);
  });

  it('remembers a bounded number of tables', () => {
    const { limiter, admitted } = limiterWith({ max_cardinality: 1, max_cardinality_per_node: 1 });
    const names = Array.from({ length: 1000 }, (_, index) => `m${index}`);
    for (let round = 0; round < 150; round += 1) admitted('n', tableOf(`first-${round}`, ...names));
    expect(limiter.cachedTables).toBeLessThan(101);
    expect(limiter.refusedNow).toBeLessThan(101_000);
  });

  it('remembers a bounded number of tables, however small they are', () => {
    const { limiter, admitted } = limiterWith({ max_cardinality: 1, max_cardinality_per_node: 1 });
    for (let round = 0; round < 2000; round += 1) admitted('n', tableOf(`only-${round}`));
    expect(limiter.cachedTables).toBeLessThan(1000);
  });

  it('makes room in the tables of the node with most, never in those of the others', () => {
    const { limiter, clock, resolve } = limiterWith({ max_cardinality: 1 });
    const neighbours = Array.from({ length: 20 }, (_, index) => `neighbour-${index}`);
    const table = tableOf(...Array.from({ length: 300 }, (_, index) => `m${index}`));
    for (const nodeId of neighbours) resolve(nodeId, table);
    for (let round = 0; round < 3000; round += 1) {
      clock.advance(100);
      resolve('hostile', tableOf(`tiny-${round}`));
    }
    expect(neighbours.filter((nodeId) => !limiter.knows(nodeId, table))).toEqual([]);
    expect(limiter.cachedTables).toBeLessThan(1000);
    // What nobody used for ten minutes makes room first: a node that sends all the time loses none.
    clock.advance(610_000);
    resolve('steady', table);
    for (let round = 0; round < 900; round += 1) resolve('another', tableOf(`tiny-${round}`));
    expect(limiter.knows('steady', table)).toBe(true);
    expect(neighbours.filter((nodeId) => limiter.knows(nodeId, table))).toEqual([]);
  });

  it('does not free slots early or late when the wall clock jumps back', () => {
    const { limiter, admitted, clock } = limiterWith();
    admitted('n', tableOf('a'));
    clock.setWall(START_MS - HOUR_MS);
    limiter.sweep();
    expect(limiter.size).toBe(1);
  });

  it('names who is refused: nodes, metrics and the labels that make the series', () => {
    const { limiter, admitted } = limiterWith({ max_cardinality_per_node: 5 });
    const names = Array.from({ length: 100 }, (_, index) => `m${index}`);
    admitted('quiet', tableOf('a', 'b', 'c'));
    admitted('loud', tableOf(...names));
    const { byNode, byMetric, byLabel } = limiter.topOffenders(2);
    expect(byNode).toEqual([
      { nodeId: 'loud', series: 5, refused: 95 },
      { nodeId: 'quiet', series: 3, refused: 0 },
    ]);
    expect(byMetric).toHaveLength(2);
    expect(byLabel[0]?.name).toBe('pod');
    expect(Math.abs(byLabel[0]!.count - 95)).toBeLessThan(20);
  });

  it('agrees with a naive model through random tables, time and restarts', () => {
    const random = seededRandom();
    const ttlSecs = 300;
    const limits = { max_cardinality: 40, max_cardinality_per_node: 15, series_ttl_secs: ttlSecs };
    let world = limiterWith(limits);
    const { clock } = world;
    const model = new Map<string, { node: string; seenSecs: number }>();
    for (let step = 0; step < 3000; step += 1) {
      const where = `seed ${random.seed}, step ${step}`;
      const node = `n${random.below(4)}`;
      const names = new Set(
        Array.from({ length: 1 + random.below(8) }, () => `m${random.below(30)}`),
      );
      const nowSecs = Math.ceil(clock.nowMs() / 1000);
      const expected = [...names].map((name) => {
        const key = `${node}/${name}`;
        const ofNode = [...model.values()].filter((series) => series.node === node).length;
        if (!model.has(key) && (ofNode >= 15 || model.size >= 40)) return 0;
        model.set(key, { node, seenSecs: nowSecs });
        return 1;
      });
      expect(world.admitted(node, tableOf(...names)), where).toEqual(expected);
      expect(world.limiter.size, where).toBe(model.size);
      expect(world.limiter.nodes(), where).toBe(
        new Set([...model.values()].map((s) => s.node)).size,
      );
      // Far enough that every table is looked at again.
      clock.advance(75_000 + random.below(60_000));
      for (const [key, { seenSecs }] of model) {
        if (seenSecs * 1000 < clock.nowMs() - ttlSecs * 1000) model.delete(key);
      }
      world.limiter.sweep();
      world.limiter.sweep();
      if (random.chance(0.02)) {
        const { stored } = world;
        world = limiterWith(limits, clock);
        // What is persisted may be a tenth of the time to live behind; the model is not.
        for (const [hash, series] of stored) {
          world.stored.set(hash, { ...series, seenSecs: exactSeen(hash) });
        }
        world.limiter.restore(world.stored.values());
      }
    }
    function exactSeen(hash: number): number {
      for (const [key, { seenSecs }] of model) {
        const [node, name] = key.split('/') as [string, string];
        if (seriesHashes(node, tableOf(name).series)[0] === hash) return seenSecs;
      }
      throw new Error('persisted a series that is not a member');
    }
  });
});

describe('SeriesLimiter, with all slots taken', () => {
  const names = (count: number) => Array.from({ length: count }, (_, index) => `s${index}`);
  const heldBy = (bed: ReturnType<typeof limiterWith>, nodeId: string) =>
    bed.limiter.topOffenders(100).byNode.find((node) => node.nodeId === nodeId)?.series ?? 0;

  function bedTakenByTenNodes() {
    const bed = limiterWith();
    for (let node = 0; node < 10; node += 1) bed.admitted(`greedy-${node}`, tableOf(...names(10)));
    expect(bed.limiter.size).toBe(100);
    return bed;
  }

  it('gives a newcomer its equal share, and stays within the limit', () => {
    const bed = bedTakenByTenNodes();
    expect(bed.admitted('newcomer', tableOf(...names(10)))).toEqual([
      ...new Array<number>(9).fill(1),
      0,
    ]);
    expect([bed.limiter.size, bed.limiter.reclaimedTotal]).toEqual([100, 9]);
    // What was taken is gone from the journal too, and what was given is there.
    expect(bed.stored.size).toBe(100);
    const newcomers = [...bed.stored.values()].filter(({ nodeId }) => nodeId === 'newcomer');
    expect(newcomers).toHaveLength(9);
  });

  it('gives every newcomer its share, however many come, and pushes nobody below it', () => {
    const bed = bedTakenByTenNodes();
    for (let node = 0; node < 40; node += 1) {
      expect(bed.admitted(`newcomer-${node}`, tableOf('a', 'b'))).toEqual([1, 1]);
    }
    expect(bed.limiter.size).toBe(100);
    for (let node = 0; node < 10; node += 1) {
      expect(heldBy(bed, `greedy-${node}`)).toBeGreaterThanOrEqual(2);
    }
    for (let node = 0; node < 40; node += 1) expect(heldBy(bed, `newcomer-${node}`)).toBe(2);
  });

  it('takes nothing for a node that has its share', () => {
    const bed = bedTakenByTenNodes();
    bed.admitted('newcomer', tableOf(...names(10)));
    expect(bed.admitted('newcomer', tableOf('another'))).toEqual([0]);
    bed.clock.advance(60_000);
    expect(bed.admitted('greedy-0', tableOf('another'))).toEqual([0]);
    expect(bed.limiter.reclaimedTotal).toBe(9);
  });

  it('has the node that lost slots refused as anybody, once its table is looked at again', () => {
    const bed = bedTakenByTenNodes();
    bed.admitted('newcomer', tableOf(...names(10)));
    bed.clock.advance(60_000);
    let refused = 0;
    for (let node = 0; node < 10; node += 1) {
      refused += bed.resolve(`greedy-${node}`, tableOf(...names(10))).refused;
    }
    expect(refused).toBe(9);
    expect(bed.limiter.size).toBe(100);
  });
});

describe('SeriesLimiter, text of a node', () => {
  it('refuses series beyond the text that a node may have, and no others', () => {
    const { limiter, resolve, admitted } = limiterWith({ max_series_text_per_node: 40 });
    const table = tableOf('aa', 'bb', 'cc');
    // Name, label key and label value of each: 2 + 3 + 9 bytes.
    expect(resolve('n', table)).toMatchObject({ refused: 1, refusedBy: 'text_node' });
    expect(limiter.mostNodeText()).toBe(28);
    expect(admitted('n2', table)).toEqual([1, 1, 0]);
  });

  it('gives text back when series expire, and counts it again after a restart', () => {
    const bed = limiterWith({ max_series_text_per_node: 40 });
    bed.admitted('n', tableOf('aa', 'bb'));
    const restarted = limiterWith({ max_series_text_per_node: 40 }, bed.clock);
    restarted.limiter.restore(bed.stored.values());
    expect(restarted.limiter.mostNodeText()).toBe(0);
    expect(restarted.admitted('n', tableOf('aa', 'bb', 'cc'))).toEqual([1, 1, 0]);
    expect(restarted.limiter.mostNodeText()).toBe(28);
    bed.clock.advance(2 * HOUR_MS);
    restarted.limiter.sweep();
    expect(restarted.limiter.mostNodeText()).toBe(0);
    expect(restarted.admitted('n', tableOf('cc'))).toEqual([1]);
  });

  it('gives each unit of a series a slot of its own', () => {
    const { admitted } = limiterWith({ max_cardinality_per_node: 2 });
    const units = encodeSeriesTable(
      ['W', 'mW', 'kW'].map((unit) => ({ name: 'power', labels: [], kind: 'gauge', unit })),
    );
    expect(admitted('n', units)).toEqual([1, 1, 0]);
  });
});
