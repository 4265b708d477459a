/**
 * What every producer (node, epoch) has already made durable, and what it has under way. The
 * duplicate filter: `(node, epoch, sequence)` is new, pending (handed to the journal, not on disk
 * yet) or durable.
 *
 *     new ──begin──► pending ──fold──► durable
 *      ▲                │
 *      └────abandon─────┘   the transaction failed
 *
 * Windows are stored in the transaction that stores the records, so log and filter cannot disagree:
 * `plan` says what to write, and only after the commit `fold` makes it so in memory.
 *
 * Bounded: EPOCHS_PER_NODE epochs of a node, the least recently used is forgotten; nodes that were
 * silent for `planForgetting`'s time go altogether. A forgotten producer that comes back is new, so
 * the order of use must survive restarts whatever the wall clock does: the stored times of use only
 * ever rise.
 */
import { createHash } from 'node:crypto';
import { ProducerWindow, WINDOW_BYTES } from './producer-window.ts';

export const EPOCHS_PER_NODE = 8;

const MAX_NODE_ID_KEY_BYTES = 512;
const NODE_ID_OFFSET = 16 + WINDOW_BYTES;

export type ProducerState = 'new' | 'pending' | 'durable';
export type ProducerKey = [node: string, epoch: number];

/** One record as the filter sees it. */
export interface ProducerStep {
  readonly nodeId: string;
  readonly epoch: number;
  readonly sequence: number;
}

/** Wall time tells how long ago something was across restarts, monotonic time within this run. */
export interface Now {
  /** Unix ms. */
  readonly wallMs: number;
  readonly monotonicMs: number;
}

/** What a transaction has to write, and what to do once it has. */
export interface ProducerPlan {
  readonly puts: readonly { readonly key: ProducerKey; readonly value: Uint8Array }[];
  readonly removes: readonly ProducerKey[];
  /** Change in the number of known gaps. */
  readonly gaps: number;
  fold(): void;
}

interface Producer {
  window: ProducerWindow;
  lastSeen: Now;
  /** False until a window of it is on disk. */
  stored: boolean;
  readonly pending: Set<number>;
}

/** Between two uses while the wall clock stands still or has been set back. */
const TICK_MS = 1 / 1024;

const NEVER: Now = { wallMs: 0, monotonicMs: 0 };

type Epochs = Map<number, Producer>;

export class Producers {
  /** Both maps in order of use, least recent first. */
  readonly #nodes = new Map<string, Epochs>();
  #count = 0;
  /** The largest time of use, stored or about to be. */
  #lastUseMs = 0;

  get count(): number {
    return this.#count;
  }

  state(nodeId: string, epoch: number, sequence: number): ProducerState {
    if (sequence === 0) return 'new';
    const producer = this.#nodes.get(nodeId)?.get(epoch);
    if (producer === undefined) return 'new';
    if (producer.pending.has(sequence)) return 'pending';
    return producer.window.has(sequence) ? 'durable' : 'new';
  }

  begin(step: ProducerStep): void {
    if (step.sequence === 0) return;
    this.#producer(step.nodeId, step.epoch).pending.add(step.sequence);
  }

  /** The steps' records did not become durable: they are new again. */
  abandon(steps: readonly ProducerStep[]): void {
    for (const { nodeId, epoch, sequence } of steps) {
      const producer = this.#nodes.get(nodeId)?.get(epoch);
      if (producer === undefined) continue;
      producer.pending.delete(sequence);
      if (!producer.stored && producer.pending.size === 0) this.#drop(nodeId, epoch);
    }
  }

