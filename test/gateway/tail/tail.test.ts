import { describe, expect, it } from 'vitest';
import { formatPosition, parsePosition } from '../../../src/gateway/tail/position.ts';
import { Tail } from '../../../src/gateway/tail/tail.ts';
import { gaugeTable, samplesOf } from '../../helpers/sample-batches.ts';

const TABLE = gaugeTable(10);

function append(tail: Tail, source: string, seq: number, nodeId = 'gpu-001'): void {
  const samples = samplesOf(TABLE, seq, seq);
  tail.append({ source, seq, nodeId, receivedAtMs: seq, table: TABLE, samples });
}

describe('the tail', () => {
  it('holds the newest records within its bound, in all and by node', () => {
    const tail = new Tail(100_000);
    tail.begin('c/j', 0);
    for (let seq = 1; seq <= 1000; seq += 1) append(tail, 'c/j', seq, `gpu-00${seq % 2}`);
    expect(tail.bytes).toBeLessThanOrEqual(100_000);
    expect(tail.end).toBe(1000);
    expect(tail.first).toBeGreaterThan(800);
    expect(tail.at(tail.first - 1)).toBeUndefined();
    expect(tail.at(999)?.seq).toBe(1000);
    expect(tail.heldFromMs).toBe(tail.first + 1);
    const ofNode = [...tail.ofNode('gpu-000')].map(({ seq }) => seq);
    expect(ofNode.every((seq) => seq % 2 === 0 && seq > tail.first)).toBe(true);
    expect(ofNode.at(-1)).toBe(1000);
  });

  it('keeps one record that is larger than its bound', () => {
    const tail = new Tail(1);
    append(tail, 'c/j', 1);
    append(tail, 'c/j', 2);
    expect(tail.end - tail.first).toBe(1);
  });

  it('finds the place of a position, with several sources mixed', () => {
    const tail = new Tail(1_000_000);
    tail.begin('c/a', 0);
    tail.begin('c/b', 0);
    append(tail, 'c/a', 9);
    append(tail, 'c/b', 6);
    append(tail, 'c/a', 10);
    append(tail, 'c/b', 7);
    const at = (a: number, b: number) =>
      tail.find(
        new Map([
          ['c/a', a],
          ['c/b', b],
        ]),
      );
    expect(at(10, 7).isWhole).toBe(true);
    for (const [a, b, newest] of [
      [10, 5, 1],
      [9, 7, 2],
      [10, 6, 3],
      [0, 0, 0],
    ] as const) {
      expect(at(a, b).number).toBeLessThanOrEqual(newest);
      expect(at(a, b).isWhole).toBe(true);
    }
    expect(tail.find(new Map([['c/gone', 1]])).isWhole).toBe(false);
  });

  it('knows that a hole of the feed was not seen by anybody', () => {
    const tail = new Tail(1_000_000);
    tail.begin('c/a', 0);
    append(tail, 'c/a', 1);
    tail.begin('c/a', 50);
    append(tail, 'c/a', 51);
    expect(tail.find(new Map([['c/a', 1]])).isWhole).toBe(false);
    expect(tail.find(new Map([['c/a', 50]])).isWhole).toBe(true);
  });
});

describe('a position', () => {
  it('is read back from its text', () => {
    const position = new Map([
      ['c/j', 5],
      ['other.collector/abc-1', 0],
    ]);
    expect(parsePosition(formatPosition(position))).toEqual(position);
  });

  it.each([
    '',
    'c/j',
    'c/j:',
    'c/j:-1',
    'c/j:1.5',
    'c/j:99999999999999999',
    'c/j:1,c/j:2',
    'x'.repeat(9000),
  ])('is not %j', (text) => expect(parsePosition(text)).toBeUndefined());
});
