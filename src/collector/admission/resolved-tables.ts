/**
 * The tables whose series were looked up, by node, and which of them make room for new ones. One
 * node's many tables must not cost another node its own, because looking a table up anew is work
 * that its node pays for: so the node that holds most drops its own, longest unused first. What
 * nobody has used for ten minutes goes before that.
 *
 * Each table has a weight; all together may weigh so much. A node that takes part in that with no
 * more than its equal share never loses a table that it uses.
 */

const UNUSED_MS = 600_000;
/** When a node was last there is noted this often: its every batch need not move it. */
const NOTED_EVERY_MS = 10_000;

export interface WeightedTable {
  readonly weight: number;
}

interface NodeTables<Table> {
  /** By table id; least recently used first. */
  readonly tables: Map<string, Table>;
  weight: number;
  notedMs: number;
}

/** All times are monotonic ms. */
export class ResolvedTables<Table extends WeightedTable> {
  readonly #onDropped: (table: Table) => void;
  /** Least recently noted first. */
  readonly #nodes = new Map<string, NodeTables<Table>>();
  #weight = 0;
  #size = 0;

  constructor(onDropped: (table: Table) => void) {
    this.#onDropped = onDropped;
  }

  /** Tables that are kept. */
  get size(): number {
    return this.#size;
  }

  /** Whether the table is kept; it does not count as used by this. */
  has(nodeId: string, tableId: string): boolean {
    return this.#nodes.get(nodeId)?.tables.has(tableId) === true;
  }

  /** The table, which is used now; undefined where it is not kept. */
  use(nodeId: string, tableId: string, nowMs: number): Table | undefined {
    const node = this.#nodes.get(nodeId);
    const table = node?.tables.get(tableId);
    if (node === undefined || table === undefined) return undefined;
    if (node.tables.size > 1) {
      node.tables.delete(tableId);
      node.tables.set(tableId, table);
    }
    if (nowMs - node.notedMs >= NOTED_EVERY_MS) this.#note(nodeId, node, nowMs);
    return table;
  }

  /** Keeps a table that is not kept yet; it counts as used now. */
  add(nodeId: string, tableId: string, table: Table, nowMs: number): void {
    const node = this.#nodes.get(nodeId) ?? { tables: new Map(), weight: 0, notedMs: 0 };
    node.tables.set(tableId, table);
    node.weight += table.weight;
    this.#weight += table.weight;
    this.#size += 1;
    this.#note(nodeId, node, nowMs);
  }

  /** Drops tables until the others weigh no more than this, but not the last one of all. */
  shrinkTo(maxWeight: number, nowMs: number): void {
    let from: [nodeId: string, node: NodeTables<Table>] | undefined;
    const unusedSinceMs = nowMs - UNUSED_MS - NOTED_EVERY_MS;
    while (this.#weight > maxWeight && this.#size > 1) {
      const [oldest] = this.#nodes;
      if (oldest === undefined) return;
      const share = maxWeight / this.#nodes.size;
      if (oldest[1].notedMs <= unusedSinceMs) from = oldest;
      // Somebody holds more than the equal share; to find out who takes a look at every node.
      else if (from === undefined || from[1].weight <= share) from = this.#heaviest(oldest);
      this.#dropFirst(...from);
    }
  }

  #note(nodeId: string, node: NodeTables<Table>, nowMs: number): void {
    node.notedMs = nowMs;
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
