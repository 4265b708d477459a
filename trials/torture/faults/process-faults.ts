/**
 * Faults that end the daemon's process or hold it: at random moments, at named points, during
 * recovery, politely and twice, with older stores put in its place, or another daemon beside it.
 */
import fs from 'node:fs';
import { sleep } from '../../../src/lib/clock.ts';
import type { PlannedFault } from '../fault-plan.ts';
import type { Inject, TortureWorld } from '../torture-world.ts';
import { bringInAnother } from './owner-faults.ts';
import { panicInside } from './panic-faults.ts';
import { rollBack } from './rollback-faults.ts';

/** Points of preload/fault-points.ts by the name of the fault. */
const POINTS: Readonly<Record<string, { point: string; delayUs?: number }>> = {
  'kill: before a commit of batches': { point: 'journal.append.before' },
  'kill: during a commit of batches': { point: 'journal.append.started', delayUs: 1500 },
  'kill: after the commit, before the ack': { point: 'journal.append.after' },
  'kill: in a slow commit of batches': { point: 'journal.append.held', delayUs: 80_000 },
  'kill: mid row group': { point: 'staging.write' },
  'kill: before the sync of a file': { point: 'staging.sync.before' },
  'kill: before the first rename': { point: 'warehouse.rename.before' },
  'kill: between renames': { point: 'warehouse.rename.after' },
  'kill: after the renames, before the cursor': { point: 'journal.cursor-parquet.before' },
  'kill: during a commit of a cursor': { point: 'journal.cursor-*.started', delayUs: 1500 },
  'kill: after a cursor, before the writer knows': { point: 'journal.cursor-*.after' },
  'kill: mid-trim': { point: 'journal.trim.started', delayUs: 1500 },
  'kill: after a trim': { point: 'journal.trim.after' },
  'kill: mid dead-letter write': { point: 'dead-letter.write' },
};
const WRITER_POINTS: Readonly<Record<string, string>> = {
  'a writer ends mid row group': 'staging.write',
  'a writer ends between renames': 'warehouse.rename.after',
};
const RECOVERY_POINTS: Readonly<Record<string, string>> = {
  'kill: recovery, taking over the journal': 'journal.lease.*',
  'kill: recovery, wiping unfinished files': 'staging.remove.before',
};

/** A named point that is not reached by then is given up, and the process killed as it is. */
const POINT_DEADLINE_MS = 8000;
/** The names of the files are on disk, while the journal commits batches as ever. */
const POWER_POINT = 'warehouse.sync.after';
const RECOVERY_DEADLINE_MS = 60_000;
const WRITER_ENDED = 'writer ended';
const STOP_DEADLINE_MS = 45_000;
const ORDER_AGE_MS = 100;

/** Injects one fault and waits until the daemon acknowledges again. */
export const injectProcessFault: Inject = async (world, planned, fault) => {
  const { supervisor } = world;
  const release = supervisor.blame(fault.name);
  fault.note = await strike(world, planned);
  if (!(await supervisor.recovered(RECOVERY_DEADLINE_MS))) {
    world.complaints.push(`no acknowledgement within 60 s after "${fault.name}"`);
  }
  // An order that was taken back just now may still strike.
  await sleep(world.clock, ORDER_AGE_MS);
  release();
};

async function strike(world: TortureWorld, planned: PlannedFault): Promise<string> {
  const { supervisor, clock } = world;
  const { name, lengthMs, family } = planned;
  if (family === 'rollback') return rollBack(world, planned);
  if (family === 'owners') return bringInAnother(world, planned);
  if (family === 'panic') return panicInside(world, planned);
  if (name in POINTS) return killAtPoint(world, planned);
  if (name in WRITER_POINTS) return endWriter(world, planned);
  if (name in RECOVERY_POINTS) return killInRecovery(world, RECOVERY_POINTS[name]!);
  switch (name) {
    case 'kill: at a random moment':
      await sleep(clock, lengthMs);
      supervisor.signal('SIGKILL');
      return waitForEnd(world);
    case 'kill: during recovery':
      supervisor.signal('SIGKILL');
      await waitForEnd(world);
      await supervisor.launched(5000);
      await sleep(clock, lengthMs);
      supervisor.signal('SIGKILL');
      return waitForEnd(world);
    case 'SIGTERM':
      supervisor.signal('SIGTERM');
      return waitForEnd(world);
    case 'SIGTERM twice':
      supervisor.signal('SIGTERM');
      await sleep(clock, lengthMs);
      supervisor.signal('SIGTERM');
      return waitForEnd(world);
    case 'SIGHUP with a new certificate':
      await world.deployment.renewServerCertificate();
      supervisor.signal('SIGHUP');
      return '';
    case 'SIGSTOP and SIGCONT':
      return holdStill(world, lengthMs);
    case 'power cut':
      await sleep(clock, lengthMs);
      await cutPower(world);
      return '';
    case 'power cut: after the renames, before the cursor':
      return cutPowerAt(world, POWER_POINT);
    default:
      throw new Error(`BUG: no such fault: ${name}`);
  }
}

