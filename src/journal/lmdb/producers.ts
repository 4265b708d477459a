/**
 * What every producer (node, epoch) has already made durable, and what it has under way. The
 * duplicate filter: `(node, epoch, sequence)` is new, pending (handed to the journal, not on disk
 * yet), durable, or out of the window: too old to know whether it was ever stored.
 *
 *     new ──begin──► pending ──fold──► durable
 *      ▲                │
 *      └────abandon─────┘   the transaction failed
 *
 * Windows are stored in the transaction that stores the records, so log and filter cannot disagree:
 * `plan` says what to write, and only after the commit `fold` makes it so in memory.
 *
 * Bounded: EPOCHS_PER_NODE epochs of a node, the least recently used is forgotten; nodes that were
 * silent for `planForgetting`'s time go altogether. Of a node with a forgotten epoch the largest
 * forgotten one is remembered: an unknown epoch up to it is out of the window, because its batches
 * may have been stored before. The order of use must survive restarts whatever the wall clock does:
 * the stored times of use only ever rise.
 */
import { createHash } from 'node:crypto';
import type { ProducerState } from '../append-log.ts';
import { ProducerWindow, WINDOW_BYTES, WINDOW_SEQUENCES } from './producer-window.ts';

export const EPOCHS_PER_NODE = 8;

const MAX_NODE_ID_KEY_BYTES = 512;
const NODE_ID_OFFSET = 16 + WINDOW_BYTES;
/** Ends the node id of a row: no UTF-8 text holds this byte. */
const NODE_ID_END = 0xff;
/** The mark and two numbers behind the node id. */
const TRAILER_BYTES = 1 + 2 * 8;

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

function gapsOf(epochs: ReadonlyMap<number, Producer>): number {
  let gaps = 0;
  for (const { window } of epochs.values()) gaps += window.countedGaps;
  return gaps;
}

interface NodeEpochs {
  /** In order of use, least recent first. */
  readonly epochs: Map<number, Producer>;
  /** The largest epoch that was forgotten to make room for others; −1 where none was. */
  forgottenTo: number;
}

export class Producers {
  /** In order of use, least recent first. */
  readonly #nodes = new Map<string, NodeEpochs>();
  #count = 0;
  /** The largest time of use, stored or about to be. */
  #lastUseMs = 0;

  get count(): number {
    return this.#count;
  }

  state(nodeId: string, epoch: number, sequence: number): ProducerState {
    if (sequence === 0) return 'new';
    const node = this.#nodes.get(nodeId);
    if (node === undefined) return 'new';
    const producer = node.epochs.get(epoch);
    if (producer === undefined) return epoch <= node.forgottenTo ? 'out_of_window' : 'new';
    if (producer.pending.has(sequence)) return 'pending';
    return producer.window.state(sequence);
  }

