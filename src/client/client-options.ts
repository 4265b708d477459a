/** What a client needs to be opened. */
import type { RecordableHistogram } from 'node:perf_hooks';
import type { Logger } from 'pino';
import type { BackoffOptions } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import type {
  QuicAddress,
  QuicCredentials,
  QuicEndpoint,
  QuicStack,
} from '../transport/quic-endpoint.ts';
import type { HostLookup } from './remote-address.ts';

/** Where a client sends, as whom, and its limits. */
export interface ClientOptions {
  /** `host` may be a DNS name; it is looked up at each try. */
  readonly remote: QuicAddress;
  /** A DNS name of the collector's certificate. */
  readonly serverName: string;
  readonly credentials: QuicCredentials;
  /** '' = the first identity of the certificate. */
  readonly nodeId: string;
  /** For new batches; default: the time of opening. Later than every epoch in the spool. */
  readonly epoch?: number;
  /** Without `dir` batches wait in memory and end with the process. */
  readonly spool: { readonly maxBytes: number; readonly dir?: string };
  /** Default 64; must stay well under the collector's duplicate window of 1024. */
  readonly maxInFlightBatches?: number;
  /** Default 8 MiB. */
  readonly maxInFlightBytes?: number;
  /** Default 15 s. */
  readonly idleTimeoutMs?: number;
  /** Default 5 s. */
  readonly keepaliveMs?: number;
  /** Default 10 s: for the handshake, and again for the Hello. */
  readonly handshakeTimeoutMs?: number;
  /** Default 10 s: how long the collector may owe acks without sending one. */
  readonly ackTimeoutMs?: number;
  /** Default 3 s: how long `stack` may take before `fallbackStack` tries as well. */
  readonly transportFallbackMs?: number;
  /** Default 10 min: how often `stack` is tried while `fallbackStack` carries the batches. */
  readonly transportRetryMs?: number;
  /** Default 250 ms to 30 s. */
  readonly backoff?: BackoffOptions;
}

/** What a client is built on. */
export interface ClientDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  /** QUIC, or TLS alone where the network is known to block UDP. */
  readonly stack: QuicStack;
  /** TLS, for a network that blocks QUIC; absent: `stack` alone. */
  readonly fallbackStack?: QuicStack;
  /**
   * A socket of `stack` shared with other clients, which its owner closes after them. Its transport
   * is agentTransport().
   */
  readonly endpoint?: QuicEndpoint;
  readonly lookupHost?: HostLookup;
  /** Shared by clients whose latencies belong together. */
  readonly ackLatency?: RecordableHistogram;
}
