import { quicheStack } from '../../../src/transport/quiche/quiche-endpoint.ts';
import { describeTransport } from '../seam.ts';

describeTransport(quicheStack);
