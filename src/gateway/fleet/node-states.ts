/**
 * The nodes: what the collector says of each, and which of them are silent.
 */
import type { FeedNode } from '../../feed/feed-contract.ts';
import { type Scope, sees } from '../access/roles.ts';
import type { Fleet } from './fleet.ts';

/** A node as it is now. */
export interface NodeView {
  readonly report: FeedNode;
  /** It has sent nothing for too long. */
  readonly isSilent: boolean;
}

/** All nodes. */
export class NodeStates {
  readonly #fleet: Fleet;
  readonly #silentAfterMs: number;
  #reports: ReadonlyMap<string, FeedNode> = new Map();

  constructor(fleet: Fleet, silentAfterMs: number) {
    this.#fleet = fleet;
    this.#silentAfterMs = silentAfterMs;
  }

  /** What the collector says now replaces what it said before. */
  take(reports: readonly FeedNode[]): void {
    this.#reports = new Map(reports.map((report) => [report.nodeId, report]));
  }

  /** The nodes that `scope` sees, by name. */
  views(nowMs: number, scope: Scope): NodeView[] {
    return [...this.#reports.values()]
      .filter(({ nodeId }) => this.#isSeen(nodeId, scope))
      .map((report) => this.#view(report, nowMs))
      .sort((a, b) => (a.report.nodeId < b.report.nodeId ? -1 : 1));
  }

  /** The node of this name, if `scope` sees it. */
  view(nodeId: string, nowMs: number, scope: Scope): NodeView | undefined {
    const report = this.#reports.get(nodeId);
    if (report === undefined || !this.#isSeen(nodeId, scope)) return undefined;
    return this.#view(report, nowMs);
  }

  /** Names of the nodes without a recent sample that `scope` sees. */
  silent(nowMs: number, scope: Scope): string[] {
    return this.views(nowMs, scope)
      .filter(({ isSilent }) => isSilent)
      .map(({ report }) => report.nodeId);
  }

  #view(report: FeedNode, nowMs: number): NodeView {
    return { report, isSilent: nowMs - report.receivedAtMs > this.#silentAfterMs };
  }

  /** A caller of some namespaces sees the nodes on which these have something. */
  #isSeen(nodeId: string, scope: Scope): boolean {
    if (scope.namespaces === undefined) return sees(scope, nodeId, '');
    for (const { identity } of this.#fleet.series.of(nodeId)) {
      if (sees(scope, nodeId, identity.identities.namespace ?? '')) return true;
    }
    return false;
  }
}
