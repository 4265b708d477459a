/**
 * Damage: from valid inputs to ones that are nearly valid, which is where parsers go wrong. The
 * same random numbers make the same damage.
 */
import type { SeededRandom } from '../../src/agent/sources/seeded-random.ts';
/** No input grows past this, so that slow is a property of the parser and not of the size. */
export declare const INPUT_BYTES_MAX: number;
/** Texts that trip up programs, whatever they parse. */
export declare const TRICKY_TEXTS: readonly Buffer[];
export interface MutationStock {
  readonly seeds: readonly Buffer[];
  readonly tokens: readonly Buffer[];
}
/** One input: mostly a damaged seed, now and then a whole one or nothing but noise. */
export declare function mutate(random: SeededRandom, stock: MutationStock): Buffer;
