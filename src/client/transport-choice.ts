/** Which transports a client uses, as settings and command lines say it. */
import type { QuicStack } from '../transport/quic-endpoint.ts';
import type { ClientDeps } from './client-options.ts';

export const TRANSPORT_CHOICES = ['auto', 'quic', 'tls'] as const;

/** `auto`: QUIC, and TLS while the network blocks it. */
export type TransportChoice = (typeof TRANSPORT_CHOICES)[number];

/** The stacks of a client for the choice. */
export function stacksFor(
  choice: TransportChoice,
  stacks: { readonly quic: QuicStack; readonly tls: QuicStack },
): Pick<ClientDeps, 'stack' | 'fallbackStack'> {
  const { quic, tls } = stacks;
  if (choice === 'auto') return { stack: quic, fallbackStack: tls };
  return { stack: choice === 'tls' ? tls : quic };
}
