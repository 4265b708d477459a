/**
 * The cardinality limiter: which series hold one of the limited slots. A known series always
 * passes; a new one takes a slot of its node and of the whole, and its text counts against its
 * node; a series not seen for the time to live frees them. Membership is told to `persist`, and
 * comes back with `restore`, so that a restart does not deal the slots anew.
 *
 * When all slots are taken, a node that holds less than its equal share (`max_cardinality` over the
 * number of nodes) takes the slots it lacks from the node that holds most. Some node then holds
 * more than its share, so there always is one to take from, and no node is pushed below its own
 * share. Whoever holds many certificates can fill the table, but not keep others out.
 *
 * The work is done per table, not per sample: `resolve` looks all series of a (node, table) up once
 * and keeps the outcome as a bitmap. It looks again
 * - once a minute, to note that the series are still seen (a quarter of the time to live if
 *   shorter);
 * - every five seconds while some are refused, since slots may have become free.
 * "Last seen" is thus up to a minute behind, and a series may lose its slot that much early; it
 * then takes a new one with its next sample, if there is one.
 *
 * Memory: 32 to 64 bytes a series (series-slots.ts), 9 bytes a series of each table in use, and
 * some 900 bytes for the table itself, which therefore counts as a hundred series more.
 */
import type { Clock } from '../../lib/clock.ts';
import type { Series, SeriesChange, SeriesTable } from '../../domain/telemetry.ts';
import { type NodeCount, NodeCounts } from './node-counts.ts';
import { ResolvedTables, type WeightedTable } from './resolved-tables.ts';
import { seriesHashes } from './series-identity.ts';
import { SeriesSlots } from './series-slots.ts';
import { type Offender, TopOffenders } from './top-offenders.ts';

/** The limits as the configuration names them. */
export interface SeriesLimits {
  readonly max_cardinality: number;
  readonly max_cardinality_per_node: number;
  readonly max_series_text_per_node: number;
  readonly series_ttl_secs: number;
}

export const SERIES_REFUSALS = ['cardinality_node', 'cardinality_global', 'text_node'] as const;
export type SeriesRefusal = (typeof SERIES_REFUSALS)[number];

/** A (node, table) as it was last resolved. Valid until the next `resolve`. */
export interface ResolvedTable {
  /** For each series of the table: 1 where it holds a slot, else 0. */
  readonly admitted: Uint8Array;
  /** How many hold none. */
  readonly refused: number;
  /** The limit that refused them; undefined where all are admitted. */
  readonly refusedBy: SeriesRefusal | undefined;
}

interface CachedTable extends ResolvedTable, WeightedTable {
  readonly nodeId: string;
  readonly hashes: Float64Array;
  readonly admitted: Uint8Array;
  refused: number;
  refusedBy: SeriesRefusal | undefined;
  /** Monotonic ms. */
  lookedUpMs: number;
}

const LOOK_AGAIN_MS = 60_000;
const RETRY_REFUSED_MS = 5_000;
/** What a cached table costs beside its series, in series. */
const SERIES_PER_TABLE = 100;
/** Cached tables may hold this many series, on top of twice the series that may exist. */
const CACHED_SERIES_FLOOR = 100_000;
const ENTRIES_PER_SWEEP = 100_000;
const REMOVALS_PER_SWEEP = 10_000;
/** A newer "last seen" is persisted once it moved by this share of the time to live. */
const PERSISTED_SHARE_OF_TTL = 0.1;
/**
 * Entries looked at for slots to take from another node, in one look at a table: a few ms. What did
 * not get a slot then is looked at again after five seconds.
 */
const RECLAIM_ENTRIES_PER_LOOK = 1_000_000;

