/**
 * A run of torture: the real daemon in a process of its own, agents that note what they were
 * promised, faults drawn from a seed, and afterwards a judge.
 *
 *     set up ─► warm up ─► faults, lanes beside each other ─► heal ─► come to rest ─► judge
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Clock, sleep, systemClock } from '../../src/lib/clock.ts';
import { errorMessage } from '../../src/lib/errors.ts';
import { packageFile } from '../../src/lib/package-root.ts';
import { buildWorld } from './build-world.ts';
import type { Build } from './daemon-supervisor.ts';
import { FaultBook } from './fault-book.ts';
import {
  agentPlan,
  clockPlan,
  diskPlan,
  feedPlan,
  type FaultPlan,
  networkPlan,
  processPlan,
  sinkPlan,
} from './fault-plan.ts';
import { injectAgentFault } from './faults/agent-faults.ts';
import { injectClockFault } from './faults/clock-faults.ts';
import { injectDiskFault } from './faults/disk-faults.ts';
import { injectFeedFault } from './faults/feed-faults.ts';
import { injectNetworkFault } from './faults/network-faults.ts';
import { injectProcessFault } from './faults/process-faults.ts';
import { injectSinkFault } from './faults/sink-faults.ts';
import { checkFeed } from './feed-check.ts';
import { runLane } from './lane.ts';
import { goodSamples } from './obligations.ts';
import type { TortureOptions } from './options.ts';
import { judge, type Verdict } from './oracle.ts';
import { comeToRest, type Rest, residentBytes } from './rest.ts';
import type { Inject, TortureWorld } from './torture-world.ts';

export interface TortureResult {
  /** Empty where all promises were kept. */
  readonly findings: readonly string[];
  readonly verdict: Verdict;
  readonly rest: Rest;
  readonly book: FaultBook;
  readonly world: TortureWorld;
  /** Where everything lies; removed unless it failed or was to be kept. */
  readonly dir: string;
  readonly seconds: number;
}

/** The build that this checkout has made. */
export function ownBuild(): Build {
  return {
    program: packageFile('dist/src/collector/main.js'),
    preload: packageFile('dist/trials/torture/preload/fault-points.js'),
  };
}

const WARM_UP_ACKS = 100;
/** Rotations are two seconds apart; starts and stops seal as well, and so do failures. */
const SEALS_PER_SECOND = 1;
const SEALS_PER_START = 3;
const SEALS_AT_ONCE = 20;
const WARM_UP_DEADLINE_MS = 60_000;
/** All waits have deadlines; together they are shorter than this. */
const HANG_MS = 540_000;

export interface TortureDeps {
  readonly print: (text: string) => void;
  /** Default: this checkout's own. */
  readonly build?: Build;
  readonly clock?: Clock;
  /** The part of the usual time for which to wait for rest; default 1. Less for broken builds. */
  readonly patience?: number;
  /** Gives up, cleans up and rejects when it aborts. */
  readonly interrupted?: AbortSignal;
}

export async function runTorture(
  options: TortureOptions,
  { print, build = ownBuild(), clock = systemClock, patience = 1, interrupted }: TortureDeps,
): Promise<TortureResult> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telemetry-torture-'));
  const book = new FaultBook();
  const world = await buildWorld(options, { dir, book, build, clock, print });
  let keep = true;
  try {
    const late = new AbortController();
    const hangMs = options.seconds * 1000 + HANG_MS;
    const cancel = clock.after(hangMs, () => late.abort(new Error('the harness hangs')));
    const given = interrupted === undefined ? [late.signal] : [late.signal, interrupted];
    const work = unlessInterrupted(
      AbortSignal.any(given),
      torment(world, { ...options, patience }, dir),
    );
    const result = await work.finally(cancel);
    keep = options.keep || result.findings.length > 0;
    return result;
  } finally {
    await world.close();
    if (!keep || interrupted?.aborted === true) fs.rmSync(dir, { recursive: true, force: true });
  }
}

