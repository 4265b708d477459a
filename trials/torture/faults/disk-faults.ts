/**
 * Disks that are full, read-only or broken for a while. The daemon has to bear it without ending,
 * except where it starts on such a disk, and where the journal cannot know what became of a commit.
 */
import { sleep } from '../../../src/lib/clock.ts';
import type { Disk, Disks } from '../disks.ts';
import type { PlannedFault } from '../fault-plan.ts';
import type { Inject, TortureWorld } from '../torture-world.ts';
import { injectVanishFault } from './vanish-faults.ts';

const POINTS: Readonly<Record<string, string>> = {
  'disk: commits fail': 'journal.*.before',
  'disk: files cannot be written': 'staging.write',
  'disk: files cannot be synced': 'staging.sync.before',
  'disk: files cannot be renamed': 'warehouse.rename.before',
  'disk: directories cannot be synced': 'warehouse.sync.before',
  'disk: dead letters cannot be written': 'dead-letter.*',
};
const CODES = ['EIO', 'ENOSPC', 'EROFS'];
const LEFT_BYTES_MAX = 200_000;
const LIE_DEADLINE_MS = 10_000;
const RECOVERY_DEADLINE_MS = 60_000;

export const injectDiskFault: Inject = async (world, planned, fault, stop) => {
  const { supervisor, disks } = world;
  if (planned.family === 'vanish') return injectVanishFault(world, planned, fault, stop);
  const release = supervisor.blame(planned.name, 'start');
  try {
    if (planned.name in POINTS) fault.note = await failAt(world, planned, stop);
    else if (planned.name.endsWith('reported as failed')) fault.note = await lie(world, planned);
    else if (disks === undefined) throw new Error('BUG: no disks');
    else {
      const work = planned.name.endsWith(' full') ? fill : startReadOnly;
      await disks.exclusive(() => work(world, disks, planned, stop));
    }
    if (!(await supervisor.recovered(RECOVERY_DEADLINE_MS))) {
      world.complaints.push(`no acknowledgement within 60 s after "${planned.name}"`);
    }
  } finally {
    release();
  }
};

async function failAt(world: TortureWorld, planned: PlannedFault, stop: AbortSignal) {
  const code = CODES[Math.floor(planned.dice * CODES.length)] ?? 'EIO';
  const disarm = world.supervisor.arm(POINTS[planned.name]!, 1, code);
  await sleep(world.clock, planned.lengthMs, stop);
  disarm();
  return `${code} for ${Math.round(planned.lengthMs)} ms`;
}

/** The daemon cannot know, and has to start anew to find out. */
async function lie({ supervisor, complaints }: TortureWorld, { name, nth }: PlannedFault) {
  const release = supervisor.blame(name);
  const { acks } = supervisor;
  const disarm = supervisor.arm('journal.append.after', nth, 'lie');
  const hasEnded = await supervisor.ended(LIE_DEADLINE_MS);
  disarm();
  // One that is stopping commits no batches, and is not lied to.
  const wentOn = !hasEnded && supervisor.acks > acks;
  if (wentOn) complaints.push('the daemon went on after a commit that it took for failed');
  await supervisor.recovered(RECOVERY_DEADLINE_MS);
  release();
  return '';
}

async function fill(
  { clock }: TortureWorld,
  disks: Disks,
  { name, dice, lengthMs }: PlannedFault,
  stop: AbortSignal,
): Promise<void> {
  const disk = diskOf(disks, name);
  try {
    disks.fill(disk, Math.floor(dice * LEFT_BYTES_MAX));
    await sleep(clock, lengthMs, stop);
  } finally {
    disks.empty(disk);
  }
}

async function startReadOnly(
  { supervisor, clock }: TortureWorld,
  disks: Disks,
  { name, lengthMs }: PlannedFault,
): Promise<void> {
  const disk = diskOf(disks, name);
  const release = supervisor.blame(name);
  try {
    await supervisor.whileDown('SIGKILL', async () => disks.setReadOnly(disk, true));
    await sleep(clock, lengthMs);
  } finally {
    disks.setReadOnly(disk, false);
  }
  await supervisor.recovered(RECOVERY_DEADLINE_MS);
  release();
}

function diskOf(disks: Disks, name: string): Disk {
  return name.includes('journal') ? disks.journal : disks.warehouse;
}
