import { describe, expect, test } from 'vitest';
import {
  ProducerWindow,
  type SequenceState,
  WINDOW_BYTES,
  WINDOW_SEQUENCES,
} from '../../../src/journal/lmdb/producer-window.ts';
import { seededRandom } from '../../helpers/seeded-random.ts';

/** The same rules with a set for a memory. */
class NaiveWindow {
  readonly added = new Set<number>();
  floor = 0;
  passed = 0;

  state(sequence: number): SequenceState {
    if (sequence <= this.passed) return 'out_of_window';
    return this.added.has(sequence) ? 'durable' : 'new';
  }

  add(sequence: number): number {
    if (sequence <= this.floor) return -1;
    let gaps = 0;
    if (sequence > this.floor + WINDOW_SEQUENCES) {
      const first = this.added.size === 0;
      const floor = sequence - WINDOW_SEQUENCES;
      while (this.floor < floor) {
        this.floor += 1;
        if (this.added.has(this.floor)) continue;
        this.passed = this.floor;
        if (!first) gaps += 1;
      }
    }
    this.added.add(sequence);
    while (this.added.has(this.floor + 1)) this.floor += 1;
    return gaps;
  }
}

function roundTrip(window: ProducerWindow): ProducerWindow {
  const bytes = new Uint8Array(WINDOW_BYTES + 5);
  window.encodeInto(bytes, 5);
  return ProducerWindow.decode(bytes, 5, window.passedTo);
}

describe('producer window', () => {
  test('agrees with a naive model whatever arrives', () => {
    const random = seededRandom();
    const { seed } = random;
    const chance = (probability: number) => random.next() < probability;
    for (let round = 0; round < 40; round += 1) {
      let window = new ProducerWindow();
      const model = new NaiveWindow();
      let next = chance(0.5) ? 1 : random.below(5000) + 1;
      for (let step = 0; step < 400; step += 1) {
        const kind = random.below(10);
        let sequence = next;
        if (kind < 6) next += 1;
        else if (kind < 8) sequence = Math.max(1, next - random.below(1500));
        else if (kind < 9) sequence = next + random.below(1100);
        else sequence = next += random.below(4000);
        const where = `seed ${seed}, round ${round}, step ${step}, sequence ${sequence}`;
        expect(window.state(sequence), where).toBe(model.state(sequence));
        if (model.state(sequence) === 'new')
          expect(window.add(sequence), where).toBe(model.add(sequence));
        const probe = Math.max(1, next - 2000 + random.below(4000));
        expect(window.state(probe), `${where}, probe ${probe}`).toBe(model.state(probe));
        expect(window.floor, where).toBe(model.floor);
        if (chance(0.05)) window = chance(0.5) ? roundTrip(window) : window.copy();
      }
    }
  });

  test('never meets a client that keeps its sequences under way within the bound', () => {
    const random = seededRandom();
    const { seed } = random;
    const chance = (probability: number) => random.next() < probability;
    const window = new ProducerWindow();
    const unanswered: number[] = [];
    let next = 1;
    for (let step = 0; step < 50_000; step += 1) {
      const span = next - (unanswered[0] ?? next);
      if (span < WINDOW_SEQUENCES && chance(0.6)) unanswered.push(next++);
      if (unanswered.length === 0) continue;
      const at = chance(0.999) ? random.below(unanswered.length) : unanswered.length - 1;
      const sequence = unanswered.splice(at, 1)[0]!;
      expect(window.state(sequence), `seed ${seed}, sequence ${sequence}`).toBe('new');
      expect(window.add(sequence), `seed ${seed}, sequence ${sequence}`).toBe(0);
      expect(window.state(sequence)).toBe('durable');
    }
  });

  test('counts the holes that a jump leaves behind', () => {
    const window = new ProducerWindow();
    expect(window.add(1)).toBe(0);
    expect(window.add(3)).toBe(0);
    expect(window.add(WINDOW_SEQUENCES + 3)).toBe(1);
    expect(window.state(2)).toBe('out_of_window');
    expect(window.state(3)).toBe('durable');
    expect(window.state(4)).toBe('new');
    expect(window.add(1_000_000)).toBe(1_000_000 - WINDOW_SEQUENCES - 4);
  });

  test('counts a bounded number of holes, however far a sequence jumps', () => {
    const window = new ProducerWindow();
    window.add(1);
    expect(window.add(Number.MAX_SAFE_INTEGER)).toBe(1_000_000);
    expect(window.copy().countedGaps).toBe(1_000_000);
    expect(window.state(Number.MAX_SAFE_INTEGER)).toBe('durable');
  });

  test('takes a hole back when the sequence was under way while the window moved', () => {
    const window = new ProducerWindow();
    window.add(1);
    expect(window.add(WINDOW_SEQUENCES + 2)).toBe(1);
    expect(window.add(2)).toBe(-1);
  });

  test('that begins in the middle counts no gaps', () => {
    const window = new ProducerWindow();
    expect(window.add(500_000)).toBe(0);
    expect(window.state(500_000 - WINDOW_SEQUENCES)).toBe('out_of_window');
    expect(window.state(500_000 - WINDOW_SEQUENCES + 1)).toBe('new');
  });
});
