/** Whether the QUIC stack of the configuration can be loaded here, and whether it is a good one. */
import type { Config } from '../../../config/schema.ts';
import { errorMessage } from '../../../lib/errors.ts';
import { loadQuicStack } from '../../quic-stack.ts';
import { type Check, CheckList } from './check.ts';

const KEY = 'server.quic_stack';
const ADVICE = `set ${KEY}: quinn, which is part of this program`;

/** Loads the stack as the daemon would. */
export async function checkQuicStack({ server }: Config): Promise<Check[]> {
  const list = new CheckList('config');
  try {
    await loadQuicStack(server.quic_stack);
    if (server.quic_stack === 'quiche') {
      list.warn(KEY, 'quiche has known holes: one datagram can stop the process', ADVICE);
    }
  } catch (error) {
    list.fail(KEY, errorMessage(error), ADVICE);
  }
  return list.entries;
}
