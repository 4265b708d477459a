/**
 * What docs/protocol.md asks of a client, as rules that a run can judge, and the judgement itself.
 */

/** In the order in which a report lists them. */
export const RULES = {
  certificate: 'sends nothing to a collector whose certificate is of a foreign authority',
  greeting: 'opens a bidirectional stream and sends batches on it',
  frames: 'sends frames that are valid batches',
  identity: 'speaks for the identity of its certificate, or claims none',
  limits: 'keeps to the limits of Hello',
  tables: 'names a series table only where Hello allows it, after sending it on this connection',
  numbers: 'numbers batches 1, 2, 3 … in each epoch, and new epochs are larger',
  window: 'keeps highest sent − lowest without a final answer below Hello.sequence_window',
  resend: 'sends what has no final answer again, with the same numbers and the same content',
  final: 'never sends a batch again after its final answer',
  throttled: 'sends a THROTTLED batch again, and not before retry_after_ms is over',
  rejected: 'takes REJECTED with a reason it does not know as final, and goes on',
  frame: 'takes an answer without numbers as that to the frame it names',
  order: 'takes answers in any order',
  evolution: 'ignores fields it does not know',
  reconnect: 'connects again after a close, half an answer, and a restart',
  backoff: 'waits between tries, 100 ms on average over four refused connections',
  complete: 'has a final answer for every batch in the end',
} as const;

export type Rule = keyof typeof RULES;

export interface Judgement {
  readonly rule: Rule;
  readonly text: string;
  readonly verdict: 'pass' | 'fail' | 'not seen';
  /** What went wrong, the first few times. */
  readonly why: readonly string[];
}

const WHY_MAX = 3;

/** Collects what was seen of each rule. A rule that nothing was seen of has not passed. */
export class Judge {
  readonly #seen = new Set<Rule>();
  readonly #why = new Map<Rule, string[]>();

  /** The rule was put to the test and nothing was wrong this time. */
  saw(rule: Rule): void {
    this.#seen.add(rule);
  }

  fail(rule: Rule, why: string): void {
    const whys = this.#why.get(rule) ?? [];
    this.#why.set(rule, whys);
    if (whys.length < WHY_MAX) whys.push(why);
  }

  get judgements(): Judgement[] {
    return (Object.keys(RULES) as Rule[]).map((rule) => {
      const why = this.#why.get(rule) ?? [];
      const verdict = why.length > 0 ? 'fail' : this.#seen.has(rule) ? 'pass' : 'not seen';
      return { rule, text: RULES[rule], verdict, why };
    });
  }
}
