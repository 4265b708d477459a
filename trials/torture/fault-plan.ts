/**
 * Which faults come, and when: drawn from the seed alone, lane by lane, so that a seed names the
 * same faults on every machine, whatever happens in between.
 */

import { SeededRandom } from '../../src/agent/sources/seeded-random.ts';
import { REFUSAL_MODES, SINK_MODES } from './sink-server.ts';

/** Faults of different families run beside each other, those of one family one after another. */
export const FAMILIES = [
  'kill',
  'signal',
  'power',
  'sink',
  'disk',
  'network',
  'agent',
  'clock',
  'tables',
  'hours',
  'refusals',
  'clock-days',
  'vanish',
  'rollback',
  'owners',
  'panic',
  'feed',
] as const;
export type Family = (typeof FAMILIES)[number];

/** Which faults may come. */
export interface FaultChoice {
  readonly families: ReadonlySet<Family>;
  /** Only those whose name holds this. */
  readonly only: string;
}

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
    choice: FaultChoice,
    kinds: readonly FaultKind[],
    gapMs: readonly [number, number],
  ) {
    this.#random = new SeededRandom(`${seed}/${lane}`);
    this.#kinds = kinds.filter(
      ({ family, name }) => choice.families.has(family) && name.includes(choice.only),
    );
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
  { family: 'kill', name: 'kill: in a slow commit of batches', weight: 3, nth: [1, 20] },
  { family: 'kill', name: 'kill: during recovery', weight: 4, lengthMs: [0, 700] },
  { family: 'kill', name: 'kill: recovery, taking over the journal', weight: 1 },
  { family: 'kill', name: 'kill: recovery, wiping unfinished files', weight: 1 },
];

const KINDS: readonly FaultKind[] = [
  ...KILL_KINDS,
  { family: 'kill', name: 'kill: mid dead-letter write', weight: 2, nth: [1, 3] },
  { family: 'signal', name: 'SIGTERM', weight: 3 },
  { family: 'signal', name: 'SIGTERM twice', weight: 2, lengthMs: [0, 400] },
  { family: 'signal', name: 'SIGHUP with a new certificate', weight: 1 },
  { family: 'kill', name: 'a writer ends mid row group', weight: 1, nth: [1, 12] },
  { family: 'kill', name: 'a writer ends between renames', weight: 1, nth: [1, 2] },
  { family: 'signal', name: 'SIGSTOP and SIGCONT', weight: 2, lengthMs: [200, 6000] },
  { family: 'power', name: 'power cut', weight: 4, lengthMs: [0, 600] },
  { family: 'power', name: 'power cut: after the renames, before the cursor', weight: 2 },
  ...['journal', 'warehouse', 'both stores', "agent's spool"].map(
    (store): FaultKind => ({
      family: 'rollback',
      name: `rollback: ${store}`,
      weight: 2,
      lengthMs: [1500, 6000],
    }),
  ),
  { family: 'panic', name: 'panic: the QUIC stack', weight: 2, nth: [1, 200] },
  { family: 'owners', name: 'owners: a second daemon', weight: 2, lengthMs: [2000, 4000] },
  {
    family: 'owners',
    name: 'owners: a second daemon while the first stands still',
    weight: 2,
    lengthMs: [2000, 4000],
  },
  {
    family: 'owners',
    name: 'owners: a second daemon takes over, the lock is lost',
    weight: 1,
    lengthMs: [2000, 4000],
  },
  {
    family: 'owners',
    name: 'owners: another journal under our name',
    weight: 1,
    lengthMs: [2000, 4000],
  },
];

/**
 * The faults that end the process. Dead letters are written only where a sink refuses lines, and
 * only disks of our own can lose power.
 */
export function processPlan(seed: number, choice: FaultChoice, hasDisks: boolean): FaultPlan {
  const hasSink = choice.families.has('sink');
  const kinds = KINDS.filter(
    ({ name, family }) =>
      (hasSink || name !== 'kill: mid dead-letter write') && (hasDisks || family !== 'power'),
  );
  return new FaultPlan(seed, 'process', choice, kinds, [50, 900]);
}

const SINK_WEIGHTS: Readonly<Partial<Record<string, number>>> = { refuses_lines: 3, partial: 3 };

