/**
 * Certificates for development and tests: an authority and what it signs, EC P-256, made in
 * process. Production certificates come from the operator's own authority and have the same shape.
 */
import { webcrypto } from 'node:crypto';
import 'reflect-metadata'; // The container inside @peculiar/x509 refuses to load without it.
import * as x509 from '@peculiar/x509';
import { systemClock } from '../../lib/clock.ts';

/** A certificate and its private key (PKCS#8), both PEM. */
export interface KeyPairPem {
  readonly certPem: string;
  readonly keyPem: string;
}

/**
 * What a leaf certificate says. Without names and usages it says neither: no SAN, no key purpose.
 */
export interface CertificateRequest {
  readonly commonName: string;
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  /** For example `spiffe://horizon/node/gpu-001`. */
  readonly uris?: readonly string[];
  /** Default: both, so that one certificate serves either side of a test. */
  readonly usages?: readonly CertificateUsage[];
  /** Default: one hour ago, because clocks differ. */
  readonly notBefore?: Date;
  /** Default: `days` after now. */
  readonly notAfter?: Date;
  /** Default: 365. */
  readonly days?: number;
}

export type CertificateUsage = 'serverAuth' | 'clientAuth';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const USAGE_OIDS: Record<CertificateUsage, x509.ExtendedKeyUsage> = {
  serverAuth: x509.ExtendedKeyUsage.serverAuth,
  clientAuth: x509.ExtendedKeyUsage.clientAuth,
};
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const AUTHORITY_DAYS = 3650;

/** A new authority: self-signed, or an intermediate one signed by `options.parent`. */
export async function createAuthority(
  commonName: string,
  options: { readonly parent?: KeyPairPem } = {},
): Promise<KeyPairPem> {
  const flags = x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign;
  return sign(options.parent, commonName, validity({ days: AUTHORITY_DAYS }), [
    new x509.BasicConstraintsExtension(true, undefined, true),
    new x509.KeyUsagesExtension(flags, true),
  ]);
}

/** A new leaf certificate; `certPem` is the leaf alone, without the authority's certificate. */
export async function issueCertificate(
  authority: KeyPairPem,
  request: CertificateRequest,
): Promise<KeyPairPem> {
  const usages = request.usages ?? ['serverAuth', 'clientAuth'];
  const names = alternativeNames(request);
  const extensions: x509.Extension[] = [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
  ];
  if (usages.length > 0) {
    const purposes = usages.map((usage) => USAGE_OIDS[usage]);
    extensions.push(new x509.ExtendedKeyUsageExtension(purposes));
  }
  if (names.length > 0) extensions.push(new x509.SubjectAlternativeNameExtension(names));
  return sign(authority, request.commonName, validity(request), extensions);
}

function alternativeNames(request: CertificateRequest): x509.JsonGeneralNames {
  return [
    ...(request.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
    ...(request.ipAddresses ?? []).map((value) => ({ type: 'ip' as const, value })),
    ...(request.uris ?? []).map((value) => ({ type: 'url' as const, value })),
  ];
}

interface Validity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

function validity(request: Pick<CertificateRequest, 'notBefore' | 'notAfter' | 'days'>): Validity {
  const nowMs = systemClock.nowMs();
  const days = request.days ?? 365;
  return {
    notBefore: request.notBefore ?? new Date(nowMs - HOUR_MS),
    notAfter: request.notAfter ?? new Date(nowMs + days * DAY_MS),
  };
}

/** Makes a key pair and its certificate, signed by `issuer` or, without one, by itself. */
async function sign(
  issuer: KeyPairPem | undefined,
  commonName: string,
  dates: Validity,
  extensions: readonly x509.Extension[],
): Promise<KeyPairPem> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const subject = [{ CN: [commonName] }];
  const issuerCertificate = issuer && new x509.X509Certificate(issuer.certPem);
  const issuerKey = issuerCertificate?.publicKey ?? keys.publicKey;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject,
    issuer: issuerCertificate?.subjectName ?? subject,
    ...dates,
    publicKey: keys.publicKey,
    signingKey: issuer ? await importKey(issuer.keyPem) : keys.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      ...extensions,
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuerKey),
    ],
  });
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    certPem: `${certificate.toString('pem')}\n`,
    keyPem: `${x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`,
  };
}

async function importKey(keyPem: string): Promise<webcrypto.CryptoKey> {
  const der = x509.PemConverter.decodeFirst(keyPem);
  return webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']);
}

/**
 * 16 random bytes as hex; positive, so the first bit is clear, and never with a leading zero byte.
 */
function randomSerial(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}
