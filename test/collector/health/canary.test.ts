import { describe, expect, it } from 'vitest';
import { Canary } from '../../../src/collector/health/canary.ts';
import { BatchDecoder } from '../../../src/codec/decode-batch.ts';
import type { BatchAck } from '../../../src/domain/telemetry.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';

const LIMITS = {
  maxBatchSamples: 10,
  maxLabelsPerSeries: 4,
  maxNameBytes: 10,
  maxLabelValueBytes: 10,
  maxSeries: 10,
  maxTextCharacters: 1000,
  maxTextPerByte: 32,
};

/** A canary whose acknowledgements and writers are moved by hand. */
function setUp() {
  const clock = new FakeClock(1_700_000_000_000);
  const frames: Uint8Array[] = [];
  const waiting: ((ack: Partial<BatchAck>) => void)[] = [];
  const state = { headSeq: 0, passedSeq: 0 };
  const canary = new Canary(
    {
      clock,
      headSeq: () => state.headSeq,
      send(frame) {
        frames.push(frame);
        return new Promise((resolve) => {
          waiting.push((ack) => resolve({ status: 'accepted', message: '', ...ack } as BatchAck));
        });
      },
    },
    [{ name: 'influxdb', passedSeq: () => state.passedSeq }],
  );
  async function answer(ack: Partial<BatchAck> = {}): Promise<void> {
    if (ack.status === undefined) state.headSeq += 1;
    waiting.shift()?.(ack);
    await new Promise(setImmediate);
  }
  async function pass(ms: number): Promise<void> {
    for (let at = 0; at < ms; at += 250) {
      clock.advance(250);
      await new Promise(setImmediate);
    }
  }
  const stage = (name: string) => canary.ages.find((age) => age.stage === name)!;
  canary.start();
  return { canary, frames, state, answer, pass, stage };
}

describe('the canary', () => {
  it('is a batch without samples that the decoder takes', () => {
    const { frames } = setUp();
    const decoded = new BatchDecoder(LIMITS).decode(frames[0]!);
    expect(decoded.ok && decoded.batch).toMatchObject({ nodeId: '_collector', sequence: 0 });
    expect(decoded.ok && decoded.batch.samples.values.length).toBe(0);
  });

  it('goes out every two seconds and ages where it does not come through', async () => {
    const { canary, answer, pass, stage, state } = setUp();
    expect(stage('journal')).toMatchObject({ hasPassed: false, ageMs: 0 });
    await answer();
    expect(stage('journal')).toMatchObject({ hasPassed: true, ageMs: 0, stuckMs: 0 });
    await pass(1000);
    expect(stage('influxdb')).toMatchObject({ hasPassed: false, ageMs: 1000, stuckMs: 1000 });
    state.passedSeq = 1;
    expect(stage('influxdb')).toMatchObject({ hasPassed: true, ageMs: 1000, stuckMs: 0 });
    for (let round = 0; round < 5; round++) {
      await pass(2000);
      await answer();
    }
    expect(canary.counts).toEqual({ sent: 6, refused: 0 });
    expect(stage('journal').ageMs).toBeLessThan(2000);
    expect(stage('influxdb').ageMs).toBeGreaterThan(10_000);
  });

  it('that never returns is the last one', async () => {
    const { canary, pass, stage } = setUp();
    await pass(60_000);
    expect(canary.counts.sent).toBe(1);
    expect(stage('journal')).toMatchObject({ hasPassed: false, ageMs: 60_000, stuckMs: 60_000 });
  });

  it('that was sent back tries again soon, and says why it was', async () => {
    const { canary, answer, pass, stage } = setUp();
    await answer({ status: 'throttled', message: 'throttled: backpressure' });
    expect(canary.refusal).toBe('throttled: throttled: backpressure');
    await pass(500);
    expect(canary.counts.sent).toBe(2);
    await answer();
    expect(canary.refusal).toBe('');
    expect(canary.counts.refused).toBe(1);
    expect(stage('journal').hasPassed).toBe(true);
  });

  it('tells work that is slow from a stage that stands still', async () => {
    const { answer, pass, stage, state } = setUp();
    state.headSeq = 1000;
    await answer();
    for (let seq = 100; seq <= 1000; seq += 100) {
      await pass(2000);
      state.passedSeq = seq;
      expect(stage('influxdb').stuckMs).toBe(0);
    }
    expect(stage('influxdb')).toMatchObject({ hasPassed: false, ageMs: 20_000 });
    await pass(8000);
    expect(stage('influxdb').stuckMs).toBe(8000);
  });

  it('forgets old ones rather than grow where a stage stands still for hours', async () => {
    const { answer, pass, stage, state } = setUp();
    for (let round = 0; round < 3000; round++) {
      await answer();
      await pass(2000);
    }
    expect(stage('influxdb').waiting).toBeGreaterThan(100);
    expect(stage('influxdb').waiting).toBeLessThanOrEqual(1024);
    state.passedSeq = state.headSeq - 10;
    expect(stage('influxdb').ageMs).toBeLessThan(120_000);
  });
});