export class SeriesLimiter {
  readonly #clock: Clock;
  readonly #persist: (changes: readonly SeriesChange[]) => void;
  #limits: SeriesLimits;
  readonly #slots = new SeriesSlots();
  readonly #nodes = new NodeCounts();
  readonly #tables = new ResolvedTables<CachedTable>((table) => {
    this.#refusedNow -= table.refused;
  });
  #refusedNow = 0;
  readonly #refusedTotals = { cardinality_node: 0, cardinality_global: 0, text_node: 0 };
  #reclaimedTotal = 0;
  #reclaimFrom = 0;
  readonly #offenders = new TopOffenders();
  #sweepFrom = 0;

  /** `persist` is called with what changed, in order; it must not call back. */
  constructor(
    clock: Clock,
    limits: SeriesLimits,
    persist: (changes: readonly SeriesChange[]) => void,
  ) {
    this.#clock = clock;
    this.#limits = limits;
    this.#persist = persist;
  }

  /** The most text that one node's series come to, in bytes. */
  mostNodeText(): number {
    return this.#nodes.mostTextBytes();
  }

  /** Slots that a node took from another because it held less than its share. */
  get reclaimedTotal(): number {
    return this.#reclaimedTotal;
  }

  /** Series that hold a slot. */
  get size(): number {
    return this.#slots.size;
  }

  get limits(): SeriesLimits {
    return this.#limits;
  }

  /** Nodes that hold slots. */
  nodes(): number {
    return this.#nodes.size;
  }

  /** What one node holds: series, and bytes of their texts. */
  heldBy(nodeId: string): { readonly series: number; readonly textBytes: number } {
    return {
      series: this.#nodes.seriesOf(nodeId),
      textBytes: this.#nodes.textBytesOf(nodeId),
    };
  }

  /** Tables whose outcome is kept. */
  get cachedTables(): number {
    return this.#tables.size;
  }

  /** Series of the kept tables that hold no slot; one that is in two tables counts twice. */
  get refusedNow(): number {
    return this.#refusedNow;
  }

  /** Series refused so far: each time a table that was not refused them before is. */
  refusedTotal(reason: SeriesRefusal): number {
    return this.#refusedTotals[reason];
  }

  /**
   * Takes effect at the next look at a table. Known series keep their slots even over a lower
   * limit.
   */
  reconfigure(limits: SeriesLimits): void {
    this.#limits = limits;
  }

  /**
   * Takes back the membership of an earlier run from what it persisted, over the limit too; what
   * expired leaves by `sweep`.
   */
  restore(changes: Iterable<SeriesChange>): void {
    for (const change of changes) {
      for (const hash of change.hashes) {
        const entry = this.#slots.find(hash);
        if (change.kind === 'remove') {
          if (entry >= 0) this.#free(entry);
        } else if (entry < 0) {
          // How much text it is shows when it is seen again.
          this.#slots.add(hash, this.#nodes.add(change.nodeId, 0), change.seenSecs, 0);
        } else {
          this.#slots.setSeen(entry, change.seenSecs);
          this.#slots.setPersisted(entry, change.seenSecs);
        }
      }
    }
  }

  /** Whether the series holds a slot and was last persisted as seen at that time. */
  isLatest(hash: number, seenSecs: number): boolean {
    const entry = this.#slots.find(hash);
    return entry >= 0 && this.#slots.persistedSecsAt(entry) === seenSecs;
  }

  /** Whether the outcome of this table is kept, so that it costs nothing new. */
  knows(nodeId: string, table: SeriesTable): boolean {
    return this.#tables.has(nodeId, table.id);
  }

  /**
   * Which series of a node's table hold a slot. New ones take theirs now, in table order;
   * `textBytes` says how much text each of them is.
   */
  resolve(nodeId: string, table: SeriesTable, textBytes: Uint32Array): ResolvedTable {
    const nowMs = this.#clock.monotonicMs();
    let cached = this.#tables.use(nodeId, table.id, nowMs);
    if (cached === undefined) {
      cached = createCachedTable(nodeId, table);
      this.#lookUp(cached, table.series, textBytes, nowMs);
      this.#tables.add(nodeId, table.id, cached, nowMs);
      this.#tables.shrinkTo(CACHED_SERIES_FLOOR + 2 * this.#limits.max_cardinality, nowMs);
    } else if (nowMs - cached.lookedUpMs >= this.#lookAgainAfterMs(cached)) {
      this.#lookUp(cached, table.series, textBytes, nowMs);
    }
    return cached;
  }

  /**
   * Frees the slots of series that expired, a bounded slice at each call. Call it every second or
   * so.
   */
  sweep(): void {
    const nowMs = this.#clock.nowMs();
    const ttlMs = this.#limits.series_ttl_secs * 1000;
    const freed: number[] = [];
    for (let looked = 0; looked < ENTRIES_PER_SWEEP; looked += 1) {
      if (this.#sweepFrom >= this.#slots.capacity) {
        this.#sweepFrom = 0;
        break;
      }
      if (freed.length === REMOVALS_PER_SWEEP) break;
      if (this.#isExpired(this.#sweepFrom, nowMs - ttlMs)) {
        // Another series may move into the entry: look at it again.
        freed.push(this.#slots.hashAt(this.#sweepFrom));
        this.#free(this.#sweepFrom);
      } else {
        this.#sweepFrom += 1;
      }
    }
    if (freed.length > 0) this.#persist([{ kind: 'remove', hashes: Float64Array.from(freed) }]);
  }

  /**
   * For a person who asks why series are refused: the nodes with the most series now, and with the
   * most refused ones; metrics by refused series; label keys by distinct values on refused series.
   * All but the series now are approximate and count since the start.
   */
  topOffenders(limit: number): {
    readonly byNode: readonly { nodeId: string; series: number; refused: number }[];
    readonly byMetric: readonly Offender[];
    readonly byLabel: readonly Offender[];
  } {
    const nodeIds = new Set([
      ...this.#offenders.nodes(limit).map(({ name }) => name),
      ...this.#nodes.top(limit).map(({ nodeId }) => nodeId),
    ]);
    const byNode = [...nodeIds]
      .map((nodeId) => ({
        nodeId,
        series: this.#nodes.seriesOf(nodeId),
        refused: this.#offenders.refusedOfNode(nodeId),
      }))
      .sort((a, b) => b.refused - a.refused || b.series - a.series)
      .slice(0, limit);
    return {
      byNode,
      byMetric: this.#offenders.metrics(limit),
      byLabel: this.#offenders.labels(limit),
    };
  }

  #free(entry: number): void {
    this.#nodes.remove(this.#slots.nodeAt(entry), this.#slots.textBytesAt(entry));
    this.#slots.remove(entry);
  }

  #isExpired(entry: number, seenBeforeMs: number): boolean {
    return this.#slots.isTaken(entry) && this.#slots.seenSecsAt(entry) * 1000 < seenBeforeMs;
  }

  #lookAgainAfterMs(table: CachedTable): number {
    const touchAfterMs = Math.min(LOOK_AGAIN_MS, (this.#limits.series_ttl_secs * 1000) / 4);
    return table.refused > 0 ? Math.min(RETRY_REFUSED_MS, touchAfterMs) : touchAfterMs;
  }

  #lookUp(
    table: CachedTable,
    series: readonly Series[],
    textBytes: Uint32Array,
    nowMs: number,
  ): void {
    const nowSecs = Math.ceil(this.#clock.nowMs() / 1000);
    const look: Look = {
      nodeId: table.nodeId,
      nowSecs,
      changed: [],
      reclaimed: [],
      entriesLeft: RECLAIM_ENTRIES_PER_LOOK,
      from: undefined,
    };
    const isFirst = table.lookedUpMs === Number.NEGATIVE_INFINITY;
    this.#refusedNow -= table.refused;
    table.refused = 0;
    table.refusedBy = undefined;
    table.lookedUpMs = nowMs;
    for (let index = 0; index < series.length; index += 1) {
      const refusedBy = this.#admit(look, table.hashes[index]!, textBytes[index]!);
      const wasAdmitted = isFirst || table.admitted[index] === 1;
      table.admitted[index] = refusedBy === undefined ? 1 : 0;
      if (refusedBy === undefined) continue;
      table.refused += 1;
      table.refusedBy = refusedBy;
      if (wasAdmitted) this.#countRefused(refusedBy, table.nodeId, series[index]!);
    }
    this.#refusedNow += table.refused;
    this.#persistLook(look);
  }

  #persistLook({ nodeId, nowSecs: seenSecs, changed, reclaimed }: Look): void {
    const changes: SeriesChange[] = [];
    if (reclaimed.length > 0) {
      changes.push({ kind: 'remove', hashes: Float64Array.from(reclaimed) });
    }
    if (changed.length > 0) {
      changes.push({ kind: 'put', nodeId, seenSecs, hashes: Float64Array.from(changed) });
    }
    if (changes.length > 0) this.#persist(changes);
  }

  /**
   * Notes a series as seen, giving it a slot if it has none; returns why it gets none. Adds to
   * `look` what is to be persisted.
   */
  #admit(look: Look, hash: number, textBytes: number): SeriesRefusal | undefined {
    const { nodeId, nowSecs } = look;
    const slots = this.#slots;
    const entry = slots.find(hash);
    if (entry >= 0) {
      slots.setSeen(entry, nowSecs);
      if (slots.textBytesAt(entry) === 0) {
        slots.setTextBytes(entry, textBytes);
        this.#nodes.addText(slots.nodeAt(entry), textBytes);
      }
      const movedSecs = nowSecs - slots.persistedSecsAt(entry);
      if (movedSecs > this.#limits.series_ttl_secs * PERSISTED_SHARE_OF_TTL) {
        slots.setPersisted(entry, nowSecs);
        look.changed.push(hash);
      }
      return undefined;
    }
    const limits = this.#limits;
    if (this.#nodes.seriesOf(nodeId) >= limits.max_cardinality_per_node) return 'cardinality_node';
    if (this.#nodes.textBytesOf(nodeId) + textBytes > limits.max_series_text_per_node) {
      return 'text_node';
    }
    if (slots.size >= limits.max_cardinality && !this.#reclaimSlot(look)) {
      return 'cardinality_global';
    }
    slots.add(hash, this.#nodes.add(nodeId, textBytes), nowSecs, textBytes);
    look.changed.push(hash);
    return undefined;
  }

  /** Takes a slot from the node with the most, for one with less than its share. */
  #reclaimSlot(look: Look): boolean {
    const held = this.#nodes.seriesOf(look.nodeId);
    const nodes = this.#nodes.size + (held === 0 ? 1 : 0);
    const share = Math.floor(this.#limits.max_cardinality / nodes);
    if (held >= share) return false;
    if (look.from === undefined || look.from.series <= share) look.from = this.#nodes.largest();
    if (look.from === undefined) return false;
    for (; look.entriesLeft > 0; look.entriesLeft -= 1) {
      if (this.#reclaimFrom >= this.#slots.capacity) this.#reclaimFrom = 0;
      const entry = this.#reclaimFrom;
      if (this.#slots.isTaken(entry) && this.#slots.nodeAt(entry) === look.from.number) {
        look.reclaimed.push(this.#slots.hashAt(entry));
        this.#free(entry);
        this.#reclaimedTotal += 1;
        return true;
      }
      this.#reclaimFrom += 1;
    }
    return false;
  }

  #countRefused(reason: SeriesRefusal, nodeId: string, series: Series): void {
    this.#refusedTotals[reason] += 1;
    this.#offenders.add(nodeId, series);
  }
}

/** One look at a table: what it changed, and what it may still do. */
interface Look {
  readonly nodeId: string;
  readonly nowSecs: number;
  /** Hashes of series that are to be persisted as seen. */
  readonly changed: number[];
  /** Hashes of series whose slots were taken from other nodes. */
  readonly reclaimed: number[];
  entriesLeft: number;
  /** The node that slots are taken from until it is down to its share. */
  from: NodeCount | undefined;
}

function createCachedTable(nodeId: string, table: SeriesTable): CachedTable {
  return {
    nodeId,
    weight: SERIES_PER_TABLE + table.series.length,
    hashes: seriesHashes(nodeId, table.series),
    admitted: new Uint8Array(table.series.length),
    refused: 0,
    refusedBy: undefined,
    lookedUpMs: Number.NEGATIVE_INFINITY,
  };
}
