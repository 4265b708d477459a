/**
 * Certificates that must be refused, for tests of clients and of a collector's set-up. Each has
 * exactly one flaw, which its name says.
 */
import {
  type CertificateRequest,
  createAuthority,
  issueCertificate,
  type KeyPairPem,
} from './development-certificates.ts';

const HOUR_MS = 3_600_000;

/**
 * By file name: a node's and a server's certificate, each expired, of an authority that no one
 * trusts, and for the other side's use; and a server's for another name.
 */
export async function badCertificates(
  authority: KeyPairPem,
  good: { readonly node: CertificateRequest; readonly server: CertificateRequest },
  nowMs: number,
): Promise<Map<string, KeyPairPem>> {
  const past = { notBefore: new Date(nowMs - 2 * HOUR_MS), notAfter: new Date(nowMs - HOUR_MS) };
  const foreign = await createAuthority('foreign authority');
  const pairs = new Map<string, KeyPairPem>();
  for (const [side, request] of Object.entries(good)) {
    const otherUse = request.usages?.includes('clientAuth') ? 'serverAuth' : 'clientAuth';
    pairs.set(`${side}-expired`, await issueCertificate(authority, { ...request, ...past }));
    pairs.set(`${side}-foreign`, await issueCertificate(foreign, request));
    pairs.set(
      `${side}-wrong-usage`,
      await issueCertificate(authority, { ...request, usages: [otherUse] }),
    );
  }
  const otherName = { commonName: 'other.invalid', dnsNames: ['other.invalid'], ipAddresses: [] };
  const wrongName = await issueCertificate(authority, { ...good.server, ...otherName });
  return pairs.set('server-wrong-name', wrongName);
}
