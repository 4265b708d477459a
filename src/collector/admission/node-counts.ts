/**
 * How many series each node holds, and a small number for each such node, so that a series need not
 * name its node in full. A node without series is forgotten and its number used again.
 */
import { assert } from '../../lib/errors.ts';

interface NodeCount {
  readonly nodeId: string;
  readonly number: number;
  series: number;
}

export class NodeCounts {
  readonly #byId = new Map<string, NodeCount>();
  readonly #byNumber: (NodeCount | undefined)[] = [];
  readonly #freeNumbers: number[] = [];

  /** Nodes that hold series. */
  get size(): number {
    return this.#byId.size;
  }

  /** Series that the node holds. */
  seriesOf(nodeId: string): number {
    return this.#byId.get(nodeId)?.series ?? 0;
  }

  /** The name behind a number that `add` returned. */
  nodeId(number: number): string {
    const node = this.#byNumber[number];
    assert(node !== undefined, 'a series belongs to a node that is counted');
    return node.nodeId;
  }

  /** The node holds one series more; returns its number. */
  add(nodeId: string): number {
    const node = this.#byId.get(nodeId) ?? this.#create(nodeId);
    node.series += 1;
    return node.number;
  }

  /** The node with this number holds one series less. */
  remove(number: number): void {
    const node = this.#byNumber[number];
    assert(node !== undefined, 'a series belongs to a node that is counted');
    node.series -= 1;
    if (node.series > 0) return;
    this.#byId.delete(node.nodeId);
    this.#byNumber[number] = undefined;
    this.#freeNumbers.push(number);
  }

  /** The nodes with the most series, most first. */
  top(limit: number): { nodeId: string; series: number }[] {
    return [...this.#byId.values()]
      .sort((a, b) => b.series - a.series)
      .slice(0, limit)
      .map(({ nodeId, series }) => ({ nodeId, series }));
  }

  #create(nodeId: string): NodeCount {
    const number = this.#freeNumbers.pop() ?? this.#byNumber.length;
    const node = { nodeId, number, series: 0 };
    this.#byId.set(nodeId, node);
    this.#byNumber[number] = node;
    return node;
  }
}
