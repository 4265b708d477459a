/**
 * The set of series that hold a slot: hash → node, last seen, last seen as persisted, bytes of its
 * text. An open hash table in typed arrays, because there may be tens of millions: 24 bytes an
 * entry, between 32 and 64 bytes a series as it fills and doubles, where a Map costs several times
 * that and ends at 2^24.
 *
 * Collisions probe the next entry; removal moves later entries of the same run back, so that there
 * are no tombstones. Entry numbers are valid until the next `add` or `remove`.
 */
import { assert } from '../../lib/errors.ts';

const FIRST_CAPACITY = 1024;
const MAX_LOAD = 0.75;
/** In place of a hash, an entry that is free; `seriesHash` never gives it. */
const FREE = 0;

interface Arrays {
  readonly hashes: Float64Array;
  readonly nodes: Uint32Array;
  readonly seenSecs: Uint32Array;
  readonly persistedSecs: Uint32Array;
  readonly textBytes: Uint32Array;
}

export class SeriesSlots {
  #arrays = allocate(FIRST_CAPACITY);
  #mask = FIRST_CAPACITY - 1;
  #size = 0;

  /** Series in the set. */
  get size(): number {
    return this.#size;
  }

  /** Entries, taken and free: the bound of entry numbers. */
  get capacity(): number {
    return this.#mask + 1;
  }

  /** The entry of a series, or -1. */
  find(hash: number): number {
    const { hashes } = this.#arrays;
    assert(hash !== FREE, 'no series has the hash of a free entry');
    for (let entry = this.#home(hash); ; entry = (entry + 1) & this.#mask) {
      const found = hashes[entry]!;
      if (found === hash) return entry;
      if (found === FREE) return -1;
    }
  }

  /** Adds a series that is not there yet. Times in Unix seconds. */
  add(hash: number, node: number, seenSecs: number, textBytes: number): void {
    if (this.#size + 1 > MAX_LOAD * this.capacity) this.#grow();
    const { hashes, nodes, seenSecs: seen, persistedSecs, textBytes: texts } = this.#arrays;
    assert(hash !== FREE, 'no series has the hash of a free entry');
    let entry = this.#home(hash);
    while (hashes[entry] !== FREE) {
      assert(hashes[entry] !== hash, 'a series is added once');
      entry = (entry + 1) & this.#mask;
    }
    hashes[entry] = hash;
    nodes[entry] = node;
    seen[entry] = seenSecs;
    persistedSecs[entry] = seenSecs;
    texts[entry] = textBytes;
    this.#size += 1;
  }

  isTaken(entry: number): boolean {
    return this.#arrays.hashes[entry] !== FREE;
  }

  hashAt(entry: number): number {
    return this.#arrays.hashes[entry]!;
  }

  nodeAt(entry: number): number {
    return this.#arrays.nodes[entry]!;
  }

  seenSecsAt(entry: number): number {
    return this.#arrays.seenSecs[entry]!;
  }

  /** Last seen as it was last persisted. */
  persistedSecsAt(entry: number): number {
    return this.#arrays.persistedSecs[entry]!;
  }

  /** Bytes of the texts of the series; 0 where they are not known. */
  textBytesAt(entry: number): number {
    return this.#arrays.textBytes[entry]!;
  }

  setTextBytes(entry: number, bytes: number): void {
    this.#arrays.textBytes[entry] = bytes;
  }

  setSeen(entry: number, seenSecs: number): void {
    this.#arrays.seenSecs[entry] = seenSecs;
  }

  setPersisted(entry: number, seenSecs: number): void {
    this.#arrays.persistedSecs[entry] = seenSecs;
  }

  /** Frees an entry; another series may stand there afterwards. */
  remove(entry: number): void {
    const { hashes } = this.#arrays;
    assert(hashes[entry] !== FREE, 'only a taken entry is freed');
    let hole = entry;
    for (
      let next = (hole + 1) & this.#mask;
      hashes[next] !== FREE;
      next = (next + 1) & this.#mask
    ) {
      // An entry may move back only as far as its home, going around the end.
      const fromHome = (next - this.#home(hashes[next]!)) & this.#mask;
      const fromHole = (next - hole) & this.#mask;
      if (fromHome < fromHole) continue;
      copyEntry(this.#arrays, next, this.#arrays, hole);
      hole = next;
    }
    hashes[hole] = FREE;
    this.#size -= 1;
  }

  #home(hash: number): number {
    // The hashes are uniform, so any bits will do: the lower 32, as a whole number.
    return (hash >>> 0) & this.#mask;
  }

  #grow(): void {
    const old = this.#arrays;
    const capacity = 2 * this.capacity;
    this.#arrays = allocate(capacity);
    this.#mask = capacity - 1;
    for (let from = 0; from < old.hashes.length; from += 1) {
      if (old.hashes[from] === FREE) continue;
      let to = this.#home(old.hashes[from]!);
      while (this.#arrays.hashes[to] !== FREE) to = (to + 1) & this.#mask;
      copyEntry(old, from, this.#arrays, to);
    }
  }
}

function allocate(capacity: number): Arrays {
  return {
    hashes: new Float64Array(capacity),
    nodes: new Uint32Array(capacity),
    seenSecs: new Uint32Array(capacity),
    persistedSecs: new Uint32Array(capacity),
    textBytes: new Uint32Array(capacity),
  };
}

function copyEntry(from: Arrays, source: number, to: Arrays, target: number): void {
  to.hashes[target] = from.hashes[source]!;
  to.nodes[target] = from.nodes[source]!;
  to.seenSecs[target] = from.seenSecs[source]!;
  to.persistedSecs[target] = from.persistedSecs[source]!;
  to.textBytes[target] = from.textBytes[source]!;
}
