/**
 * Which faults come, and when: drawn from the seed alone, lane by lane, so that a seed names the same
 * faults on every machine, whatever happens in between.
 */
import { SeededRandom } from '../src/agent/sources/seeded-random.ts';

/** Faults of different families run beside each other, those of one family one after another. */
export const FAMILIES = ['kill', 'signal', 'power', 'sink', 'disk', 'network', 'agent'] as const;
export type Family = (typeof FAMILIES)[number];

export interface PlannedFault {
  readonly family: Family;
  /** The row of the table that the fault is counted in. */
  readonly name: string;
  /** Quiet time before it, once its predecessor is over. */
  readonly gapMs: number;
  /** How long it lasts, for those that last. */
  readonly lengthMs: number;
  /** At which occurrence of a named point it strikes. */
  readonly nth: number;
  /** For choices inside the fault, in [0, 1). */
  readonly dice: number;
}

interface FaultKind {
  readonly name: string;
  readonly weight: number;
  readonly family: Family;
  readonly lengthMs?: readonly [number, number];
  readonly nth?: readonly [number, number];
}

/** An endless list of faults of one lane. */
export class FaultPlan {
  readonly #random: SeededRandom;
  readonly #kinds: readonly FaultKind[];
  readonly #gapMs: readonly [number, number];

  constructor(
    seed: number,
    lane: string,
    kinds: readonly FaultKind[],
    gapMs: readonly [number, number],
  ) {
    this.#random = new SeededRandom(`${seed}/${lane}`);
    this.#kinds = kinds;
    this.#gapMs = gapMs;
  }

  get isEmpty(): boolean {
    return this.#kinds.length === 0;
  }

  next(): PlannedFault {
    const random = this.#random;
    const kind = this.#pick();
    const [shortest, longest] = kind.lengthMs ?? [0, 0];
    const [first, last] = kind.nth ?? [1, 1];
    return {
      family: kind.family,
      name: kind.name,
      gapMs: random.between(...this.#gapMs),
      lengthMs: random.between(shortest, longest),
      nth: Math.floor(random.between(first, last + 1)),
      dice: random.next(),
    };
  }

  #pick(): FaultKind {
    const total = this.#kinds.reduce((sum, { weight }) => sum + weight, 0);
    let at = this.#random.next() * total;
    for (const kind of this.#kinds) {
      at -= kind.weight;
      if (at < 0) return kind;
    }
    return this.#kinds[this.#kinds.length - 1]!;
  }
}

/** Named points at which the daemon kills itself: see preload/fault-points.ts. */
const KILL_POINTS: readonly FaultKind[] = [
  { name: 'kill: before a commit of batches', weight: 1, nth: [1, 20] },
  { name: 'kill: during a commit of batches', weight: 2, nth: [1, 20] },
  { name: 'kill: after the commit, before the ack', weight: 3, nth: [1, 20] },
  { name: 'kill: mid row group', weight: 2, nth: [1, 12] },
  { name: 'kill: before the sync of a file', weight: 1, nth: [1, 3] },
  { name: 'kill: before the first rename', weight: 1 },
  { name: 'kill: between renames', weight: 2, nth: [1, 2] },
  { name: 'kill: after the renames, before the cursor', weight: 3 },
  { name: 'kill: during a commit of a cursor', weight: 1, nth: [1, 4] },
  { name: 'kill: after a cursor, before the writer knows', weight: 1, nth: [1, 4] },
  { name: 'kill: mid-trim', weight: 1, nth: [1, 4] },
  { name: 'kill: after a trim', weight: 1, nth: [1, 4] },
].map((kind) => ({ ...kind, family: 'kill' as const }) as FaultKind);

const KILL_KINDS: readonly FaultKind[] = [
  { family: 'kill', name: 'kill: at a random moment', weight: 10, lengthMs: [0, 600] },
  ...KILL_POINTS,
  { family: 'kill', name: 'kill: during recovery', weight: 4, lengthMs: [0, 700] },
  { family: 'kill', name: 'kill: recovery, taking over the journal', weight: 1 },
  { family: 'kill', name: 'kill: recovery, wiping unfinished files', weight: 1 },
];

const KINDS: readonly FaultKind[] = [
  ...KILL_KINDS,
  { family: 'kill', name: 'kill: mid dead-letter write', weight: 2, nth: [1, 3] },
  { family: 'signal', name: 'SIGTERM', weight: 3 },
  { family: 'signal', name: 'SIGTERM twice', weight: 2, lengthMs: [0, 400] },
  { family: 'signal', name: 'SIGSTOP and SIGCONT', weight: 2, lengthMs: [200, 6000] },
  { family: 'power', name: 'power cut', weight: 6, lengthMs: [0, 600] },
];

/** The faults that end the process. Dead letters are written only where a sink refuses lines. */
export function processPlan(seed: number, families: ReadonlySet<Family>): FaultPlan {
  const hasSink = families.has('sink');
  const kinds = KINDS.filter(({ family }) => families.has(family)).filter(
    ({ name }) => hasSink || name !== 'kill: mid dead-letter write',
  );
  return new FaultPlan(seed, 'process', kinds, [50, 900]);
}