  /** The nodes with the most known gaps since the start, most first. */
  mostGaps(limit: number): { nodeId: string; gaps: number }[] {
    return [...this.#nodes]
      .map(([nodeId, { epochs }]) => ({ nodeId, gaps: gapsOf(epochs) }))
      .filter(({ gaps }) => gaps > 0)
      .sort((a, b) => b.gaps - a.gaps)
      .slice(0, limit);
  }

  begin(step: ProducerStep): void {
    if (step.sequence === 0) return;
    this.#producer(step.nodeId, step.epoch).pending.add(step.sequence);
  }

  /** The steps' records did not become durable: they are new again. */
  abandon(steps: readonly ProducerStep[]): void {
    for (const { nodeId, epoch, sequence } of steps) {
      const producer = this.#nodes.get(nodeId)?.epochs.get(epoch);
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
    const forgottenTo = this.#forgottenTo(touched, evicted);
    const use = { ...now, wallMs: Math.max(now.wallMs, this.#lastUseMs + TICK_MS) };
    return {
      puts: [...touched.values()].map((change) => ({
        key: keyOf(change.nodeId, change.epoch),
        value: encodeProducer(change, use.wallMs, forgottenTo.get(change.nodeId)!),
      })),
      removes: evicted.map(([nodeId, epoch]) => keyOf(nodeId, epoch)),
      gaps,
      fold: () => {
        this.#fold(touched, evicted, use);
        for (const [nodeId, epoch] of forgottenTo) this.#nodes.get(nodeId)!.forgottenTo = epoch;
      },
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
    for (const [nodeId, { epochs }] of this.#nodes) {
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
    for (const { nodeId, epoch, window, lastSeenMs, forgottenTo } of stored) {
      const producer = this.#producer(nodeId, epoch);
      const node = this.#nodes.get(nodeId)!;
      node.forgottenTo = Math.max(node.forgottenTo, forgottenTo);
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
      const { epochs } = this.#nodes.get(nodeId)!;
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

  /** For each touched node, the largest epoch that is forgotten once `evicted` are. */
  #forgottenTo(
    touched: ReadonlyMap<Producer, Touched>,
    evicted: readonly [string, number][],
  ): Map<string, number> {
    const forgottenTo = new Map<string, number>();
    for (const { nodeId } of touched.values()) {
      forgottenTo.set(nodeId, this.#nodes.get(nodeId)!.forgottenTo);
    }
    for (const [nodeId, epoch] of evicted) {
      forgottenTo.set(nodeId, Math.max(epoch, forgottenTo.get(nodeId)!));
    }
    return forgottenTo;
  }

  #producer(nodeId: string, epoch: number): Producer {
    let node = this.#nodes.get(nodeId);
    if (node === undefined) {
      node = { epochs: new Map(), forgottenTo: -1 };
      this.#nodes.set(nodeId, node);
    }
    const { epochs } = node;
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
    const node = this.#nodes.get(nodeId)!;
    node.epochs.delete(epoch);
    node.epochs.set(epoch, producer);
    this.#nodes.delete(nodeId);
    this.#nodes.set(nodeId, node);
  }

  #drop(nodeId: string, epoch: number): void {
    const epochs = this.#nodes.get(nodeId)?.epochs;
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

/**
 * Epoch and last seen as float64, the window, the node id in UTF-8 and its end, the window's newest
 * gap and the node's largest forgotten epoch as float64.
 */
function encodeProducer(
  { nodeId, epoch, window }: Touched,
  lastSeenMs: number,
  forgottenTo: number,
): Uint8Array {
  const nodeIdEnd = NODE_ID_OFFSET + Buffer.byteLength(nodeId);
  const bytes = Buffer.alloc(nodeIdEnd + TRAILER_BYTES);
  bytes.writeDoubleLE(epoch, 0);
  bytes.writeDoubleLE(lastSeenMs, 8);
  window.encodeInto(bytes, 16);
  bytes.write(nodeId, NODE_ID_OFFSET, 'utf8');
  bytes[nodeIdEnd] = NODE_ID_END;
  bytes.writeDoubleLE(window.passedTo, nodeIdEnd + 1);
  bytes.writeDoubleLE(forgottenTo, nodeIdEnd + 9);
  return bytes;
}

/** Reads a row of the table `producers`; throws a RangeError where it is too short. */
export function decodeProducer(value: Uint8Array) {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const floor = bytes.readDoubleLE(16);
  const end = bytes.length - TRAILER_BYTES;
  const hasTrailer = end >= NODE_ID_OFFSET && bytes[end] === NODE_ID_END;
  // Format 2 did not tell gaps. What a client within its bound may ask about counts as durable.
  const passedTo = hasTrailer ? bytes.readDoubleLE(end + 1) : Math.max(0, floor - WINDOW_SEQUENCES);
  return {
    epoch: bytes.readDoubleLE(0),
    lastSeenMs: bytes.readDoubleLE(8),
    window: ProducerWindow.decode(bytes, 16, passedTo),
    nodeId: bytes.toString('utf8', NODE_ID_OFFSET, hasTrailer ? end : bytes.length),
    forgottenTo: hasTrailer ? bytes.readDoubleLE(end + 9) : -1,
  };
}
