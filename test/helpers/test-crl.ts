/**
 * Certificate revocation lists, and renewed authorities, for tests, made in process.
 */
import { webcrypto } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import type { KeyPairPem } from '../../src/collector/cli/development-certificates.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;

/** A list of `authority` that revokes these certificates (PEM), as DER. */
export async function createCrl(
  authority: KeyPairPem,
  revokedPem: readonly string[],
  nextUpdate = new Date(Date.now() + DAY_MS),
): Promise<Buffer> {
  const der = x509.PemConverter.decodeFirst(authority.keyPem);
  const list = await x509.X509CrlGenerator.create({
    issuer: new x509.X509Certificate(authority.certPem).subject,
    thisUpdate: new Date(nextUpdate.getTime() - 2 * DAY_MS),
    nextUpdate,
    entries: revokedPem.map((pem) => ({
      serialNumber: new x509.X509Certificate(pem).serialNumber,
      revocationDate: new Date(),
    })),
    signingKey: await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']),
    signingAlgorithm: ALGORITHM,
  });
  return Buffer.from(list.rawData);
}

/** Another certificate of the same authority, with the same name and key, that ends earlier. */
export async function earlierCertificate(authority: KeyPairPem, notAfter: Date): Promise<string> {
  const der = x509.PemConverter.decodeFirst(authority.keyPem);
  const present = new x509.X509Certificate(authority.certPem);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: '01',
    subject: present.subject,
    issuer: present.subject,
    notBefore: present.notBefore,
    notAfter,
    publicKey: await present.publicKey.export(),
    signingKey: await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']),
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  return certificate.toString('pem');
}

/** The same as PEM. */
export function crlPem(der: Uint8Array): string {
  const body = Buffer.from(der)
    .toString('base64')
    .replace(/(.{64})/g, '$1\n');
  return `-----BEGIN X509 CRL-----\n${body}\n-----END X509 CRL-----\n`;
}
