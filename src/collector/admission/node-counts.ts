/**
 * How many series each node holds and how much text they are, and a small number for each such
 * node, so that a series need not name its node in full. A node without series is forgotten and its
 * number used again.
 */
import { assert } from '../../lib/errors.ts';

/** A node as of now: the figures change as series come and go. */
export interface NodeCount {
  readonly nodeId: string;
  readonly number: number;
  readonly series: number;
  readonly textBytes: number;
}

type MutableNodeCount = { -readonly [Key in keyof NodeCount]: NodeCount[Key] };

export class NodeCounts {
  readonly #byId = new Map<string, MutableNodeCount>();
  readonly #byNumber: (MutableNodeCount | undefined)[] = [];
  readonly #freeNumbers: number[] = [];

  /** Nodes that hold series. */
  get size(): number {
    return this.#byId.size;
  }

  /** Series that the node holds. */
  seriesOf(nodeId: string): number {
    return this.#byId.get(nodeId)?.series ?? 0;
  }

  /** Bytes of the texts of the node's series. */
  textBytesOf(nodeId: string): number {
    return this.#byId.get(nodeId)?.textBytes ?? 0;
  }

  /** The node holds one series more, with so much text; returns its number. */
  add(nodeId: string, textBytes: number): number {
    const node = this.#byId.get(nodeId) ?? this.#create(nodeId);
    node.series += 1;
    node.textBytes += textBytes;
    return node.number;
  }

  /** The text of a series of the node with this number became known. */
  addText(number: number, textBytes: number): void {
    this.#node(number).textBytes += textBytes;
  }

  /** The node with this number holds one series less, with so much text. */
  remove(number: number, textBytes: number): void {
    const node = this.#node(number);
    node.series -= 1;
    node.textBytes -= textBytes;
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

  /** The node with the most series; undefined where there is none. */
  largest(): NodeCount | undefined {
    let largest: NodeCount | undefined;
    for (const node of this.#byId.values()) {
      if (largest === undefined || node.series > largest.series) largest = node;
    }
    return largest;
  }

  /** The most text that one node's series come to, in bytes. */
  mostTextBytes(): number {
    let most = 0;
    for (const { textBytes } of this.#byId.values()) most = Math.max(most, textBytes);
    return most;
  }

  #node(number: number): MutableNodeCount {
    const node = this.#byNumber[number];
    assert(node !== undefined, 'a series belongs to a node that is counted');
    return node;
  }

  #create(nodeId: string): MutableNodeCount {
    const number = this.#freeNumbers.pop() ?? this.#byNumber.length;
    const node = { nodeId, number, series: 0, textBytes: 0 };
    this.#byId.set(nodeId, node);
    this.#byNumber[number] = node;
    return node;
  }
}