async function killAtPoint(world: TortureWorld, { name, nth, dice }: PlannedFault) {
  const { supervisor } = world;
  const { point, delayUs = 0 } = POINTS[name]!;
  const disarm = supervisor.arm(point, nth, 'kill', Math.floor(dice * delayUs));
  const isHit = await supervisor.ended(POINT_DEADLINE_MS);
  disarm();
  if (isHit) return `at ${point}, occurrence ${nth}`;
  supervisor.signal('SIGKILL');
  await waitForEnd(world);
  return `${point} was not reached; killed at that moment`;
}

/** The daemon has to notice, and to start another writer. */
async function endWriter({ supervisor, clock }: TortureWorld, { name, nth }: PlannedFault) {
  const daemon = supervisor.daemon;
  const ends = () => daemon?.log.filter(({ msg }) => msg.startsWith(WRITER_ENDED)).length ?? 0;
  const before = ends();
  const disarm = supervisor.arm(WRITER_POINTS[name]!, nth, 'exit');
  const giveUpAtMs = clock.monotonicMs() + POINT_DEADLINE_MS;
  while (ends() === before && clock.monotonicMs() < giveUpAtMs) await sleep(clock, 2);
  disarm();
  return ends() === before ? 'was not reached' : '';
}

async function killInRecovery(world: TortureWorld, point: string): Promise<string> {
  const { supervisor } = world;
  const disarm = supervisor.arm(point, 1, 'kill');
  supervisor.signal('SIGKILL');
  await waitForEnd(world);
  await supervisor.launched(5000);
  const isHit = await supervisor.ended(6000);
  disarm();
  return isHit ? `at ${point}` : `${point} was not reached; killed once`;
}

async function waitForEnd({ supervisor, complaints }: TortureWorld): Promise<string> {
  if (!(await supervisor.ended(STOP_DEADLINE_MS))) {
    complaints.push('the daemon did not end within 45 s');
    supervisor.signal('SIGKILL');
  }
  return '';
}

async function holdStill(world: TortureWorld, lengthMs: number): Promise<string> {
  const { supervisor, clock } = world;
  supervisor.signal('SIGSTOP');
  await sleep(clock, lengthMs);
  const acks = supervisor.acks;
  supervisor.signal('SIGCONT');
  const giveUpAtMs = clock.monotonicMs() + RECOVERY_DEADLINE_MS;
  while (supervisor.acks === acks) {
    if (clock.monotonicMs() > giveUpAtMs) {
      world.complaints.push('no acknowledgement within 60 s after SIGCONT');
      break;
    }
    await sleep(clock, 5);
  }
  return `for ${Math.round(lengthMs)} ms`;
}

/** What was synced is there afterwards, and only that for sure. */
async function cutPower({ supervisor, disks }: TortureWorld): Promise<void> {
  if (disks === undefined) throw new Error('BUG: a power cut without disks');
  await disks.exclusive(async () => {
    supervisor.signal('SIGSTOP');
    disks.keepWhatIsSynced();
    await supervisor.whileDown('SIGKILL', () => disks.loseTheRest());
  });
}

/** As soon as the daemon has come to `point`, where it stands still by itself. */
async function cutPowerAt(world: TortureWorld, point: string): Promise<string> {
  const { supervisor, clock } = world;
  const disarm = supervisor.arm(point, 1, 'stop');
  const giveUpAtMs = clock.monotonicMs() + POINT_DEADLINE_MS;
  while (!isStopped(supervisor.daemon?.pid) && clock.monotonicMs() < giveUpAtMs) {
    await sleep(clock, 2);
  }
  const isHit = isStopped(supervisor.daemon?.pid);
  disarm();
  await cutPower(world);
  return isHit ? `at ${point}` : `${point} was not reached; cut at that moment`;
}

function isStopped(pid: number | undefined): boolean {
  try {
    return /^State:\s+T/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
