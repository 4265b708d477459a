import { expect, test } from 'vitest';
import type { FeedLine } from '../../../trials/harness/feed-lines.ts';
import { checkFeed } from '../../../trials/torture/feed-check.ts';

const welcome = (seq: number, source = 'c/a'): FeedLine => {
  return { kind: 'welcome', source, seq, cursor: 0 };
};

const records = (seq: number, seqs: readonly number[], source = 'c/a'): FeedLine => {
  const batch = { nodeId: 'n', epoch: 1, sequence: 1, firstMs: 1, samples: 10 };
  return { kind: 'records', source, seq, batches: seqs.map((one) => ({ ...batch, seq: one })) };
};

test('rising records of each source are fine, over cuts and jumps to the cursor', () => {
  const lines = [
    ...[welcome(0), records(3, [1, 3]), welcome(3), records(5, [4])],
    ...[welcome(20), records(22, [21]), welcome(0, 'c/b'), records(2, [1, 2], 'c/b')],
  ];
  expect(checkFeed(lines, 100)).toEqual({ records: 6, samples: 60, jumps: 1, findings: [] });
});

test('a record that comes twice, or too late, is a finding', () => {
  const again = [welcome(0), records(3, [1, 2, 3]), welcome(3), records(4, [3, 4])];
  const twice = checkFeed(again, 50);
  expect(twice.findings).toEqual(['the feed gave 1 records twice or out of order']);
  const late = checkFeed([welcome(0), records(3, [2, 1, 3])], 30);
  expect(late.findings).toEqual(['the feed gave 1 records twice or out of order']);
});

test('without a jump, everything accepted must be there', () => {
  const lines = [welcome(0), records(3, [1, 2])];
  expect(checkFeed(lines, 20).findings).toEqual([]);
  expect(checkFeed(lines, 30).findings).toEqual(['the feed gave 20 samples of 30, with 0 jumps']);
});
