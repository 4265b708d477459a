/**
 * The daemon's wall clock jumps, by minutes or by weeks, and jumps back. What it does by durations
 * must not care, and nothing may be thrown away because of it.
 */
import { sleep } from '../../../src/lib/clock.ts';
import type { Family } from '../fault-plan.ts';
import type { Inject } from '../torture-world.ts';

/** The samples stay within the bounds of time for this long in both directions. */
const MINUTES_MAX_MS = 45 * 60_000;
/** Beyond the bounds of time, and beyond the days for which files are kept. */
const DAYS_MAX_MS = 45 * 24 * 60 * 60_000;
/** A little more than the days for which files are kept. */
const RETENTION_MS = 31 * 24 * 60 * 60_000;
const RECOVERY_DEADLINE_MS = 60_000;

export const injectClockFault: Inject = async (world, planned, fault, stop) => {
  const { supervisor, clock } = world;
  const { name, dice, lengthMs, family } = planned;
  const sign = name.endsWith('back') ? -1 : 1;
  const [least, most] = bounds(name, family);
  const errorMs = sign * Math.ceil(least + dice * (most - least));
  fault.clockErrorMs = errorMs;
  fault.note = `${errorMs / 1000} s for ${Math.round(lengthMs)} ms`;
  const release = supervisor.blame(name, name.endsWith('start') ? 'any' : 'start');
  let putRight = () => {};
  const setWrong = async () => {
    putRight = supervisor.arm('clock', 1, String(errorMs));
  };
  try {
    // Stopped in order, so that no rows wait which would hold on to their hours' files.
    if (name.endsWith('start')) await supervisor.whileDown('SIGTERM', setWrong);
    else await setWrong();
    await sleep(clock, lengthMs, stop);
  } finally {
    putRight();
  }
  if (!(await supervisor.recovered(RECOVERY_DEADLINE_MS))) {
    world.complaints.push(`no acknowledgement within 60 s after "${name}"`);
  }
  release();
};

function bounds(name: string, family: Family): [least: number, most: number] {
  if (family === 'clock') return [0, MINUTES_MAX_MS];
  // Retention looks at the files when the daemon starts, and then once a minute.
  return [name.endsWith('start') ? RETENTION_MS : 0, DAYS_MAX_MS];
}
