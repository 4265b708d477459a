/**
 * A reader of the feed that stops reading, or dies and comes back. Nobody else may notice.
 */
import { sleep } from '../../../src/lib/clock.ts';
import type { Inject } from '../torture-world.ts';

export const injectFeedFault: Inject = async ({ feedReading, clock }, planned, fault, stop) => {
  const { name, lengthMs } = planned;
  if (feedReading === undefined) throw new Error('BUG: a fault of the feed without a reader');
  fault.note = `for ${Math.round(lengthMs)} ms`;
  if (name === 'feed: the reader stands still') {
    feedReading.pause();
    await sleep(clock, lengthMs, stop);
    feedReading.resume();
    return;
  }
  if (name !== 'feed: the reader is killed') throw new Error(`BUG: ${name}`);
  await feedReading.kill();
  await sleep(clock, lengthMs, stop);
  feedReading.start();
};
