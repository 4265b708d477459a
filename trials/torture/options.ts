/**
 * What a run may be told.
 */
import type { TransportChoice } from '../../src/client/transport-choice.ts';
import { FAMILIES, type Family } from './fault-plan.ts';

export interface TortureOptions {
  readonly seed: number;
  /** Faults come for this long, or until `kills` ends of the process. */
  readonly seconds: number;
  readonly kills: number | undefined;
  readonly families: ReadonlySet<Family>;
  /** Of those families only faults whose name holds this; '' is all. */
  readonly only: string;
  /** Batches per second, as a multiple of about 120. */
  readonly load: number;
  /** What the agents send over. */
  readonly transport: TransportChoice;
  readonly json: boolean;
  /** Leaves the directory in place also where all is well. */
  readonly keep: boolean;
}

/** `all`, or names of families with commas between; throws with the known names. */
export function parseFamilies(text: string): Set<Family> {
  if (text === 'all') return new Set(FAMILIES);
  const names = text.split(',').filter((name) => name !== '');
  for (const name of names) {
    if (!FAMILIES.includes(name as Family)) {
      throw new Error(`no faults are called ${name}; known are ${FAMILIES.join(', ')}, all`);
    }
  }
  return new Set(names as Family[]);
}
