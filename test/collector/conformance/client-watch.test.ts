import { beforeEach, describe, expect, it } from 'vitest';
import { ClientWatch } from '../../../src/collector/conformance/client-watch.ts';
import { Judge, type Rule } from '../../../src/collector/conformance/rules.ts';
import type { Batch } from '../../../src/domain/telemetry.ts';
import { countedSamples } from '../../helpers/counted-samples.ts';
import { TEST_HELLO } from '../../helpers/test-hello.ts';

const HELLO = { ...TEST_HELLO, sequenceWindow: 4, acceptsSeriesTableId: false };
const SAMPLES = countedSamples(2, 1_700_000_000_000);

const FIRST = SAMPLES.next();
const OTHER = SAMPLES.next();

function batch(sequence: number, change: Partial<Batch> = {}): Batch {
  const { table } = SAMPLES;
  return { schemaVersion: 1, nodeId: '', epoch: 7, sequence, table, samples: FIRST, ...change };
}

describe('a watched client', () => {
  let judge: Judge;
  let watch: ClientWatch;

  beforeEach(() => {
    judge = new Judge();
    watch = new ClientWatch(judge, 'node-1');
  });

  function arrive(one: Batch, nowMs = 0, connection = 1, namesTable = false) {
    return watch.arrived(one, { connection, hello: HELLO, namesTable }, nowMs);
  }

  function failed(): Rule[] {
    return judge.judgements.filter(({ verdict }) => verdict === 'fail').map(({ rule }) => rule);
  }

  it('passes when it numbers, resends and stops as it should', () => {
    const first = arrive(batch(1));
    arrive(batch(2));
    watch.connectionClosed(1, 100);
    arrive(batch(1), 200, 2);
    watch.answered(first, 'throttled', { connection: 2, retryAfterMs: 500 }, 200);
    arrive(batch(1), 700, 2);
    watch.answered(first, 'accepted', { connection: 2, retryAfterMs: 0 }, 700);
    arrive(batch(3), 800, 2);
    arrive(batch(1, { epoch: 8, nodeId: 'node-1' }), 900, 2);
    expect(failed()).toEqual([]);
    expect(watch.open.map(({ sequence }) => sequence)).toEqual([2, 3, 1]);
  });

  it.each<[Rule, () => void]>([
    ['numbers', () => arrive(batch(0))],
    ['numbers', () => arrive(batch(2))],
    ['identity', () => arrive(batch(1, { nodeId: 'node-2' }))],
    ['tables', () => arrive(batch(1), 0, 1, true)],
  ])('fails %s at the first sight of it', (rule, act) => {
    act();
    expect(failed()).toEqual([rule]);
  });

  it('fails numbers where a new epoch is not larger', () => {
    arrive(batch(1));
    arrive(batch(1, { epoch: 6 }));
    expect(failed()).toEqual(['numbers']);
  });

  it('fails the window where the span reaches it', () => {
    for (const sequence of [1, 2, 3, 4]) arrive(batch(sequence));
    expect(failed()).toEqual([]);
    arrive(batch(5));
    expect(failed()).toEqual(['window']);
  });

  it('fails resend where the content is another', () => {
    arrive(batch(1));
    arrive(batch(1, { samples: OTHER }), 1, 2);
    expect(failed()).toEqual(['resend']);
  });

  it('fails throttled where the batch comes too early', () => {
    const one = arrive(batch(1));
    watch.answered(one, 'throttled', { connection: 1, retryAfterMs: 500 }, 0);
    arrive(batch(1), 300);
    expect(failed()).toEqual(['throttled']);
  });

  it('fails final where an answer was received, and only then', () => {
    const one = arrive(batch(1));
    watch.answered(one, 'accepted', { connection: 1, retryAfterMs: 0 }, 100);
    watch.connectionClosed(1, 150);
    arrive(batch(1), 5000, 2);
    expect(failed()).toEqual([]);
    watch.answered(one, 'duplicate', { connection: 2, retryAfterMs: 0 }, 5000);
    arrive(batch(1), 6500, 2);
    expect(failed()).toEqual(['final']);
  });

  it('has passed no rule that nothing was seen of', () => {
    expect(new Set(judge.judgements.map(({ verdict }) => verdict))).toEqual(new Set(['not seen']));
  });
});
