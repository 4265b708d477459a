/**
 * What an attack is: something that a process of its own does to a running daemon for some seconds.
 */
import type { Settings } from '../harness/deployment.ts';
import type { QuicAddress, QuicCredentials } from '../../src/transport/quic-endpoint.ts';

/** What the attacking process is told, as JSON on its standard input. */
export interface AttackTask {
  readonly attack: string;
  readonly remote: QuicAddress;
  readonly metricsUrl: string;
  /** Certificates of nodes that the daemon trusts. */
  readonly credentials: readonly QuicCredentials[];
  readonly seconds: number;
}

/** What it did, for the report: how many of what. */
export type AttackFigures = Readonly<Record<string, number>>;

/** The node that connects every now and then while the daemon is attacked. */
export const NEWCOMER = 'newcomer';

export interface Attack {
  readonly name: string;
  /** For the table, in a few words. */
  readonly what: string;
  /** Settings of the daemon beyond its defaults. */
  readonly settings: Settings;
  /** Nodes whose certificates the attacker holds. */
  readonly nodes: number;
  /** The neighbour and newcomers use TLS over TCP, as the attack does; QUIC by default. */
  readonly overTls?: boolean;
  /** The one certificate that it holds is this node's, stolen. */
  readonly stolenFrom?: string;
  /** Whether what it needs is installed; always, by default. */
  isPossible?(): boolean;
  run(task: AttackTask): Promise<AttackFigures>;
}

/** Resolves after `ms`, and keeps the process alive until then. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Resolves after a turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
