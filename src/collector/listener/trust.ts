/**
 * Which certificates are trusted at this moment. The TLS stack asks that once, in the handshake;
 * connections last for weeks, and authorities and revocations change under them. So the same
 * question is asked here again whenever the answer may have changed.
 */
import { X509Certificate } from 'node:crypto';

/** No real chain is longer; this bounds the work that a peer can cause. */
const PATH_LENGTH_MAX = 8;

/** Serial numbers, by the `authorityKey` of the authority that revoked them. */
export type RevokedSerials = ReadonlyMap<string, ReadonlySet<string>>;

export type TrustVerdict = 'trusted' | 'untrusted' | 'revoked';

export class Trust {
  #authorities: readonly X509Certificate[] = [];
  #revoked: RevokedSerials = new Map();

  get authorities(): readonly X509Certificate[] {
    return this.#authorities;
  }

  setAuthorities(authorities: readonly X509Certificate[]): void {
    this.#authorities = authorities;
  }

  setRevoked(revoked: RevokedSerials): void {
    this.#revoked = revoked;
  }

  /**
   * Judges what a peer showed: its certificate first (DER), then those of authorities between it
   * and a root. Never throws.
   */
  judge(chain: readonly Uint8Array[], nowMs: number): TrustVerdict {
    try {
      const [leaf, ...between] = chain.map((der) => new X509Certificate(der));
      return leaf === undefined ? 'untrusted' : this.#judge(leaf, between, nowMs);
    } catch {
      return 'untrusted';
    }
  }

  #judge(leaf: X509Certificate, between: readonly X509Certificate[], nowMs: number): TrustVerdict {
    const candidates = [...this.#authorities, ...between.slice(0, PATH_LENGTH_MAX)];
    let certificate = leaf;
    for (let length = 0; length < PATH_LENGTH_MAX; length += 1) {
      if (!isInForce(certificate, nowMs)) return 'untrusted';
      if (this.#isRoot(certificate)) return 'trusted';
      const issuer = candidates.find(
        (candidate) => isInForce(candidate, nowMs) && hasIssued(candidate, certificate),
      );
      if (issuer === undefined) return 'untrusted';
      if (this.#revoked.get(authorityKey(issuer))?.has(certificate.serialNumber)) return 'revoked';
      certificate = issuer;
    }
    return 'untrusted';
  }

  #isRoot(certificate: X509Certificate): boolean {
    return (
      certificate.checkIssued(certificate) &&
      this.#authorities.some(({ fingerprint256 }) => fingerprint256 === certificate.fingerprint256)
    );
  }
}

/**
 * What an authority stays the same authority by: its key. A renewed certificate of it, or one that
 * another authority has signed across, covers the same revocations.
 */
export function authorityKey({ publicKey }: X509Certificate): string {
  return publicKey.export({ format: 'der', type: 'spki' }).toString('base64');
}

function isInForce(certificate: X509Certificate, nowMs: number): boolean {
  return Date.parse(certificate.validFrom) <= nowMs && Date.parse(certificate.validTo) > nowMs;
}

function hasIssued(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}
