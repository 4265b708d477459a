/**
 * Delivering lines of which the server may refuse some: all others are written, and each refused
 * line, or the one field of it that is refused, is handed back.
 *
 * What the server says comes first: it may name the lines, the field or how many are too old; those
 * are sent apart from the others. Only an answer to lines that were sent alone, or a number that
 * covers them all, condemns them, so wrong words cost requests and not samples. Where the words do
 * not help, halves are sent, first of the nodes and then of a node's lines; past a budget of
 * requests, lines one by one. So the lines of nodes that do nothing wrong are written first, and a
 * node's own lines in their order: of two values for one point the later one stays.
 *
 * A delivery keeps what is settled. After a failure, or a pause, it goes on where it was.
 */
import { type LineChunk, type LineRange, partField, partLines, wholeRange } from './line-chunk.ts';
import { escapeKey } from './point.ts';
import { isAboutLines, type Refusal, type WriteOutcome } from './write-outcome.ts';

/** Requests spent on halving; enough for some hundred refused lines. Then lines go one by one. */
const HALVING_REQUESTS_MAX = 2000;

/** A line, or one field of it, that will never be taken. */
export interface RefusedLine<Owner> {
  readonly owner: Owner;
  /** As it was sent. */
  readonly line: string;
  readonly samples: number;
  readonly status: number;
  /** In the server's words. */
  readonly reason: string;
}

export class LineDelivery<Owner> {
  readonly #chunk: LineChunk<Owner>;
  readonly #nodeOf: (owner: Owner) => string;
  #refused: RefusedLine<Owner>[] = [];
  /** Still to send: lines parted by node, the next range first. */
  #across: LineRange<Owner>[] = [];
  /** Still to send after those: parts of one node's lines, the next range last. */
  #within: LineRange<Owner>[] = [];
  #requests = 0;

  constructor(chunk: LineChunk<Owner>, nodeOf: (owner: Owner) => string) {
    this.#chunk = chunk;
    this.#nodeOf = nodeOf;
    this.restart();
  }