async function torment(
  world: TortureWorld,
  options: TortureOptions & { readonly patience: number },
  dir: string,
): Promise<TortureResult> {
  const { clock, book } = world;
  const startedMs = clock.monotonicMs();
  const warmBytes = await warmUp(world);
  await injectFaults(world, options);
  const rest = await comeToRest(world, warmBytes, options.patience);
  const seconds = (clock.monotonicMs() - startedMs) / 1000;
  const { startsMs } = world.supervisor;
  const verdict = await judge({
    baseMs: world.baseMs,
    obligations: world.obligations,
    outputDir: world.outputDir,
    deadLetterDir: world.deadLetterDir,
    sink: world.sink?.store,
    refusedLines: world.sink?.refused,
    books: rest.books,
    rolledBack: world.rolledBack,
    clockError: (fromMs, toMs) => book.clockError(fromMs, toMs),
    startsMs,
    sealsMax: Math.ceil(
      SEALS_AT_ONCE + SEALS_PER_SECOND * seconds + SEALS_PER_START * startsMs.length,
    ),
  });
  attribute(world, verdict);
  const complaints = world.complaints.all.map(({ text }) => text);
  const findings = [
    ...complaints,
    ...verdict.findings,
    ...feedFindings(world, options, rest.books),
  ];
  return { findings, verdict, rest, book, world, dir, seconds };
}

/** A journal that was put back to an older copy may use a seq again under its own name. */
function feedFindings(
  { feedReading }: TortureWorld,
  { families }: TortureOptions,
  books: Rest['books'],
): readonly string[] {
  if (feedReading === undefined || books === undefined || families.has('rollback')) return [];
  return checkFeed(feedReading.lines(), books.accepted).findings;
}

/** The work goes on behind, until what it works on is closed under it. */
function unlessInterrupted<Result>(signal: AbortSignal, work: Promise<Result>): Promise<Result> {
  const interrupted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  return Promise.race([work, interrupted]);
}

/** Until everybody has been answered; returns the daemon's memory then. */
async function warmUp(world: TortureWorld): Promise<number> {
  const { supervisor, clock } = world;
  supervisor.start();
  // The last one always speaks over two connections; see buildWorld.
  const { agents } = world;
  await Promise.all(agents.map((agent) => agent.start(agent === agents.at(-1) ? 2 : 1)));
  world.spoolAgent?.start();
  world.feedReading?.start();
  const giveUpAtMs = clock.monotonicMs() + WARM_UP_DEADLINE_MS;
  while (supervisor.acks < WARM_UP_ACKS) {
    if (clock.monotonicMs() > giveUpAtMs) throw new Error('the agents were never answered');
    await sleep(clock, 20);
  }
  await sleep(clock, 1500);
  return residentBytes(supervisor.daemon?.pid);
}

async function injectFaults(world: TortureWorld, options: TortureOptions): Promise<void> {
  const { clock } = world;
  const over = new AbortController();
  const { seed, seconds } = options;
  const lane = (plan: FaultPlan, inject: Inject) => runLane(world, plan, inject, over.signal);
  const hasDisks = world.disks !== undefined;
  const lanes = [
    runLane(world, processPlan(seed, options, hasDisks), injectProcessFault, over.signal, {
      limit: options.kills,
      onLimit: () => over.abort(),
    }),
    lane(sinkPlan(seed, options), injectSinkFault),
    lane(diskPlan(seed, options, hasDisks), injectDiskFault),
    lane(networkPlan(seed, options), injectNetworkFault),
    lane(agentPlan(seed, options), injectAgentFault),
    lane(clockPlan(seed, options), injectClockFault),
    lane(feedPlan(seed, options), injectFeedFault),
  ];
  void sleep(clock, seconds * 1000, over.signal).then(() => over.abort());
  try {
    await Promise.all(lanes);
  } catch (error) {
    world.complaints.push(`the harness failed: ${errorMessage(error)}`);
  } finally {
    over.abort();
    await Promise.allSettled(lanes);
  }
}

/** Who is to blame for what: the fault that came last before it was acknowledged. */
function attribute(world: TortureWorld, { warehouse }: Verdict): void {
  const { book, obligations } = world;
  const names = book.faults;
  let at = 0;
  let name = 'no fault yet';
  const acked = [...obligations.batches.values()]
    .filter(({ ackedMs }) => ackedMs !== undefined)
    .sort((a, b) => a.ackedMs! - b.ackedMs!);
  for (const batch of acked) {
    while (at < names.length && names[at]!.atMs <= batch.ackedMs!) {
      name = names[at]!.name;
      at += 1;
    }
    book.row(name).ackedSamples += goodSamples(batch);
  }
  for (const flaw of warehouse.flaws) {
    const row = book.row(book.lastBefore(flaw.ackedMs ?? 0));
    if (flaw.what === 'lost') row.lost += flaw.samples;
    if (flaw.what === 'doubled') row.doubled += flaw.samples;
  }
}