  /** What it takes to make `steps`, all of them begun, durable. Changes nothing yet. */
  plan(steps: readonly ProducerStep[], now: Now): ProducerPlan {
    const touched = new Map<Producer, Touched>();
    let gaps = 0;
    for (const step of steps) {
      if (step.sequence === 0) continue;
      const producer = this.#producer(step.nodeId, step.epoch);
      let change = touched.get(producer);
      if (change === undefined) {
        change = { ...step, window: producer.window.copy(), sequences: [] };
        touched.set(producer, change);
      }
      gaps += change.window.add(step.sequence);
      change.sequences.push(step.sequence);
    }
    const evicted = this.#surplus(touched);
    const use = { ...now, wallMs: Math.max(now.wallMs, this.#lastUseMs + TICK_MS) };
    return {
      puts: [...touched.values()].map((change) => ({
        key: keyOf(change.nodeId, change.epoch),
        value: encodeProducer(change, use.wallMs),
      })),
      removes: evicted.map(([nodeId, epoch]) => keyOf(nodeId, epoch)),
      gaps,
      fold: () => this.#fold(touched, evicted, use),
    };
  }

  /**
   * Forgets up to `limit` producers of nodes that were last heard before `before.wallMs`, by a wall
   * clock that may have jumped since: so not those heard in this run after `before.monotonicMs`.
   */
  planForgetting(before: Now, limit: number): ProducerPlan {
    const isSilent = ({ lastSeen, pending }: Producer) =>
      pending.size === 0 &&
      lastSeen.wallMs < before.wallMs &&
      lastSeen.monotonicMs < before.monotonicMs;
    const forgotten: [string, number][] = [];
    for (const [nodeId, epochs] of this.#nodes) {
      if (forgotten.length + epochs.size > limit) break;
      if (![...epochs.values()].every(isSilent)) break;
      for (const epoch of epochs.keys()) forgotten.push([nodeId, epoch]);
    }
    return {
      puts: [],
      removes: forgotten.map(([nodeId, epoch]) => keyOf(nodeId, epoch)),
      gaps: 0,
      fold: () => {
        for (const [nodeId, epoch] of forgotten) this.#drop(nodeId, epoch);
      },
    };
  }

  /** Takes up what is stored; once, before anything else. */
  restore(values: Iterable<Uint8Array>, monotonicMs: number): void {
    const stored = [...values].map(decodeProducer).sort((a, b) => a.lastSeenMs - b.lastSeenMs);
    for (const { nodeId, epoch, window, lastSeenMs } of stored) {
      const producer = this.#producer(nodeId, epoch);
      producer.window = window;
      producer.lastSeen = { wallMs: lastSeenMs, monotonicMs };
      this.#lastUseMs = Math.max(this.#lastUseMs, lastSeenMs);
      producer.stored = true;
      this.#touch(nodeId, epoch, producer);
    }
  }

  #fold(
    touched: ReadonlyMap<Producer, Touched>,
    evicted: readonly [string, number][],
    use: Now,
  ): void {
    this.#lastUseMs = use.wallMs;
    for (const [producer, { nodeId, epoch, window, sequences }] of touched) {
      producer.window = window;
      producer.lastSeen = use;
      producer.stored = true;
      for (const sequence of sequences) producer.pending.delete(sequence);
      this.#touch(nodeId, epoch, producer);
    }
    for (const [nodeId, epoch] of evicted) this.#drop(nodeId, epoch);
  }

  /** The stored epochs that are too many for a node, least recently used first. */
  #surplus(touched: ReadonlyMap<Producer, Touched>): [string, number][] {
    const evicted: [string, number][] = [];
    for (const nodeId of new Set([...touched.values()].map((change) => change.nodeId))) {
      const epochs = this.#nodes.get(nodeId)!;
      let surplus = epochs.size - EPOCHS_PER_NODE;
      for (const [epoch, producer] of epochs) {
        if (surplus <= 0) break;
        if (touched.has(producer) || producer.pending.size > 0) continue;
        evicted.push([nodeId, epoch]);
        surplus -= 1;
      }
    }
    return evicted;
  }

  #producer(nodeId: string, epoch: number): Producer {
    let epochs = this.#nodes.get(nodeId);
    if (epochs === undefined) {
      epochs = new Map();
      this.#nodes.set(nodeId, epochs);
    }
    let producer = epochs.get(epoch);
    if (producer === undefined) {
      producer = {
        window: new ProducerWindow(),
        lastSeen: NEVER,
        stored: false,
        pending: new Set(),
      };
      epochs.set(epoch, producer);
      this.#count += 1;
    }
    return producer;
  }

  #touch(nodeId: string, epoch: number, producer: Producer): void {
    const epochs = this.#nodes.get(nodeId)!;
    epochs.delete(epoch);
    epochs.set(epoch, producer);
    this.#nodes.delete(nodeId);
    this.#nodes.set(nodeId, epochs);
  }

  #drop(nodeId: string, epoch: number): void {
    const epochs = this.#nodes.get(nodeId);
    if (epochs?.delete(epoch)) this.#count -= 1;
    if (epochs?.size === 0) this.#nodes.delete(nodeId);
  }
}

interface Touched {
  readonly nodeId: string;
  readonly epoch: number;
  readonly window: ProducerWindow;
  readonly sequences: number[];
}

/** Node ids are keys as they are, unless LMDB could not take them. */
export function keyOf(nodeId: string, epoch: number): ProducerKey {
  if (Buffer.byteLength(nodeId) <= MAX_NODE_ID_KEY_BYTES) return [nodeId, epoch];
  return [`sha256:${createHash('sha256').update(nodeId).digest('hex')}`, epoch];
}

/** Epoch and last seen as float64, the window, the node id in UTF-8. */
function encodeProducer({ nodeId, epoch, window }: Touched, lastSeenMs: number): Uint8Array {
  const bytes = Buffer.alloc(NODE_ID_OFFSET + Buffer.byteLength(nodeId));
  bytes.writeDoubleLE(epoch, 0);
  bytes.writeDoubleLE(lastSeenMs, 8);
  window.encodeInto(bytes, 16);
  bytes.write(nodeId, NODE_ID_OFFSET, 'utf8');
  return bytes;
}

/** Reads a row of the table `producers`; throws a RangeError where it is too short. */
export function decodeProducer(value: Uint8Array) {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return {
    epoch: bytes.readDoubleLE(0),
    lastSeenMs: bytes.readDoubleLE(8),
    window: ProducerWindow.decode(bytes, 16),
    nodeId: bytes.toString('utf8', NODE_ID_OFFSET),
  };
}
