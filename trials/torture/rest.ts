/**
 * After the faults: what must come back by itself, within a bound, before anything is compared.
 */
import fs from 'node:fs';
import { sleep } from '../../src/lib/clock.ts';
import { errorMessage } from '../../src/lib/errors.ts';
import type { Books } from './oracle.ts';
import type { TortureWorld } from './torture-world.ts';

export interface Rest {
  /** The daemon's own books before its last stop; undefined where it could not be asked. */
  readonly books: Books | undefined;
  readonly warmBytes: number;
  readonly restBytes: number;
  /** From the end of the faults until everything was written. */
  readonly seconds: number;
}

const READY_DEADLINE_MS = 60_000;
const DRAIN_DEADLINE_MS = 90_000;
const WRITTEN_DEADLINE_MS = 90_000;
const FRESH_DEADLINE_MS = 15_000;
/** Private memory may be this much above where it was when all had been quiet. */
const MEMORY_SLACK_BYTES = 96 * 1024 * 1024;

/**
 * Waits, for `patience` times the usual, and complains about whatever does not come back; then
 * stops the daemon.
 */
export async function comeToRest(
  world: TortureWorld,
  warmBytes: number,
  patience: number,
): Promise<Rest> {
  const { supervisor, clock, complaints, agents, spoolAgent } = world;
  const startedMs = clock.monotonicMs();
  await within(world, 'the daemon to be ready', READY_DEADLINE_MS * patience, () => isReady(world));
  await Promise.all(agents.map((agent) => agent.pause()));
  const drained = await Promise.all([
    ...agents.map((agent) => agent.drain(DRAIN_DEADLINE_MS * patience)),
    ...(spoolAgent === undefined ? [] : [spoolAgent.drain(DRAIN_DEADLINE_MS * patience)]),
  ]);
  if (drained.includes(false)) complaints.push('agents still wait for answers');
  const fresh = await Promise.all(
    agents.map((agent) => agent.sendFresh(FRESH_DEADLINE_MS * patience)),
  );
  if (fresh.includes(false)) complaints.push('fresh data is not acknowledged');
  const names = world.sink === undefined ? ['parquet'] : ['parquet', 'influxdb'];
  await within(world, 'everything to be written', WRITTEN_DEADLINE_MS * patience, async () => {
    const page = await supervisor.daemon?.metrics();
    return page !== undefined && page.sum('samples_pending') === 0;
  });
  await within(world, 'the reader of the feed', FRESH_DEADLINE_MS * patience, async () => {
    const { feedReading } = world;
    const page = await supervisor.daemon?.metrics();
    return feedReading === undefined || feedReading.seq() >= (page?.sum('journal_head_seq') ?? 0);
  });
  await within(world, 'readiness', READY_DEADLINE_MS * patience, () => isReady(world));
  const restBytes = residentBytes(supervisor.daemon?.pid);
  if (restBytes > warmBytes + MEMORY_SLACK_BYTES) {
    complaints.push(`the daemon holds ${restBytes} bytes, ${warmBytes} when it was fresh`);
  }
  const books = await readBooks(world, names);
  const seconds = (clock.monotonicMs() - startedMs) / 1000;
  await Promise.all(agents.map((agent) => agent.close()));
  await spoolAgent?.close();
  const exit = await supervisor.stop();
  if (exit?.code !== 0) complaints.push(`the last stop ended with ${exit?.code ?? exit?.signal}`);
  return { books, warmBytes, restBytes, seconds };
}

/** Private memory of a process in bytes; 0 where it cannot be read. */
export function residentBytes(pid: number | undefined): number {
  try {
    const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

async function isReady({ supervisor }: TortureWorld): Promise<boolean> {
  const { daemon } = supervisor;
  if (daemon === undefined || !daemon.hasLogged('ready')) return false;
  return (await daemon.readiness()).ready;
}

async function readBooks(
  { supervisor, complaints }: TortureWorld,
  writers: readonly string[],
): Promise<Books | undefined> {
  try {
    const page = await supervisor.daemon?.metrics();
    if (page === undefined) return undefined;
    const deadLettered = page.sum('samples_dead_lettered_total', { writer: 'influxdb' });
    const journalFileBytes = page.sum('journal_file_bytes');
    return { ...page.ledger(writers), deadLettered, journalFileBytes };
  } catch (error) {
    complaints.push(`cannot read the daemon's books: ${errorMessage(error)}`);
    return undefined;
  }
}

async function within(
  { clock, complaints, supervisor }: TortureWorld,
  what: string,
  deadlineMs: number,
  condition: () => Promise<boolean>,
): Promise<void> {
  const giveUpAtMs = clock.monotonicMs() + deadlineMs;
  for (;;) {
    if (await condition().catch(() => false)) return;
    if (clock.monotonicMs() > giveUpAtMs) {
      const state = await supervisor.daemon?.readiness().catch(errorMessage);
      const text = JSON.stringify(state ?? 'no daemon');
      complaints.push(`waited ${deadlineMs / 1000} s in vain for ${what}; readiness: ${text}`);
      return;
    }
    await sleep(clock, 50);
  }
}
