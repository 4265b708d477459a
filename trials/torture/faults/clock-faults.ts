/**
 * The daemon's wall clock jumps, and jumps back. What it does by durations must not care.
 */
import { sleep } from '../../../src/lib/clock.ts';
import type { Inject } from '../torture-world.ts';

/** The samples stay within the bounds of time for this long in both directions. */
const ERROR_MAX_MS = 45 * 60_000;

export const injectClockFault: Inject = async (world, planned, fault, stop) => {
  const sign = planned.name.endsWith('back') ? -1 : 1;
  const errorMs = sign * Math.ceil(planned.dice * ERROR_MAX_MS);
  fault.note = `${errorMs / 1000} s for ${Math.round(planned.lengthMs)} ms`;
  const putRight = world.supervisor.arm('clock', 1, String(errorMs));
  try {
    await sleep(world.clock, planned.lengthMs, stop);
  } finally {
    putRight();
  }
};
