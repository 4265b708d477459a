import { expect, test } from 'vitest';
import { WriteQueue } from '../../src/transport/write-queue.ts';

/** What comes out, piece by piece, where the taker takes `atMost` bytes of each. */
function drain(queue: WriteQueue, atMost: number): Buffer[] {
  const pieces: Buffer[] = [];
  while (!queue.isEmpty) {
    const taken = queue.peek().subarray(0, atMost);
    pieces.push(Buffer.from(taken));
    queue.advance(taken.length);
  }
  return pieces;
}

test('small pieces come out as few large ones, in order, however much is taken', () => {
  const pieces = Array.from({ length: 10_000 }, (_, index) => Buffer.from(`answer ${index};`));
  for (const atMost of [7, 1000, 1 << 20]) {
    const queue = new WriteQueue();
    for (const piece of pieces) queue.push(piece, false);
    const out = drain(queue, atMost);
    expect(Buffer.concat(out).equals(Buffer.concat(pieces))).toBe(true);
    if (atMost > 1000) expect(out.length).toBeLessThan(20);
  }
});

test('a piece larger than what is put together stays whole, and the end comes last', () => {
  const queue = new WriteQueue();
  queue.push(Buffer.alloc(10, 1), false);
  queue.push(Buffer.alloc(100_000, 2), false);
  queue.push(Buffer.alloc(10, 3), true);
  expect(queue.peekFin()).toBe(false);
  expect(drain(queue, 1 << 20).map((piece) => piece.length)).toEqual([10, 100_000, 10]);
  expect(queue.peekFin()).toBe(true);
  expect(queue.bytes).toBe(0);
});
