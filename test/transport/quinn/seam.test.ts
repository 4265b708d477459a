import { quinnStack } from '../../../src/transport/quinn/quinn-endpoint.ts';
import { beyondQuicheSuite } from '../seam/beyond-quiche.ts';
import { describeTransport } from '../seam.ts';

describeTransport(quinnStack);
beyondQuicheSuite(quinnStack);
