import { quinnStack } from '../../../src/transport/quinn/quinn-endpoint.ts';
import { describeTransport } from '../seam.ts';

describeTransport(quinnStack);
