/**
 * CPU profiles as shares of stages: each sample counts for the nearest function, from the top of
 * the stack down, that belongs to one.
 */
import type { Profiler } from 'node:inspector';

export interface Stage {
  readonly name: string;
  /** Part of the address of a file. */
  readonly files: RegExp;
}

export const RUNTIME = 'Node.js itself';
export const GARBAGE = 'garbage collection';

/** Shares of the time that the thread was not idle; they add up to 1. */
export function stageShares(
  profile: Profiler.Profile,
  stages: readonly Stage[],
): ReadonlyMap<string, number> {
  const stageOf = stagesByNode(profile, stages);
  const times = new Map<string, number>();
  let total = 0;
  profile.samples?.forEach((node, index) => {
    const stage = stageOf.get(node);
    if (stage === undefined) return;
    const time = profile.timeDeltas?.[index] ?? 0;
    times.set(stage, (times.get(stage) ?? 0) + time);
    total += time;
  });
  return new Map([...times].map(([stage, time]) => [stage, time / total]));
}

/** By node id; idle ones are missing. */
function stagesByNode(
  { nodes }: Profiler.Profile,
  stages: readonly Stage[],
): ReadonlyMap<number, string> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const found = new Map<number, string>();
  const visit = (id: number, inherited: string) => {
    const node = byId.get(id);
    if (node === undefined) return;
    const { functionName, url } = node.callFrame;
    const own = stages.find(({ files }) => files.test(url))?.name ?? inherited;
    if (functionName === '(garbage collector)') found.set(id, GARBAGE);
    else if (functionName !== '(idle)') found.set(id, own);
    for (const child of node.children ?? []) visit(child, own);
  };
  const root = nodes[0];
  if (root !== undefined) visit(root.id, RUNTIME);
  return found;
}
