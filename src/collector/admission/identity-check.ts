/**
 * Who a batch is from. A node can only speak for itself: what the batch claims must be what the
 * certificate proves, unless the certificate is a configured delegate's.
 */
import type { PeerIdentity } from '../../domain/telemetry.ts';

export type IdentityResult =
  | { readonly ok: true; readonly nodeId: string }
  | { readonly ok: false; readonly message: string };

const NAMED_IDENTITIES = 4;

/** Decides the node that a batch is about. `claimed` is the batch's node_id; '' claims nothing. */
export function checkIdentity(
  peer: PeerIdentity,
  claimed: string,
  delegates: ReadonlySet<string>,
): IdentityResult {
  if (claimed === '') return { ok: true, nodeId: peer.nodeIds[0] };
  if (peer.nodeIds.includes(claimed) || peer.nodeIds.some((nodeId) => delegates.has(nodeId))) {
    return { ok: true, nodeId: claimed };
  }
  const named = peer.nodeIds.slice(0, NAMED_IDENTITIES).join(', ');
  const more = peer.nodeIds.length > NAMED_IDENTITIES ? ', …' : '';
  return {
    ok: false,
    message: `node_id ${JSON.stringify(claimed)} is not an identity of this certificate (${named}${more})`,
  };
}
