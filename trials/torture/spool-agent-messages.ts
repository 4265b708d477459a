/**
 * What the agent that crashes and the harness say to each other.
 */
import type { QuicAddress, QuicCredentials } from '../../src/transport/quic-endpoint.ts';
import type { AckFacts } from './obligations.ts';

export interface SpoolAgentTask {
  readonly node: number;
  readonly baseMs: number;
  readonly remote: QuicAddress;
  readonly credentials: QuicCredentials;
  readonly intervalMs: number;
  readonly spoolDir: string;
}

/** A round is the batch's sequence. */
export type FromSpoolAgent =
  | { readonly type: 'recovered'; readonly rounds: readonly number[] }
  | { readonly type: 'sent'; readonly round: number }
  | { readonly type: 'answered'; readonly round: number; readonly ack: AckFacts }
  | { readonly type: 'drained' };
