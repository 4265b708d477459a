/**
 * What every implementation of the transport seam must do. A stack is tested by one file that calls
 * this with it.
 */
import type { QuicStack } from '../../src/transport/quic-endpoint.ts';
import { endpointSuite } from './seam/endpoint.ts';
import { hostileDatagramsSuite } from './seam/hostile-datagrams.ts';
import { mutualTlsSuite } from './seam/mutual-tls.ts';
import { pathsSuite } from './seam/paths.ts';
import { strangersSuite } from './seam/strangers.ts';
import { streamsSuite } from './seam/streams.ts';

/** Declares all tests of the seam for `stack`. */
export function describeTransport(stack: QuicStack): void {
  endpointSuite(stack);
  streamsSuite(stack);
  mutualTlsSuite(stack);
  pathsSuite(stack);
  strangersSuite(stack);
  hostileDatagramsSuite(stack);
}
