/**
 * The collector's state for the readers of the feed, put together once a second while somebody
 * reads. The work is one step for each node and each connection.
 */
import type { FeedLedger, FeedNode, FeedWriter, StatusMessage } from '../../feed/feed-contract.ts';
import type { Ledger } from '../../journal/ledger.ts';

/** An open connection. */
export interface NodeConnection {
  readonly nodeId: string;
  /** Unix ms. */
  readonly connectedAtMs: number;
  readonly transport: string;
  readonly remoteAddress: string;
}

/** A node's newest durable batch. */
export interface NodeBatch {
  readonly epoch: number;
  readonly sequence: number;
  readonly receivedAtMs: number;
  readonly lastSampleMs: number;
}

/** Where the state is found. */
export interface StatusSources {
  readonly nowMs: () => number;
  readonly connections: () => Iterable<NodeConnection>;
  readonly batches: () => ReadonlyMap<string, NodeBatch>;
  /** Nodes with known gaps. */
  readonly gaps: () => readonly { readonly nodeId: string; readonly gaps: number }[];
  readonly held: (nodeId: string) => { readonly series: number; readonly textBytes: number };
  readonly limits: () => { readonly maxSeries: number; readonly maxSeriesTextBytes: number };
  readonly readiness: () => {
    readonly ready: boolean;
    readonly checks: Readonly<Record<string, { readonly ok: boolean; readonly reason?: string }>>;
  };
  readonly ledger: Ledger;
  readonly writers: () => readonly WriterFacts[];
}

export type WriterFacts = Pick<FeedWriter, 'name' | 'state' | 'cursor' | 'lagMs' | 'pending'>;

/** The state now; the feed adds its head. */
export function feedStatus(sources: StatusSources): Omit<StatusMessage, 'kind' | 'headSeq'> {
  const { ready, checks } = sources.readiness();
  return {
    atMs: sources.nowMs(),
    nodes: nodesOf(sources),
    ready,
    checks: Object.entries(checks).map(([name, { ok, reason = '' }]) => ({ name, ok, reason })),
    ledger: ledgerOf(sources),
  };
}

function nodesOf(sources: StatusSources): FeedNode[] {
  const connections = connectionsByNode(sources.connections());
  const batches = sources.batches();
  const gaps = new Map(sources.gaps().map((one) => [one.nodeId, one.gaps]));
  const limits = sources.limits();
  const nodeIds = new Set([...batches.keys(), ...connections.keys()]);
  return [...nodeIds].map((nodeId) => {
    const batch = batches.get(nodeId);
    const { receivedAtMs = 0, lastSampleMs = 0 } = batch ?? {};
    const held = sources.held(nodeId);
    return {
      nodeId,
      ...(connections.get(nodeId) ?? NOT_CONNECTED),
      epoch: batch?.epoch ?? 0,
      sequence: batch?.sequence ?? 0,
      receivedAtMs,
      lastSampleAheadMs: lastSampleMs - receivedAtMs,
      knownGaps: gaps.get(nodeId) ?? 0,
      series: held.series,
      seriesTextBytes: held.textBytes,
      ...limits,
    };
  });
}

type Connected = Pick<FeedNode, 'connections' | 'connectedSinceMs' | 'transport' | 'remoteAddress'>;

const NOT_CONNECTED: Connected = {
  connections: 0,
  connectedSinceMs: 0,
  transport: '',
  remoteAddress: '',
};

/** Of several connections: since the oldest, and where the newest comes from. */
function connectionsByNode(connections: Iterable<NodeConnection>): Map<string, Connected> {
  const nodes = new Map<string, Connected & { readonly newestMs: number }>();
  for (const { nodeId, connectedAtMs, transport, remoteAddress } of connections) {
    const others = nodes.get(nodeId);
    const newest =
      others === undefined || connectedAtMs >= others.newestMs
        ? { newestMs: connectedAtMs, transport, remoteAddress }
        : others;
    nodes.set(nodeId, {
      ...newest,
      connections: (others?.connections ?? 0) + 1,
      connectedSinceMs: Math.min(connectedAtMs, others?.connectedSinceMs ?? connectedAtMs),
    });
  }
  return nodes;
}

function ledgerOf({ ledger, writers }: StatusSources): FeedLedger {
  const { received, duplicate, rejected, throttled } = ledger.stored;
  return {
    received,
    accepted: ledger.accepted,
    duplicate,
    rejected: sum(rejected),
    throttled: sum(throttled),
    writers: writers().map((writer) => {
      const { written = 0, deadLettered = 0 } = ledger.writers.get(writer.name) ?? {};
      return { ...writer, written, deadLettered };
    }),
  };
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
