/**
 * Directories of ours that vanish under the running daemon, or under an agent, and come back with
 * what was in them a while later. Whatever is needed has to be made again, and nothing may stand
 * still until somebody restarts it.
 *
 * No daemon starts while the visible files are away: what a crash left between their renames and
 * the cursor it would write again, and then both would be there (docs/reliability.md).
 */
import fs from 'node:fs';
import path from 'node:path';
import { sleep } from '../../../src/lib/clock.ts';
import type { DaemonProcess } from '../../harness/daemon-process.ts';
import type { Inject, TortureWorld } from '../torture-world.ts';

/** Rows are visible again by then: several rotations, and the pause after a failure. */
const WRITES_DEADLINE_MS = 15_000;

export const injectVanishFault: Inject = async (world, { name, lengthMs }, fault, stop) => {
  const { clock, supervisor, disks } = world;
  const isExclusive = disks?.exclusive.bind(disks) ?? ((work: () => Promise<void>) => work());
  const dir = directoryOf(world, name);
  fault.note = `for ${Math.round(lengthMs)} ms`;
  const release = supervisor.blame(name, 'start');
  await isExclusive(async () => {
    if (!fs.existsSync(dir)) return;
    const aside = `${dir}.gone`;
    const letStart = name.endsWith('metrics') ? supervisor.holdStarts() : () => {};
    try {
      fs.renameSync(dir, aside);
      await sleep(clock, lengthMs, stop);
      if (name.endsWith('.staging')) fs.rmSync(aside, { recursive: true, force: true });
      else bringBack(aside, dir);
      disks?.sync();
    } finally {
      letStart();
    }
  });
  release();
  if (name.endsWith('.staging') || name.endsWith('metrics')) await expectRows(world, name);
};

function directoryOf(world: TortureWorld, name: string): string {
  if (name.endsWith('.staging')) return path.join(world.outputDir, '.staging');
  if (name.endsWith('metrics')) return path.join(world.outputDir, 'metrics');
  if (name.endsWith('letters')) return world.deadLetterDir;
  return world.spoolDir;
}

/** Files whose names are taken by now get another one beside it. */
function bringBack(from: string, to: string): void {
  fs.mkdirSync(to, { recursive: true });
  for (const entry of fs.readdirSync(from, { withFileTypes: true })) {
    const source = path.join(from, entry.name);
    const target = path.join(to, entry.name);
    if (entry.isDirectory()) {
      bringBack(source, target);
    } else if (!fs.existsSync(target)) {
      fs.renameSync(source, target);
    } else if (entry.name.endsWith('.jsonl')) {
      const { name, ext } = path.parse(target);
      fs.renameSync(source, path.join(to, `${name}-${process.hrtime.bigint()}${ext}`));
    }
  }
  fs.rmSync(from, { recursive: true, force: true });
}

/** The same daemon writes on, without a restart. */
async function expectRows(world: TortureWorld, name: string): Promise<void> {
  const { supervisor, clock, complaints } = world;
  const { daemon } = supervisor;
  if (daemon === undefined) return;
  const before = await writtenRows(daemon);
  const giveUpAtMs = clock.monotonicMs() + WRITES_DEADLINE_MS;
  while (clock.monotonicMs() < giveUpAtMs) {
    // What another fault does now is that fault's business.
    if (supervisor.daemon !== daemon || supervisor.isTroubled || before === undefined) return;
    const rows = await writtenRows(daemon);
    if (rows === undefined || rows > before) return;
    await sleep(clock, 250);
  }
  if (supervisor.daemon !== daemon || supervisor.isTroubled) return;
  complaints.push(`no rows were written for ${WRITES_DEADLINE_MS / 1000} s after "${name}"`);
}

async function writtenRows(daemon: DaemonProcess): Promise<number | undefined> {
  try {
    return (await daemon.metrics()).sum('samples_written_total', { writer: 'parquet' });
  } catch {
    return undefined;
  }
}
