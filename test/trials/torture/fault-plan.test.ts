import { describe, expect, it } from 'vitest';
import {
  agentPlan,
  clockPlan,
  diskPlan,
  type FaultPlan,
  feedPlan,
  networkPlan,
  processPlan,
  sinkPlan,
} from '../../../trials/torture/fault-plan.ts';
import { parseFamilies } from '../../../trials/torture/options.ts';

const draw = (plan: FaultPlan, count: number) => Array.from({ length: count }, () => plan.next());

describe('the plan of faults', () => {
  const all = { families: parseFamilies('all'), only: '' };
  const plans = (seed: number) => [
    processPlan(seed, all, true),
    sinkPlan(seed, all),
    diskPlan(seed, all, true),
    networkPlan(seed, all),
    agentPlan(seed, all),
    clockPlan(seed, all),
    feedPlan(seed, all),
  ];

  it('is the same for the same seed and another for another', () => {
    const first = plans(7).map((plan) => draw(plan, 50));
    expect(plans(7).map((plan) => draw(plan, 50))).toEqual(first);
    expect(plans(8).map((plan) => draw(plan, 50))).not.toEqual(first);
  });

  it('has every kind of fault in it sooner or later', () => {
    const names = new Set(plans(1).flatMap((plan) => draw(plan, 2000).map(({ name }) => name)));
    expect(names.size).toBe(35 + 16 + 15 + 9 + 7 + 5 + 2);
  });

  it('holds only faults of the families and names that were asked for', () => {
    const kills = draw(
      processPlan(1, { families: parseFamilies('kill,sink'), only: '' }, true),
      300,
    );
    expect(new Set(kills.map(({ family }) => family))).toEqual(new Set(['kill']));
    const trims = processPlan(1, { families: parseFamilies('kill'), only: 'mid-trim' }, true);
    expect(new Set(draw(trims, 20).map(({ name }) => name))).toEqual(new Set(['kill: mid-trim']));
    expect(sinkPlan(1, { families: parseFamilies('kill'), only: '' }).isEmpty).toBe(true);
  });

  it('has no faults of disks where there are none of its own', () => {
    const names = draw(diskPlan(1, all, false), 500).map(({ name }) => name);
    expect(names.filter((name) => /full|read-only/.test(name))).toEqual([]);
  });

  it('refuses families that do not exist', () => {
    expect(() => parseFamilies('kill,rain')).toThrow('no faults are called rain');
  });
});
