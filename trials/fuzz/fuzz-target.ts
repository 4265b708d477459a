/**
 * What a parser must show to be fuzzed: valid inputs to damage, and a run that throws when
 * something that must hold of every input does not.
 */

export interface FuzzTarget {
  readonly name: string;
  /** What the target stands for, in a few words, for the report. */
  readonly what: string;
  /** Valid inputs; at least one. */
  readonly seeds: readonly Buffer[];
  /** Pieces that mean something to this parser, to be put where they do not belong. */
  readonly tokens: readonly Buffer[];
  /** A case that takes more of the processor is a finding; default: 1000 ms. */
  readonly caseMsMax?: number;
  /**
   * Feeds one input through the parser's boundary. Throws, or rejects, where the parser did what it
   * must never do.
   */
  run(input: Buffer): void | Promise<void>;
  /** Whether everything around is still well; asked now and then, and at the end. */
  check?(): Promise<void>;
  /** Gives back files and sockets. */
  close?(): Promise<void> | void;
}

/** Makes the target; what it needs of the outside world begins here. */
export interface TargetMaker {
  readonly name: string;
  readonly make: () => FuzzTarget | Promise<FuzzTarget>;
}

/** Throws where `condition` does not hold; `what` completes "it must hold that …". */
export function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`it does not hold that ${what}`);
}
