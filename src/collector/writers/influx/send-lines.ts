/**
 * Lines sent once, outside the loop of a writer: for commands that repair. Transient failures are
 * waited for a while; lines that the server refuses are found and handed back.
 */
import { Backoff } from '../../../lib/backoff.ts';
import { type Clock, sleep } from '../../../lib/clock.ts';
import type { InfluxClient } from './influx-client.ts';
import type { LineChunk, LineRange } from './line-chunk.ts';
import { LineDelivery, type RefusedLine } from './line-delivery.ts';
import type { WriteOutcome } from './write-outcome.ts';

/** With waits of up to half a minute: a few minutes in all. */
const TRIES = 8;

export interface SentLines<Owner> {
  readonly refused: readonly RefusedLine<Owner>[];
  /**
   * Why it was given up; lines not in `refused` may or may not have been taken. '' = it was not.
   */
  readonly failure: string;
}

/** Sends all lines of `chunk`. Never rejects. */
export async function sendLines<Owner>(
  client: InfluxClient,
  chunk: LineChunk<Owner>,
  clock: Clock,
): Promise<SentLines<Owner>> {
  // One group: the lines of a command come in an order that must stay.
  const delivery = new LineDelivery(chunk, () => '');
  const send = (range: LineRange<Owner>) =>
    patiently(client, range.chunk.view(range.from, range.to), clock);
  const failure = await delivery.advance(send, Infinity);
  return { refused: delivery.refused, failure: failure?.message ?? '' };
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
