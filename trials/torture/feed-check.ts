/**
 * What a reader of the feed got over all its lives, held against the order that the feed promises:
 * of one journal every record once, in rising order, and all of them unless it had to jump.
 */
import type { FeedLine } from '../harness/feed-lines.ts';

export interface FeedFindings {
  readonly records: number;
  readonly samples: number;
  /** Times that the reader had to go on at the cursor. */
  readonly jumps: number;
  /** One sentence for each kind of thing that is wrong. */
  readonly findings: readonly string[];
}

/** `accepted` is what the journal has accepted of all batches, in samples. */
export function checkFeed(lines: readonly FeedLine[], accepted: number): FeedFindings {
  const newest = new Map<string, number>();
  let [records, samples, jumps, doubled] = [0, 0, 0, 0];
  for (const line of lines) {
    if (line.kind === 'welcome') {
      const before = newest.get(line.source);
      if (before !== undefined && line.seq !== before) jumps += 1;
      newest.set(line.source, Math.max(before ?? 0, line.seq));
    }
    if (line.kind !== 'records') continue;
    for (const batch of line.batches) {
      if (batch.seq <= (newest.get(line.source) ?? 0)) doubled += 1;
      newest.set(line.source, batch.seq);
      records += 1;
      samples += batch.samples;
    }
    newest.set(line.source, line.seq);
  }
  const findings: string[] = [];
  if (doubled > 0) findings.push(`the feed gave ${doubled} records twice or out of order`);
  const isWhole = jumps === 0 ? samples === accepted : samples <= accepted;
  if (!isWhole) {
    findings.push(`the feed gave ${samples} samples of ${accepted}, with ${jumps} jumps`);
  }
  return { records, samples, jumps, findings };
}
