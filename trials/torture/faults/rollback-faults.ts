/**
 * A store is put back to an older copy of itself, as after a restore from a backup: the journal,
 * the warehouse, both, or the spool of an agent. The copy is taken while the daemon runs, as a
 * snapshot of its file system would be, or while it is stopped.
 *
 * What a rollback takes away is known exactly: what was acknowledged after the copy and is not also
 * in the other store. All the rest has to be there, and nothing twice.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { inspectJournal } from '../../../src/journal/lmdb/inspect.ts';
import { sleep } from '../../../src/lib/clock.ts';
import type { Disks } from '../disks.ts';
import type { PlannedFault } from '../fault-plan.ts';
import { goodSamples, type SentBatch } from '../obligations.ts';
import { SERIES } from '../samples.ts';
import type { TortureWorld } from '../torture-world.ts';
import { visibleSamples } from '../warehouse-rows.ts';

/** The copy that is put back. */
interface Copy {
  readonly dir: string;
  /** From here on acknowledged data may be missing in it. */
  readonly atMs: number;
}

export async function rollBack(world: TortureWorld, planned: PlannedFault): Promise<string> {
  const { name, lengthMs, dice } = planned;
  if (name.includes('spool')) return rollBackSpool(world, lengthMs);
  const { clock, supervisor, dir } = world;
  const stores = storesOf(world, name);
  const isRunning = dice < 0.5;
  const isExclusive: Disks['exclusive'] =
    world.disks?.exclusive.bind(world.disks) ?? ((work) => work());
  const copyDir = path.join(dir, 'copy');
  // Not while another fault has moved a directory aside: the copy would hold it under that name.
  const copy = await isExclusive(async () => {
    const atMs = clock.nowMs();
    if (isRunning) {
      supervisor.signal('SIGSTOP');
      take(stores, copyDir);
      supervisor.signal('SIGCONT');
    } else {
      await supervisor.whileDown('SIGTERM', async () => take(stores, copyDir));
    }
    return { dir: copyDir, atMs };
  });
  if (!isRunning) await supervisor.recovered(START_DEADLINE_MS);
  await sleep(clock, lengthMs);
  await isExclusive(() => supervisor.whileDown('SIGKILL', () => putBack(world, stores, copy)));
  fs.rmSync(copy.dir, { recursive: true, force: true });
  return `${Math.round(lengthMs)} ms, to a copy taken ${isRunning ? 'of the running' : 'while stopped'}`;
}

const START_DEADLINE_MS = 60_000;

function storesOf({ journalDir, outputDir }: TortureWorld, name: string): string[] {
  if (name.endsWith('both stores')) return [journalDir, outputDir];
  return [name.endsWith('journal') ? journalDir : outputDir];
}

/** The stores are named after their directories in the copy. */
function take(stores: readonly string[], copyDir: string): void {
  fs.rmSync(copyDir, { recursive: true, force: true });
  fs.mkdirSync(copyDir);
  for (const store of stores) {
    execFileSync('cp', ['-a', '--sparse=always', store, path.join(copyDir, path.basename(store))]);
  }
}

/** Restores the copy while no daemon runs, and notes what that takes away. */
async function putBack(world: TortureWorld, stores: readonly string[], copy: Copy): Promise<void> {
  const { journalDir, outputDir, baseMs, agents } = world;
  const downMs = world.clock.nowMs();
  const acceptedBefore = await acceptedSamples(journalDir);
  const rowsBefore = await visibleSamples(outputDir, baseMs);
  for (const store of stores) {
    for (const name of fs.readdirSync(store)) {
      fs.rmSync(path.join(store, name), { recursive: true, force: true });
    }
    // With a dot at its end: what is in it, not itself.
    const from = `${path.join(copy.dir, path.basename(store))}/.`;
    execFileSync('cp', ['-a', '--sparse=always', from, store]);
  }
  // Who restores a copy syncs it; the daemon cannot.
  world.disks?.sync();
  const rowsAfter = stores.includes(outputDir)
    ? await visibleSamples(outputDir, baseMs)
    : rowsBefore;
  const isJournal = stores.includes(journalDir);
  excuse(world, { isJournal, fromMs: copy.atMs, downMs, rowsBefore, rowsAfter });
  if (isJournal) for (const agent of agents) agent.forgetOld();
  const { forgotten } = world.rolledBack;
  const acceptedAfter = await acceptedSamples(journalDir);
  world.rolledBack = {
    forgotten: forgotten + acceptedBefore - acceptedAfter,
    gone: acceptedBefore + forgotten - sum(rowsAfter),
  };
}

interface Taken {
  readonly isJournal: boolean;
  readonly fromMs: number;
  readonly downMs: number;
  readonly rowsBefore: ReadonlyMap<string, number>;
  readonly rowsAfter: ReadonlyMap<string, number>;
}

function excuse({ obligations, sink }: TortureWorld, taken: Taken): void {
  const { isJournal, fromMs, downMs, rowsBefore, rowsAfter } = taken;
  for (const [key, batch] of obligations.batches) {
    const { excused, ackedMs, open } = batch;
    const good = goodSamples(batch);
    const has = (rows: ReadonlyMap<string, number>) => (rows.get(key) ?? 0) >= Math.max(1, good);
    // Its file went away with the warehouse.
    if (has(rowsBefore) && !has(rowsAfter)) excused.rows = true;
    if (!isJournal) continue;
    // The journal knows no more that it has it, and it will come again.
    if (open > 0 && batch.sentMs <= downMs) excused.doubles = true;
    if (ackedMs === undefined || ackedMs < fromMs) continue;
    if (!has(rowsAfter)) excused.rows = true;
    if (!isWholeInSink(sink?.store, batch, good)) excused.points = true;
  }
}

function isWholeInSink(
  store: NonNullable<TortureWorld['sink']>['store'] | undefined,
  { node, round }: SentBatch,
  good: number,
): boolean {
  if (store === undefined) return true;
  let there = 0;
  for (let series = 0; series < SERIES; series += 1) if (store.has(node, round, series)) there += 1;
  return there >= good;
}

async function acceptedSamples(journalDir: string): Promise<number> {
  const { acceptedSamples: accepted } = await inspectJournal(journalDir);
  return accepted;
}

function sum(rows: ReadonlyMap<string, number>): number {
  let total = 0;
  for (const samples of rows.values()) total += samples;
  return total;
}

/** Nothing is taken away by this: what was acknowledged is the collector's. */
async function rollBackSpool(world: TortureWorld, lengthMs: number): Promise<string> {
  const { spoolAgent, spoolDir, dir, clock } = world;
  if (spoolAgent === undefined || !fs.existsSync(spoolDir)) return 'there is no spool';
  const copyDir = path.join(dir, 'spool-copy');
  spoolAgent.signal('SIGSTOP');
  take([spoolDir], copyDir);
  spoolAgent.signal('SIGCONT');
  await sleep(clock, lengthMs);
  await spoolAgent.crash(() => {
    fs.rmSync(spoolDir, { recursive: true, force: true });
    execFileSync('cp', ['-a', path.join(copyDir, path.basename(spoolDir)), spoolDir]);
  });
  fs.rmSync(copyDir, { recursive: true, force: true });
  return `${Math.round(lengthMs)} ms`;
}
