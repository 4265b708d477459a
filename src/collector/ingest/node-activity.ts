/**
 * The newest durable batch of each node: for those who show how nodes are. One map entry for a
 * batch, nothing for a sample.
 */
import type { SampleColumns } from '../../domain/telemetry.ts';

/** Some 200 bytes each; beyond it, the node that has been silent for longest is forgotten. */
const NODES_MAX = 100_000;

/** A node's newest batch. Times are Unix ms. */
export interface NodeBatch {
  readonly epoch: number;
  readonly sequence: number;
  readonly receivedAtMs: number;
  /** Of its last sample. */
  readonly lastSampleMs: number;
}

export class NodeActivity {
  /** In order of use, least recent first. */
  readonly #nodes = new Map<string, NodeBatch>();

  /** A batch of the node is durable; `samples` is what was accepted of it. None tell nothing. */
  note(
    nodeId: string,
    epoch: number,
    sequence: number,
    receivedAtMs: number,
    samples: SampleColumns,
  ): void {
    const lastSampleMs = samples.timestampsMs.at(-1);
    if (lastSampleMs === undefined) return;
    this.#nodes.delete(nodeId);
    this.#nodes.set(nodeId, { epoch, sequence, receivedAtMs, lastSampleMs });
    if (this.#nodes.size <= NODES_MAX) return;
    for (const silent of this.#nodes.keys()) {
      this.#nodes.delete(silent);
      return;
    }
  }

  /** The nodes that have sent since the start. */
  get nodes(): ReadonlyMap<string, NodeBatch> {
    return this.#nodes;
  }
}
