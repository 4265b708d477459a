import { describe, expect, it } from 'vitest';
import { checkIdentity } from '../../../src/collector/admission/identity-check.ts';
import type { PeerIdentity } from '../../../src/domain/telemetry.ts';

function peer(...nodeIds: [string, ...string[]]): PeerIdentity {
  return { nodeIds, fingerprint256: '', serialNumber: '', validToMs: 0 };
}

const NO_DELEGATES = new Set<string>();

describe('checkIdentity', () => {
  it("stamps the certificate's first identity on a batch that claims nothing", () => {
    expect(checkIdentity(peer('a', 'b'), '', NO_DELEGATES)).toEqual({ ok: true, nodeId: 'a' });
  });

  it('lets a batch claim any identity of the certificate', () => {
    expect(checkIdentity(peer('a', 'b'), 'b', NO_DELEGATES)).toEqual({ ok: true, nodeId: 'b' });
  });

  it('refuses any other claim, naming both sides', () => {
    const result = checkIdentity(peer('a', 'b'), 'c', new Set(['c', 'd']));
    const message = 'node_id "c" is not an identity of this certificate (a, b)';
    expect(result).toEqual({ ok: false, message });
  });

  it('compares whole names and letters as they are', () => {
    for (const claimed of ['A', 'a ', 'aa']) {
      expect(checkIdentity(peer('a'), claimed, NO_DELEGATES).ok, claimed).toBe(false);
    }
  });

  it('lets a delegate speak for any node, by any of its identities', () => {
    const delegates = new Set(['gateway']);
    expect(checkIdentity(peer('x', 'gateway'), 'c', delegates)).toEqual({ ok: true, nodeId: 'c' });
  });

  it('names only a few of many identities', () => {
    const result = checkIdentity(peer('a', 'b', 'c', 'd', 'e', 'f'), 'z', NO_DELEGATES);
    expect(result).toMatchObject({ message: expect.stringContaining('(a, b, c, d, …)') });
  });
});
