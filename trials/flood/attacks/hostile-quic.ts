/**
 * Attacks by packets that no QUIC stack of ours would send, against the quinn stack; see
 * hostile-quic/attacks.py. `test/system/hostile/quic-attacks.test.ts` has more of them.
 */
import type { Attack } from '../attack.ts';
import { hostilePython, runHostilePeer } from '../hostile-quic/hostile-peer.ts';

/** By name in attacks.py. */
const WHAT: Readonly<Record<string, string>> = {
  'crypto-initial': 'handshake bytes with gaps in first packets',
  'crypto-handshake': 'the same after the answer of the daemon',
  'crypto-1rtt': 'the same with a good certificate',
  'freezing-datagram': 'connection ids that retire all others, which ended quiche',
  'stream-gaps': 'streams of single bytes with gaps between them',
  'key-updates': 'new keys with every packet',
  migrations: 'every packet from another port, with a path challenge',
  pings: 'pings as fast as can be',
};

export const HOSTILE_QUIC: readonly Attack[] = Object.entries(WHAT).map(([attack, what]) => ({
  name: `quic-${attack}`,
  what,
  settings: { server: { quic_stack: 'quinn' } },
  nodes: 1,
  isPossible: () => hostilePython() !== undefined,
  async run({ remote, seconds, credentials }) {
    const [own] = credentials;
    const python = hostilePython();
    if (own === undefined || python === undefined) throw new Error('nothing to attack with');
    const task = { attack, remote, serverName: 'localhost', credentials: own, seconds };
    const { connections, packets, ...rest } = await runHostilePeer(python, task);
    const closed = Object.entries(rest).filter(([name]) => name.startsWith('closed_'));
    const closes = closed.reduce((sum, [, count]) => sum + count, 0);
    return { connections: connections ?? 0, packets: packets ?? 0, closes };
  },
}));