/** One for each way in which the InfluxDB side misbehaves. */
export function sinkPlan(seed: number, choice: FaultChoice): FaultPlan {
  const modes = SINK_MODES.map((mode) => ({
    family: 'sink' as const,
    name: `sink: ${mode}`,
    weight: SINK_WEIGHTS[mode] ?? 1,
    lengthMs: [1500, 20_000] as const,
  }));
  const refusals = REFUSAL_MODES.map((mode) => ({
    family: 'refusals' as const,
    name: `refusals: ${mode}`,
    weight: 2,
    lengthMs: [8000, 25_000] as const,
  }));
  return new FaultPlan(seed, 'sink', choice, [...modes, ...refusals], [300, 2500]);
}

/** What needs disks of its own is left out where there are none. */
export function diskPlan(seed: number, choice: FaultChoice, hasDisks: boolean): FaultPlan {
  const kind = (name: string, weight: number, lengthMs: readonly [number, number]) => ({
    family: 'disk' as const,
    name: `disk: ${name}`,
    weight,
    lengthMs,
  });
  const injected = [
    kind('commits fail', 2, [200, 4000]),
    kind('a commit is made and reported as failed', 1, [0, 0]),
    kind('files cannot be written', 2, [500, 5000]),
    kind('files cannot be synced', 2, [500, 5000]),
    kind('files cannot be renamed', 2, [500, 5000]),
    kind('directories cannot be synced', 2, [500, 5000]),
    kind('dead letters cannot be written', choice.families.has('sink') ? 1 : 0, [500, 5000]),
  ];
  const mounted = [
    kind('journal full', 3, [500, 6000]),
    kind('warehouse full', 3, [500, 6000]),
    kind('journal read-only at the start', 1, [500, 4000]),
    kind('warehouse read-only at the start', 1, [500, 4000]),
  ];
  const vanishing = ['.staging', 'metrics', 'the dead letters', "the agent's spool"].map(
    (directory) => ({
      family: 'vanish' as const,
      name: `vanish: ${directory}`,
      weight: 2,
      lengthMs: [200, 4000] as const,
    }),
  );
  const kinds = [...injected, ...(hasDisks ? mounted : []), ...vanishing];
  return new FaultPlan(seed, 'disk', choice, kinds, [500, 3000]);
}

/** Weather between the agents and the daemon. */
export function networkPlan(seed: number, choice: FaultChoice): FaultPlan {
  const weathers = ['drops', 'duplicates', 'reorders', 'corrupts', 'delays', 'rebinds', 'is cut'];
  const names = [...weathers, 'does everything at once', 'blocks UDP'];
  const kinds = names.map((name) => ({
    family: 'network' as const,
    name: `network: ${name}`,
    weight: 1,
    lengthMs: [500, 7000] as const,
  }));
  return new FaultPlan(seed, 'network', choice, kinds, [200, 2000]);
}

/** What agents do wrong, or have to. */
export function agentPlan(seed: number, choice: FaultChoice): FaultPlan {
  const kind = (name: string, weight: number) => ({
    family: 'agent' as const,
    name: `agent: ${name}`,
    weight,
    lengthMs: [300, 3000] as const,
  });
  const kinds = [
    kind('crashes and restarts with its spool', 3),
    kind('forgets its epoch', 2),
    kind('sends an old epoch again', 3),
    kind('sends over two connections at once', 2),
    kind('has a clock that jumps', 2),
    {
      family: 'tables' as const,
      name: 'tables: another with each batch',
      weight: 4,
      lengthMs: [1000, 5000] as const,
    },
    {
      family: 'hours' as const,
      name: 'hours: a batch of as many hours as samples',
      weight: 3,
      lengthMs: [500, 3000] as const,
    },
  ];
  return new FaultPlan(seed, 'agent', choice, kinds, [200, 1500]);
}

/** What a reader of the feed does to itself. */
export function feedPlan(seed: number, choice: FaultChoice): FaultPlan {
  const kinds = ['the reader stands still', 'the reader is killed'].map((name) => ({
    family: 'feed' as const,
    name: `feed: ${name}`,
    weight: 1,
    lengthMs: [100, 8000] as const,
  }));
  return new FaultPlan(seed, 'feed', choice, kinds, [500, 4000]);
}

/** The daemon's wall clock is set back or forth, and put right again. */
export function clockPlan(seed: number, choice: FaultChoice): FaultPlan {
  const kind = (family: Family, name: string): FaultKind => ({
    family,
    name: `${family}: the daemon's is set ${name}`,
    weight: 1,
    lengthMs: [300, 8000],
  });
  const kinds = [
    kind('clock', 'back'),
    kind('clock', 'forth'),
    kind('clock-days', 'back'),
    kind('clock-days', 'forth'),
    kind('clock-days', 'forth at the start'),
  ];
  return new FaultPlan(seed, 'clock', choice, kinds, [500, 5000]);
}
