/**
 * The QUIC stack inside the daemon panics: its connections are lost, and nothing else. Every agent
 * must be answered again within seconds, by the same process.
 */
import { sleep } from '../../../src/lib/clock.ts';
import type { PlannedFault } from '../fault-plan.ts';
import type { TortureWorld } from '../torture-world.ts';

const POINT = 'transport.run';
const FAILED = 'the QUIC stack failed';
const POINT_DEADLINE_MS = 8000;
/** Agents are back within this where nothing else is wrong. */
const BACK_MS = 5000;
/** From the third panic in a minute on: the stack pauses up to 8 s, and agents try again later. */
const BACK_AFTER_MANY_MS = 25_000;
const MANY = 3;
const MINUTE_MS = 60_000;
/** Agents may still be waiting out what another fault did to them. */
const AFTERMATH_MS = 10_000;
const POLL_MS = 5;

/** Waits until every agent has been answered for something that it sent after the panic. */
export async function panicInside(world: TortureWorld, planned: PlannedFault): Promise<string> {
  const { supervisor, clock, complaints } = world;
  const { daemon } = supervisor;
  const panics = () => daemon?.log.filter(({ msg }) => msg.startsWith(FAILED)).length ?? 0;
  const before = panics();
  const disarm = supervisor.arm(POINT, planned.nth, 'panic');
  const giveUpAtMs = clock.monotonicMs() + POINT_DEADLINE_MS;
  while (panics() === before && clock.monotonicMs() < giveUpAtMs) await sleep(clock, POLL_MS);
  disarm();
  if (panics() === before) return 'was not reached';
  const atMs = clock.nowMs();
  const startMs = clock.monotonicMs();
  const backMs = recentPanics(world, planned.name) < MANY ? BACK_MS : BACK_AFTER_MANY_MS;
  const isLate = () => clock.monotonicMs() - startMs > backMs;
  while (!areAllAnswered(world, atMs) && !isLate()) await sleep(clock, POLL_MS);
  if (isAlone(world, planned.name, atMs)) {
    if (supervisor.daemon !== daemon) complaints.push('a panic of the QUIC stack ended the daemon');
    if (isLate()) complaints.push(`an agent was not answered ${backMs} ms after a panic`);
  }
  return `${isLate() ? 'not all' : 'all'} agents were back within ${backMs} ms`;
}

/** With this one. */
function recentPanics({ book, clock }: TortureWorld, name: string): number {
  const sinceMs = clock.nowMs() - MINUTE_MS;
  return book.faults.filter((fault) => fault.name === name && fault.atMs > sinceMs).length;
}

function areAllAnswered({ agents, obligations }: TortureWorld, sinceMs: number): boolean {
  const answered = new Set<number>();
  for (const { node, sentMs, ackedMs } of obligations.batches.values()) {
    if (sentMs >= sinceMs && ackedMs !== undefined) answered.add(node);
  }
  return agents.every(({ node }) => answered.has(node));
}

/** Whether no other fault had a part in what happened since. */
function isAlone({ book, clock }: TortureWorld, name: string, sinceMs: number): boolean {
  const nowMs = clock.nowMs();
  return book.faults.every((fault) => {
    const endMs = fault.endMs ?? nowMs;
    return fault.name === name || endMs < sinceMs - AFTERMATH_MS || fault.atMs > nowMs;
  });
}
