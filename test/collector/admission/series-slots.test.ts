import { describe, expect, it } from 'vitest';
import { SeriesSlots } from '../../../src/collector/admission/series-slots.ts';
import { seededRandom } from '../../helpers/seeded-random.ts';

describe('SeriesSlots', () => {
  it('agrees with a Map through random additions and removals', () => {
    const random = seededRandom();
    const slots = new SeriesSlots();
    const model = new Map<number, { node: number; seen: number }>();
    // Few different low bits, so that runs collide and go around the end of the table.
    const hashes = Array.from(
      { length: 4000 },
      () =>
        1 + random.below(2 ** 20) * 2 ** 32 + random.pick([0, 1, 1020, 1023, random.below(4096)]),
    );
    for (let step = 0; step < 40_000; step += 1) {
      const hash = random.pick(hashes);
      const entry = slots.find(hash);
      expect(entry >= 0, `seed ${random.seed}, step ${step}`).toBe(model.has(hash));
      if (entry >= 0 && random.chance(0.6)) {
        slots.remove(entry);
        model.delete(hash);
      } else if (entry < 0) {
        slots.add(hash, step, step + 1, step + 2);
        model.set(hash, { node: step, seen: step + 1 });
      }
    }
    expect(slots.size).toBe(model.size);
    for (const [hash, { node, seen }] of model) {
      const entry = slots.find(hash);
      const found = [slots.hashAt(entry), slots.nodeAt(entry), slots.seenSecsAt(entry)];
      expect(found, `seed ${random.seed}`).toEqual([hash, node, seen]);
    }
  });

  it('holds a million series in well under 150 MB', () => {
    const before = process.memoryUsage().arrayBuffers;
    const slots = new SeriesSlots();
    for (let series = 1; series <= 1_000_000; series += 1) slots.add(series * 7919, 0, 1, 0);
    expect(slots.size).toBe(1_000_000);
    expect(slots.capacity * 20).toBeLessThan(60e6);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(150e6);
  });
});
