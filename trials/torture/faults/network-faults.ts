/**
 * Weather on the wire for a while.
 */
import { sleep } from '../../../src/lib/clock.ts';
import type { Weather } from '../network-proxy.ts';
import type { Inject } from '../torture-world.ts';

const REBIND_INTERVAL_MS = 700;

const WEATHERS: Readonly<Record<string, (dice: number) => Weather>> = {
  'network: drops': (dice) => ({ drop: 0.02 + dice * 0.2 }),
  'network: duplicates': (dice) => ({ duplicate: 0.05 + dice * 0.5 }),
  'network: reorders': (dice) => ({ reorder: 0.05 + dice * 0.5 }),
  'network: corrupts': (dice) => ({ corrupt: 0.01 + dice * 0.1 }),
  'network: delays': (dice) => ({ delayMs: 10 + dice * 300 }),
  'network: rebinds': () => ({}),
  'network: is cut': () => ({ isCut: true }),
  'network: blocks UDP': () => ({ isUdpCut: true }),
  'network: does everything at once': (dice) => ({
    drop: 0.02 + dice * 0.05,
    duplicate: 0.05,
    reorder: 0.1,
    corrupt: 0.02,
    delayMs: dice * 50,
  }),
};

export const injectNetworkFault: Inject = async (world, planned, fault, stop) => {
  const { network, clock } = world;
  const weather = WEATHERS[planned.name];
  if (weather === undefined) throw new Error(`BUG: ${planned.name}`);
  fault.note = `${JSON.stringify(weather(planned.dice))} for ${Math.round(planned.lengthMs)} ms`;
  const rebinds = planned.name.endsWith('rebinds') || planned.name.endsWith('at once');
  const endMs = clock.monotonicMs() + planned.lengthMs;
  network.weather = weather(planned.dice);
  try {
    while (!stop.aborted && clock.monotonicMs() < endMs) {
      if (rebinds) network.rebind();
      await sleep(clock, Math.min(REBIND_INTERVAL_MS, endMs - clock.monotonicMs()), stop);
    }
  } finally {
    network.weather = {};
  }
};
