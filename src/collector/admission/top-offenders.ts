/**
 * Who asks for more series than there is room for. Only refused series are looked at, so that it
 * costs nothing while nothing is refused. All numbers count since the process started and are
 * approximate: memory is bounded whatever is sent.
 */
import type { Series } from '../../domain/telemetry.ts';

export interface Offender {
  readonly name: string;
  readonly count: number;
}

const TRACKED_NAMES = 256;
/** 256 registers estimate a number of distinct values to within about 7 %. */
const REGISTERS = 256;

/** Counts refused series by node, metric and label. */
export class TopOffenders {
  readonly #nodes = new HeavyHitters();
  readonly #metrics = new HeavyHitters();
  readonly #labels = new Map<string, DistinctValues>();

  /** Notes one series that was refused a slot. */
  add(nodeId: string, series: Series): void {
    this.#nodes.add(nodeId);
    this.#metrics.add(series.name);
    for (const [key, value] of series.labels) this.#addLabel(key, value);
  }

  /** Nodes by refused series. */
  nodes(limit: number): Offender[] {
    return this.#nodes.top(limit);
  }

  refusedOfNode(nodeId: string): number {
    return this.#nodes.count(nodeId);
  }

  /** Metrics by refused series. */
  metrics(limit: number): Offender[] {
    return this.#metrics.top(limit);
  }

  /** Label keys by the number of distinct values on refused series. */
  labels(limit: number): Offender[] {
    return [...this.#labels]
      .map(([name, values]) => ({ name, count: values.estimate() }))
      .sort(byCount)
      .slice(0, limit);
  }

  #addLabel(key: string, value: string): void {
    let values = this.#labels.get(key);
    if (values === undefined) {
      if (this.#labels.size === TRACKED_NAMES) return;
      values = new DistinctValues();
      this.#labels.set(key, values);
    }
    values.add(value);
  }
}

/**
 * The most frequent names of a stream in bounded memory: a name that is not yet tracked takes the
 * place of the least frequent one and inherits its count. Counts are therefore never too low, and
 * too high by at most the total over the number of places.
 */
export class HeavyHitters {
  readonly #counts = new Map<string, number>();
  /** The least count when it was last looked for, and names that had it then. */
  #least = 0;
  readonly #leastNames: string[] = [];

  add(name: string): void {
    const count = this.#counts.get(name);
    if (count !== undefined) this.#counts.set(name, count + 1);
    else if (this.#counts.size < TRACKED_NAMES) this.#counts.set(name, 1);
    else this.#replaceLeast(name);
  }

  count(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  top(limit: number): Offender[] {
    return [...this.#counts]
      .map(([name, count]) => ({ name, count }))
      .sort(byCount)
      .slice(0, limit);
  }

  #replaceLeast(name: string): void {
    const leastName = this.#nextLeast();
    this.#counts.delete(leastName);
    this.#counts.set(name, this.#least + 1);
  }

  /** One of the least frequent names. All of them are found at once, so that each costs little. */
  #nextLeast(): string {
    for (;;) {
      const name = this.#leastNames.pop();
      if (name === undefined) this.#findLeast();
      else if (this.#counts.get(name) === this.#least) return name;
    }
  }

  #findLeast(): void {
    this.#least = Math.min(...this.#counts.values());
    for (const [name, count] of this.#counts) {
      if (count === this.#least) this.#leastNames.push(name);
    }
  }
}

/**
 * How many different values there were, in 256 bytes: each register keeps the longest run of zero
 * bits at the start of the hashes that fall to it, and long runs are as rare as the values are
 * many.
 */
export class DistinctValues {
  readonly #registers = new Uint8Array(REGISTERS);

  add(value: string): void {
    const hash = scatter(value);
    const register = hash & (REGISTERS - 1);
    const run = Math.clz32(hash & ~(REGISTERS - 1)) + 1;
    if (run > this.#registers[register]!) this.#registers[register] = run;
  }

  estimate(): number {
    let sum = 0;
    let empty = 0;
    for (const run of this.#registers) {
      sum += 2 ** -run;
      if (run === 0) empty += 1;
    }
    const estimate = ((0.7213 / (1 + 1.079 / REGISTERS)) * REGISTERS * REGISTERS) / sum;
    // Few values: counting the untouched registers is more exact.
    const isSmall = estimate <= 2.5 * REGISTERS && empty > 0;
    return Math.round(isSmall ? REGISTERS * Math.log(REGISTERS / empty) : estimate);
  }
}

/** 32 bits in which every bit depends on every character: FNV-1a, and MurmurHash3's last step. */
function scatter(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

function byCount(a: Offender, b: Offender): number {
  return b.count - a.count;
}
