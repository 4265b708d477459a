/**
 * Lines sent once, outside the loop of a writer: for commands that repair. Transient failures are
 * waited for a while; lines that the server refuses are found and handed back.
 */
import { Backoff } from '../../../lib/backoff.ts';
import { type Clock, sleep } from '../../../lib/clock.ts';
import type { InfluxClient } from './influx-client.ts';
import type { LineChunk } from './line-chunk.ts';
import { type RefusedLines, searchPoison } from './poison-search.ts';
import type { WriteOutcome } from './write-outcome.ts';

/** With waits of up to half a minute: a few minutes in all. */
const TRIES = 8;
const SEARCH_REQUESTS_MAX = 2000;

export interface SentLines {
  readonly refused: readonly RefusedLines[];
  /**
   * Why it was given up; lines not in `refused` may or may not have been taken. '' = it was not.
   */
  readonly failure: string;
}

/** Sends all lines of `chunk`. Never rejects. */
export async function sendLines(
  client: InfluxClient,
  chunk: LineChunk,
  clock: Clock,
): Promise<SentLines> {
  if (chunk.lines === 0) return { refused: [], failure: '' };
  const send = (from: number, to: number) => patiently(client, chunk.view(from, to), clock);
  const first = await send(0, chunk.lines);
  if (first.kind === 'written') return { refused: [], failure: '' };
  if (first.kind === 'failed') return { refused: [], failure: first.message };
  const { refused, failure } = await searchPoison(chunk.lines, first, send, SEARCH_REQUESTS_MAX);
  return { refused, failure: failure?.message ?? '' };
}

async function patiently(
  client: InfluxClient,
  lines: Uint8Array,
  clock: Clock,
): Promise<WriteOutcome> {
  const backoff = new Backoff({ initialMs: 500, maxMs: 30_000 });
  for (let tries = 1; ; tries++) {
    const { outcome } = await client.write(lines);
    if (outcome.kind !== 'failed' || outcome.reason === 'operator' || tries === TRIES) {
      return outcome;
    }
    await sleep(clock, backoff.nextDelayMs(outcome.retryAfterMs));
  }
}
