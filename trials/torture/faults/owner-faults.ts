/**
 * A second daemon on directories that have an owner: in a network namespace of its own, where
 * locks that live in the network do not reach; beside a daemon that stands still; after the lock
 * was lost; or with another journal, under the same collector id, in one warehouse.
 *
 * It has to refuse to start wherever the first can be known to live. Where it cannot, it takes
 * over, and the first may write nothing any more.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { DaemonProcess } from '../../harness/daemon-process.ts';
import { sleep } from '../../../src/lib/clock.ts';
import { errorMessage } from '../../../src/lib/errors.ts';
import type { PlannedFault } from '../fault-plan.ts';
import type { TortureWorld } from '../torture-world.ts';

/** The second has settled, or has given up, by then. */
const START_DEADLINE_MS = 8000;
/** Both write for this long, if they do. */
const BESIDE_MS = 2500;

/** Runs a command in a network of its own, in which nothing but itself is. */
const OTHER_NETWORK = ['unshare', '--net', 'sh', '-c', 'ip link set lo up; exec "$0" "$@"'];

export async function bringInAnother(world: TortureWorld, planned: PlannedFault): Promise<string> {
  const { name, lengthMs } = planned;
  const why = whyNoOtherNetwork();
  if (why !== undefined) return `left out: ${why}`;
  const standsStill = name.endsWith('stands still');
  const takesOver = name.endsWith('lock is lost');
  const { supervisor, clock } = world;
  const first = supervisor.daemon;
  if (standsStill || takesOver) supervisor.signal('SIGSTOP');
  if (takesOver) removeLocks(world);
  const second = launchSecond(world, name.endsWith('our name'));
  try {
    await waitForFate(world, second);
    await sleep(clock, standsStill || takesOver ? lengthMs : 0);
    supervisor.signal('SIGCONT');
    await sleep(clock, BESIDE_MS);
    const isReady = second.hasLogged('ready');
    const hasLived = first !== undefined && supervisor.daemon === first;
    // A fault of another kind may have ended it meanwhile, and then the second may have its place.
    const culprits = first === undefined ? ['none ran'] : supervisor.culpritsOf(first);
    const isOurs = culprits.every((fault) => fault === name);
    if (isReady && !takesOver && (hasLived || isOurs)) {
      world.complaints.push(`a second daemon ran: "${name}"`);
    }
    if (!isReady && !hasLived && isOurs) world.complaints.push(`the first daemon ended: "${name}"`);
    return `${isReady ? 'it ran' : 'it refused'}, the first ${hasLived ? 'lives' : 'has ended'}`;
  } finally {
    supervisor.signal('SIGCONT');
    await second.kill();
    keepLog(world, second);
  }
}

function whyNoOtherNetwork(): string | undefined {
  try {
    execFileSync(OTHER_NETWORK[0]!, [...OTHER_NETWORK.slice(1), 'true'], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return `no network of its own: ${errorMessage(error).split('\n')[0]}`;
  }
}

/** With the same configuration, or the same but for its journal. */
function launchSecond({ deployment, supervisor, dir }: TortureWorld, hasOwnJournal: boolean) {
  const program = supervisor.program;
  if (!hasOwnJournal) return DaemonProcess.launch(deployment, { program, wrapper: OTHER_NETWORK });
  const journalDir = path.join(dir, 'second-journal');
  fs.mkdirSync(journalDir, { recursive: true });
  const env = { TELEMETRY_COLLECTOR_JOURNAL__DIR: journalDir };
  return DaemonProcess.launch(deployment, { program, env, wrapper: OTHER_NETWORK });
}

async function waitForFate({ clock }: TortureWorld, second: DaemonProcess): Promise<void> {
  const giveUpAtMs = clock.monotonicMs() + START_DEADLINE_MS;
  let hasEnded = false;
  void second.exited.then(() => {
    hasEnded = true;
  });
  while (!hasEnded && !second.hasLogged('ready') && clock.monotonicMs() < giveUpAtMs) {
    await sleep(clock, 20);
  }
}

/** Sockets in the directories: whatever marks an owner there, short of the data. */
function removeLocks({ journalDir, outputDir }: TortureWorld): void {
  for (const dir of [journalDir, outputDir]) {
    for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
      if (entry.isSocket()) fs.rmSync(path.join(dir, entry.name), { force: true });
    }
  }
}

function keepLog({ supervisor, clock }: TortureWorld, second: DaemonProcess): void {
  const lines = second.log.map((line) => `${JSON.stringify(line)}\n`).join('');
  fs.writeFileSync(path.join(supervisor.logDir, `second-${clock.nowMs()}.jsonl`), lines);
}