  /** Forgets what was found, for a server of which it is not known that it reads lines. */
  restart(): void {
    const whole = wholeRange(this.#chunk);
    this.#across = whole === undefined ? [] : [whole];
    this.#within = [];
    this.#refused = [];
    this.#requests = 0;
  }

  /** Every line is written or refused. */
  get isSettled(): boolean {
    return this.#across.length + this.#within.length === 0;
  }

  /** Found since the last `clearRefused`. */
  get refused(): readonly RefusedLine<Owner>[] {
    return this.#refused;
  }

  clearRefused(): void {
    this.#refused = [];
  }

  /** The nodes of lines that are not settled. */
  openNodes(): Set<string> {
    const nodes = new Set<string>();
    for (const { chunk, from, to } of [...this.#across, ...this.#within]) {
      for (let line = from; line < to; line++) nodes.add(this.#nodeOf(chunk.ownerOf(line)));
    }
    return nodes;
  }

  /**
   * Sends on until all is settled or `maxRequests` are answered. Returns the failure that stopped
   * it; the range that failed is sent again by the next call. What `send` throws, it throws.
   */
  async advance(
    send: (range: LineRange<Owner>) => Promise<WriteOutcome>,
    maxRequests: number,
  ): Promise<Extract<WriteOutcome, { kind: 'failed' }> | undefined> {
    for (let requests = 0; requests < maxRequests; requests++) {
      const isAcross = this.#across.length > 0;
      const range = isAcross ? this.#across[0] : this.#within.at(-1);
      if (range === undefined) return undefined;
      const outcome = await send(range);
      if (outcome.kind === 'failed') return outcome;
      this.#requests += 1;
      if (isAcross) this.#across.shift();
      else this.#within.pop();
      if (outcome.kind !== 'written') this.#divide(range, outcome);
    }
    return undefined;
  }

  #divide(range: LineRange<Owner>, answer: Refusal): void {
    const lines = range.to - range.from;
    const { isPartial, dropped } = answer.words;
    // A server whose words lead nowhere must not cost more than the halving would.
    const isPatient = this.#requests < HALVING_REQUESTS_MAX || answer.kind === 'too_large';
    const mayHelp = answer.kind === 'poison' && (isPatient || lines === 1);
    const parts = mayHelp ? partByWords(range, answer) : undefined;
    if (parts !== undefined) this.#add(range, parts);
    else if (lines === 1 || (isPartial && dropped >= lines)) this.#refuse(range, answer);
    else this.#add(range, isPatient ? this.#halves(range) : singles(range));
  }

  /** Parts of `range`: those of several nodes in turn, those of one node depth first. */
  #add(range: LineRange<Owner>, parts: readonly LineRange<Owner>[]): void {
    if (this.#isMixed(range)) this.#across.push(...parts);
    else this.#within.push(...parts.toReversed());
  }

  #isMixed({ chunk, from, to }: LineRange<Owner>): boolean {
    const first = this.#nodeOf(chunk.ownerOf(from));
    for (let line = from + 1; line < to; line++) {
      if (this.#nodeOf(chunk.ownerOf(line)) !== first) return true;
    }
    return false;
  }

  /** Two parts of about one size that have no node in common, or of the one node that there is. */
  #halves(range: LineRange<Owner>): LineRange<Owner>[] {
    const { chunk, from, to } = range;
    const middle = (from + to) >>> 1;
    const linesOf = new Map<string, number>();
    for (let line = from; line < to; line++) {
      const node = this.#nodeOf(chunk.ownerOf(line));
      linesOf.set(node, (linesOf.get(node) ?? 0) + 1);
    }
    if (linesOf.size === 1)
      return [
        { ...range, to: middle },
        { ...range, from: middle },
      ];
    const first = new Set<string>();
    let lines = 0;
    for (const [node, count] of linesOf) {
      if (first.size > 0 && (lines + count > middle - from || first.size === linesOf.size - 1))
        break;
      first.add(node);
      lines += count;
    }
    return partLines(range, (line) => first.has(this.#nodeOf(chunk.ownerOf(line))))
      .map(wholeRange)
      .filter((part) => part !== undefined);
  }

  #refuse({ chunk, from, to }: LineRange<Owner>, { status, message }: Refusal): void {
    for (let line = from; line < to; line++) {
      const samples = chunk.lineSamples[line]!;
      const owner = chunk.ownerOf(line);
      this.#refused.push({ owner, line: chunk.text(line), samples, status, reason: message });
    }
  }
}

function singles<Owner>(range: LineRange<Owner>): LineRange<Owner>[] {
  const { from, to } = range;
  return Array.from({ length: to - from }, (_, i) => {
    return { ...range, from: from + i, to: from + i + 1 };
  });
}

/**
 * Parts of `range` that its refusal tells apart, those likely to be taken first; undefined where
 * the words tell nothing new.
 */
function partByWords<Owner>(
  range: LineRange<Owner>,
  { words }: Refusal,
): LineRange<Owner>[] | undefined {
  if (!isAboutLines(words) && words.positions.length === 0) return undefined;
  const { conflictingField, unreadable, positions, isTime, dropped } = words;
  if (conflictingField !== '') {
    const [alone, others] = partField(range, escapeKey(conflictingField));
    // A field's type belongs to a shard, and a shard is a stretch of time.
    return partition(others, alone) ?? partByTime(range, dropped);
  }
  if (range.to - range.from === 1) return undefined;
  if (unreadable.length > 0 || positions.length > 0) {
    const quoted = new Set(unreadable);
    const named = new Set(positions);
    const [bad, others] = partLines(
      range,
      (line) => named.has(line - range.from) || quoted.has(range.chunk.text(line)),
    );
    return partition(others, bad);
  }
  return isTime ? partByTime(range, dropped) : undefined;
}

/**
 * The `count` oldest lines apart from the others, where no two of them have the same time. Tried
 * once: if that was not it, halves are the better guess.
 */
function partByTime<Owner>(range: LineRange<Owner>, count: number) {
  const { chunk, from, to, isTimed } = range;
  if (isTimed === true || count === 0 || count >= to - from) return undefined;
  const times = Float64Array.from({ length: to - from }, (_, i) => chunk.timestampMs(from + i));
  const edge = times.toSorted()[count]!;
  const [old, others] = partLines(range, (line) => times[line - from]! < edge);
  return partition(others, old)?.map((part) => ({ ...part, isTimed: true }));
}

/** Undefined where one part is everything, so that a search would show nothing. */
function partition<Owner>(first: LineChunk<Owner>, second: LineChunk<Owner>) {
  const [one, other] = [wholeRange(first), wholeRange(second)];
  return one === undefined || other === undefined ? undefined : [one, other];
}
