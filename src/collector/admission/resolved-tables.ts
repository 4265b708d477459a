/**
 * The tables whose series were looked up, by node, and which of them make room for new ones. One
 * node's many tables must not cost another node its own, because looking a table up anew is work
 * that its node pays for: so the node that holds most drops its own, longest unused first. What
 * nobody has used for ten minutes goes before that.
 *
 * Each table has a weight; all together may weigh so much. A node that takes part in that with no
 * more than its equal share never loses a table that it uses.
 */
import type { Clock } from '../../lib/clock.ts';

const UNUSED_MS = 600_000;

export interface WeightedTable {
  readonly weight: number;
}

interface NodeTables<Table> {
  /** By table id; least recently used first. */
  readonly tables: Map<string, Table>;
  weight: number;
  /** Monotonic ms. */
  usedMs: number;
}

export class ResolvedTables<Table extends WeightedTable> {
  readonly #clock: Clock;
  readonly #onDropped: (table: Table) => void;
  /** Least recently used first. */
  readonly #nodes = new Map<string, NodeTables<Table>>();
  #weight = 0;
  #size = 0;

  constructor(clock: Clock, onDropped: (table: Table) => void) {
    this.#clock = clock;
    this.#onDropped = onDropped;
  }

  /** Tables that are kept. */
  get size(): number {
    return this.#size;
  }

  has(nodeId: string, tableId: string): boolean {
    return this.#nodes.get(nodeId)?.tables.has(tableId) === true;
  }

  /** The table, which is used now; undefined where it is not kept. */
  use(nodeId: string, tableId: string): Table | undefined {
    const node = this.#nodes.get(nodeId);
    const table = node?.tables.get(tableId);
    if (node === undefined || table === undefined) return undefined;
    node.tables.delete(tableId);
    node.tables.set(tableId, table);
    this.#touch(nodeId, node);
    return table;
  }

  /** Keeps a table that is not kept yet; it counts as used now. */
  add(nodeId: string, tableId: string, table: Table): void {
    const node = this.#nodes.get(nodeId) ?? { tables: new Map(), weight: 0, usedMs: 0 };
    node.tables.set(tableId, table);
    node.weight += table.weight;
    this.#weight += table.weight;
    this.#size += 1;
    this.#touch(nodeId, node);
  }

  /** Drops tables until the others weigh no more than this, but not the last one of all. */
  shrinkTo(maxWeight: number): void {
    let from: [nodeId: string, node: NodeTables<Table>] | undefined;
    const unusedSinceMs = this.#clock.monotonicMs() - UNUSED_MS;
    while (this.#weight > maxWeight && this.#size > 1) {
      const [oldest] = this.#nodes;
      if (oldest === undefined) return;
      const share = maxWeight / this.#nodes.size;
      if (oldest[1].usedMs <= unusedSinceMs) from = oldest;
      // Somebody holds more than the equal share; to find out who takes a look at every node.
      else if (from === undefined || from[1].weight <= share) from = this.#heaviest(oldest);
      this.#dropFirst(...from);
    }
  }

  #touch(nodeId: string, node: NodeTables<Table>): void {
    node.usedMs = this.#clock.monotonicMs();
    this.#nodes.delete(nodeId);
    this.#nodes.set(nodeId, node);
  }

  #heaviest(
    heaviest: [nodeId: string, node: NodeTables<Table>],
  ): [nodeId: string, node: NodeTables<Table>] {
    let found = heaviest;
    for (const entry of this.#nodes) if (entry[1].weight > found[1].weight) found = entry;
    return found;
  }

  #dropFirst(nodeId: string, node: NodeTables<Table>): void {
    const [first] = node.tables;
    if (first === undefined) return;
    const [tableId, table] = first;
    node.tables.delete(tableId);
    node.weight -= table.weight;
    this.#weight -= table.weight;
    this.#size -= 1;
    if (node.tables.size === 0) this.#nodes.delete(nodeId);
    this.#onDropped(table);
  }
}
