/**
 * The last value of every series, by node. What costs time is done once for each series or table:
 * labels become an identity, a name becomes a quantity, and a table becomes a list of slots. A
 * sample then costs one comparison and three writes.
 */
import { identifyLabels, type LabelIdentity } from '../../domain/gpu-identity.ts';
import { factorTo, type Quantity, quantityOf } from '../../domain/quantities.ts';
import type { Labels, SampleColumns, Series, SeriesTable } from '../../domain/telemetry.ts';

/** Tables of one node whose slots are remembered; more mean one lookup a series and batch. */
const TABLES_PER_NODE_MAX = 64;

/** What a series measures, where that has a name. */
export interface Measure {
  readonly quantity: Quantity;
  /** The lower, the better a source of the quantity. */
  readonly rank: number;
  /** To the base unit of the quantity; undefined where the series' unit does not say. */
  readonly factor: number | undefined;
}

/** One series with its newest sample. */
export interface Slot {
  readonly nodeId: string;
  readonly series: Series;
  /** Equal for equal series of a node: name, unit and labels. */
  readonly key: string;
  readonly identity: LabelIdentity;
  readonly measure: Measure | undefined;
  /** Unix ms of the newest sample. */
  timestampMs: number;
  /** Unix ms: when the collector received the newest batch with a sample of it. */
  receivedAtMs: number;
  /** In the unit of the series. */
  value: number;
  /** Between the newest two samples; 0 before the second. */
  intervalMs: number;
  samples: number;
}

/** One acknowledged batch. */
export interface FleetBatch {
  readonly nodeId: string;
  /** Unix ms. */
  readonly receivedAtMs: number;
  readonly table: SeriesTable;
  readonly samples: SampleColumns;
}

interface NodeSlots {
  readonly bySeries: Map<string, Slot>;
  /** By table id, least recently used first. */
  readonly byTable: Map<string, readonly (Slot | undefined)[]>;
}

export interface SlotOwner {
  /** A series appeared. */
  added(slot: Slot): void;
  /** A series was silent for too long and is forgotten. */
  removed(slot: Slot): void;
}

export class SeriesSlots {
  readonly #maxSeries: number;
  readonly #owner: SlotOwner;
  readonly #nodes = new Map<string, NodeSlots>();
  readonly #identities = new WeakMap<Labels, LabelIdentity>();
  #size = 0;
  #untracked = 0;

  constructor(maxSeries: number, owner: SlotOwner) {
    this.#maxSeries = maxSeries;
    this.#owner = owner;
  }

  get size(): number {
    return this.#size;
  }

  /** Samples of series that found no place, since the start. */
  get untrackedSamples(): number {
    return this.#untracked;
  }

  /** Takes the samples of one acknowledged batch. */
  take({ nodeId, receivedAtMs, table, samples }: FleetBatch): void {
    const slots = this.#slotsOf(nodeId, table);
    const { series, timestampsMs, values } = samples;
    for (let i = 0; i < series.length; i += 1) {
      const slot = slots[series[i]!];
      if (slot === undefined) {
        this.#untracked += 1;
        continue;
      }
      const timestampMs = timestampsMs[i]!;
      slot.samples += 1;
      slot.receivedAtMs = receivedAtMs;
      if (timestampMs < slot.timestampMs) continue;
      if (slot.timestampMs > 0 && timestampMs > slot.timestampMs) {
        slot.intervalMs = timestampMs - slot.timestampMs;
      }
      slot.timestampMs = timestampMs;
      slot.value = values[i]!;
    }
  }

  /** The series of one node. */
  of(nodeId: string): Iterable<Slot> {
    return this.#nodes.get(nodeId)?.bySeries.values() ?? [];
  }

  *all(): Iterable<Slot> {
    for (const { bySeries } of this.#nodes.values()) yield* bySeries.values();
  }

  /** Forgets every series of which nothing was received since `beforeMs`. */
  forget(beforeMs: number): void {
    for (const [nodeId, node] of this.#nodes) {
      let isChanged = false;
      for (const [key, slot] of node.bySeries) {
        if (slot.receivedAtMs >= beforeMs) continue;
        node.bySeries.delete(key);
        this.#size -= 1;
        this.#owner.removed(slot);
        isChanged = true;
      }
      // Their lists still point at the slots; a series that comes back must get a new one.
      if (isChanged) node.byTable.clear();
      if (node.bySeries.size === 0) this.#nodes.delete(nodeId);
    }
  }

  #slotsOf(nodeId: string, table: SeriesTable): readonly (Slot | undefined)[] {
    let node = this.#nodes.get(nodeId);
    if (node === undefined) {
      node = { bySeries: new Map(), byTable: new Map() };
      this.#nodes.set(nodeId, node);
    }
    const { byTable } = node;
    let slots = byTable.get(table.id);
    if (slots === undefined) {
      const { bySeries } = node;
      slots = table.series.map((series) => this.#slotOf(nodeId, bySeries, series));
      const [oldest] = byTable.keys();
      if (byTable.size >= TABLES_PER_NODE_MAX && oldest !== undefined) byTable.delete(oldest);
    } else byTable.delete(table.id);
    // A list with gaps is made again next time: there may be room by then.
    if (!slots.includes(undefined)) byTable.set(table.id, slots);
    return slots;
  }

  #slotOf(nodeId: string, bySeries: Map<string, Slot>, series: Series): Slot | undefined {
    const key = seriesKey(series);
    const known = bySeries.get(key);
    if (known !== undefined) return known;
    if (this.#size >= this.#maxSeries) return undefined;
    const slot: Slot = {
      nodeId,
      series,
      key,
      identity: this.#identityOf(series.labels),
      measure: measureOf(series),
      timestampMs: 0,
      receivedAtMs: 0,
      value: 0,
      intervalMs: 0,
      samples: 0,
    };
    bySeries.set(key, slot);
    this.#size += 1;
    this.#owner.added(slot);
    return slot;
  }

  #identityOf(labels: Labels): LabelIdentity {
    let identity = this.#identities.get(labels);
    if (identity === undefined) {
      identity = identifyLabels(labels);
      this.#identities.set(labels, identity);
    }
    return identity;
  }
}

function seriesKey({ name, unit, labels }: Series): string {
  return JSON.stringify([name, unit, labels]);
}

function measureOf({ name, unit }: Series): Measure | undefined {
  const known = quantityOf(name);
  return known === undefined ? undefined : { ...known, factor: factorTo(known.quantity, unit) };
}
