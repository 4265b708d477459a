import { describe, expect, it } from 'vitest';
import { startWatchdog } from '../../src/observability/watchdog.ts';
import { FakeClock } from '../helpers/fake-clock.ts';
import { createRecordingLogger } from '../helpers/recording-logger.ts';

const INTERVAL_MS = 15_000;

/** A watchdog whose probes are settled by hand. */
function setUp(watchdogIntervalMs = INTERVAL_MS) {
  const clock = new FakeClock(1_700_000_000_000);
  const { logger, lines } = createRecordingLogger();
  const probes: { resolve: () => void; reject: (error: Error) => void }[] = [];
  let fed = 0;
  const notifier = { watchdogIntervalMs, alive: () => void fed++ };
  const stop = startWatchdog({ clock, logger, notifier }, () => {
    return new Promise((resolve, reject) => probes.push({ resolve, reject }));
  });
  async function pass(intervals = 1): Promise<void> {
    for (let count = 0; count < intervals; count++) {
      clock.advance(INTERVAL_MS);
      await new Promise(setImmediate);
    }
  }
  return { probes, lines, stop, pass, fed: () => fed };
}

describe('the watchdog', () => {
  it('is fed once for each probe that succeeds', async () => {
    const { probes, pass, fed, stop } = setUp();
    for (let round = 1; round <= 3; round++) {
      await pass();
      expect(fed()).toBe(round - 1);
      probes.at(-1)?.resolve();
      await new Promise(setImmediate);
      expect([probes.length, fed()]).toEqual([round, round]);
    }
    stop();
    await pass(3);
    expect(probes.length).toBe(3);
  });

  it('is not fed when a probe fails, and is fed again when one succeeds', async () => {
    const { probes, pass, fed, lines } = setUp();
    await pass();
    probes[0]?.reject(new Error('read-only file system'));
    await new Promise(setImmediate);
    await pass();
    expect([probes.length, fed()]).toEqual([2, 0]);
    expect(JSON.stringify(lines)).toContain('read-only file system');
    probes[1]?.resolve();
    await new Promise(setImmediate);
    expect(fed()).toBe(1);
  });

  it('is not fed while a probe hangs, begins no second one, and says so once', async () => {
    const { probes, pass, fed, lines } = setUp();
    await pass(20);
    expect([probes.length, fed()]).toEqual([1, 0]);
    expect(lines.map(({ msg }) => msg)).toEqual(['watchdog not fed: the journal does not answer']);
    probes[0]?.resolve();
    await new Promise(setImmediate);
    await pass();
    expect([probes.length, fed()]).toEqual([2, 1]);
  });

  it('does nothing where systemd watches nothing', async () => {
    const { probes, pass } = setUp(0);
    await pass(3);
    expect(probes).toEqual([]);
  });
});
