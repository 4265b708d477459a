/** What the two processes of the `transport` benchmark share. */
import { ALPN_PROTOCOL } from '../src/domain/telemetry.ts';
import type { QuicStack, QuicTransportOptions } from '../src/transport/quic-endpoint.ts';
import { quinnStack } from '../src/transport/quinn/quinn-endpoint.ts';
import { tlsStack } from '../src/transport/tls/tls-endpoint.ts';

export const STACKS = {
  quinn: quinnStack,
  tls: tlsStack,
} as const satisfies Record<string, QuicStack>;
export type StackName = keyof typeof STACKS;

/** Since the start of the server. */
export interface TransportUse {
  readonly bytes: number;
  readonly cpuSeconds: number;
}

/** Of both sides; the windows are the collector's by default. */
export const BENCH_TRANSPORT: QuicTransportOptions = {
  alpn: ALPN_PROTOCOL,
  idleTimeoutMs: 30_000,
  maxStreamsBidi: 16,
  maxStreamsUni: 16,
  streamWindowBytes: 1 << 20,
  connectionWindowBytes: 2 << 20,
  maxUdpPayloadBytes: 1350,
};
