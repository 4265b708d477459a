/**
 * What the agent that crashes and the harness say to each other.
 */
import type { TransportChoice } from '../../src/client/transport-choice.ts';
import type { QuicAddress, QuicCredentials } from '../../src/transport/quic-endpoint.ts';
import type { AckFacts } from './obligations.ts';

export interface SpoolAgentTask {
  readonly node: number;
  readonly baseMs: number;
  readonly remote: QuicAddress;
  readonly credentials: QuicCredentials;
  readonly transport: TransportChoice;
  readonly intervalMs: number;
  readonly spoolDir: string;
}

/** What one life of the agent is told: batch n of this epoch has the round `firstRound` + n − 1. */
export interface SpoolAgentLife {
  readonly epoch: number;
  readonly firstRound: number;
}

/** Times are Unix ms: messages come late where the machine is busy. */
export type FromSpoolAgent =
  | {
      readonly type: 'recovered';
      readonly batches: readonly { readonly epoch: number; readonly sequence: number }[];
    }
  | { readonly type: 'sent'; readonly round: number; readonly atMs: number }
  | {
      readonly type: 'answered';
      readonly round: number;
      readonly ack: AckFacts;
      readonly atMs: number;
    }
  | { readonly type: 'drained' };
