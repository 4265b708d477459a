/**
 * Faults one after another, each after its quiet time, until told to stop.
 */
import { sleep } from '../../src/lib/clock.ts';
import type { FaultPlan } from './fault-plan.ts';
import type { Inject, TortureWorld } from './torture-world.ts';

export interface LaneLimit {
  /** Faults at most; undefined is without end. */
  readonly limit?: number | undefined;
  readonly onLimit?: () => void;
}

export async function runLane(
  world: TortureWorld,
  plan: FaultPlan,
  inject: Inject,
  stop: AbortSignal,
  { limit = Number.POSITIVE_INFINITY, onLimit = () => {} }: LaneLimit = {},
): Promise<void> {
  if (plan.isEmpty) return;
  const { clock, book, print } = world;
  for (let done = 0; done < limit; done += 1) {
    const planned = plan.next();
    await sleep(clock, planned.gapMs, stop);
    if (stop.aborted) return;
    const fault = book.begin(planned.name, clock.nowMs());
    try {
      await inject(world, planned, fault, stop);
    } finally {
      fault.endMs = clock.nowMs();
    }
    print(`${new Date(fault.atMs).toISOString().slice(11, 23)} ${planned.name} ${fault.note}\n`);
  }
  onLimit();
}
