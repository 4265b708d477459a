/**
 * Writing a chunk of lines of which the server refuses some: halves are sent until the refused
 * lines stand alone. Servers that keep the good lines of a refused request see them again, which
 * changes nothing.
 *
 * Bounded: after `maxRequests` requests a refused range is given up whole, whatever its size, so
 * that a server that refuses everything cannot keep a chunk going for ever.
 */
import type { WriteOutcome } from './write-outcome.ts';

export interface RefusedLines {
  /** The first line, and the one behind the last. */
  readonly from: number;
  readonly to: number;
  readonly status: number;
  /** In the server's words. */
  readonly reason: string;
}

export interface SearchResult {
  /** Lines that will never be taken, in order. */
  readonly refused: readonly RefusedLines[];
  /** What stopped the search; the lines not in `refused` may or may not have been taken. */
  readonly failure: Extract<WriteOutcome, { kind: 'failed' }> | undefined;
}

/**
 * Sends lines 0 to `lines`, which the server already refused with `first`, in ever smaller parts.
 */
export async function searchPoison(
  lines: number,
  first: Extract<WriteOutcome, { kind: 'poison' | 'too_large' }>,
  send: (from: number, to: number) => Promise<WriteOutcome>,
  maxRequests: number,
): Promise<SearchResult> {
  const refused: RefusedLines[] = [];
  let requests = 0;
  // Ranges still to settle, the next one last. A range with an answer has been refused already.
  const open: { from: number; to: number; answer: WriteOutcome | undefined }[] = [
    { from: 0, to: lines, answer: first },
  ];
  for (let range = open.pop(); range !== undefined; range = open.pop()) {
    const { from, to } = range;
    const answer = range.answer ?? (await send(from, to));
    if (range.answer === undefined) requests += 1;
    if (answer.kind === 'failed') return { refused, failure: answer };
    if (answer.kind === 'written') continue;
    if (to - from > 1 && (requests < maxRequests || answer.kind === 'too_large')) {
      const middle = (from + to) >>> 1;
      open.push({ from: middle, to, answer: undefined }, { from, to: middle, answer: undefined });
    } else {
      refused.push({ from, to, status: answer.status, reason: answer.message });
    }
  }
  return { refused, failure: undefined };
}
