/**
 * What a reading program (feed-reading-program.ts) writes down of the feed, and reads again.
 */
import fs from 'node:fs';

/** A batch as the feed gave it. */
export interface FeedBatch {
  readonly seq: number;
  readonly nodeId: string;
  readonly epoch: number;
  readonly sequence: number;
  /** The time of its first sample, Unix ms. */
  readonly firstMs: number;
  readonly samples: number;
}

export type FeedLine =
  | {
      readonly kind: 'welcome';
      readonly source: string;
      readonly seq: number;
      readonly cursor: number;
    }
  | { readonly kind: 'published'; readonly cursor: number }
  | { readonly kind: 'disconnected'; readonly word: string }
  | {
      readonly kind: 'records';
      readonly source: string;
      readonly seq: number;
      readonly batches: readonly FeedBatch[];
    };

/** The whole lines of a file, and how many bytes they are. */
export function readFeedLines(file: string): {
  readonly lines: readonly FeedLine[];
  readonly bytes: number;
} {
  if (!fs.existsSync(file)) return { lines: [], bytes: 0 };
  const text = fs.readFileSync(file, 'utf8');
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  const lines = whole
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as FeedLine);
  return { lines, bytes: Buffer.byteLength(whole) };
}
