/**
 * Credentials for the module: PEM texts become DER, and who does the public-key work is decided.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { errorMessage, OperatingError } from '../../lib/errors.ts';
import type { QuicCredentials } from '../quic-endpoint.ts';
import { FAILED, type QuinnModule } from './quinn-module.ts';

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----/g;
const PART = { chain: 0, key: 1, authority: 2, alpn: 3 } as const;

/**
 * Makes the module use `credentials` in one role from now on. Throws OperatingError
 * BAD_CREDENTIALS.
 */
export function useCredentials(
  module: QuinnModule,
  role: 'server' | 'client',
  credentials: QuicCredentials,
  alpn: string,
): void {
  giveCredentials(module, role, credentials, alpn);
  const { calls } = module;
  const result = role === 'server' ? calls.use_for_server() : calls.use_for_client();
  if (result === FAILED) throw badCredentials(module.error());
}

/** Puts `credentials` into the module without using them yet. Throws like `useCredentials`. */
export function giveCredentials(
  module: QuinnModule,
  role: 'server' | 'client',
  credentials: QuicCredentials,
  alpn: string,
): void {
  const { chain, authorities, key } = parse(credentials);
  const { calls } = module;
  calls.credentials_reset();
  for (const der of chain) calls.credentials_add(PART.chain, module.put(der));
  for (const der of authorities) calls.credentials_add(PART.authority, module.put(der));
  calls.credentials_add(PART.alpn, module.put(Buffer.from(alpn)));
  // Node knows P-256 alone as the module asks for it; whatever else is in the chains is for ring.
  if (role === 'server' && [...chain, ...authorities].every(isP256)) {
    calls.credentials_host_key(module.crypto.addPrivateKey(key));
  } else {
    const der = key.export({ format: 'der', type: 'pkcs8' });
    calls.credentials_add(PART.key, module.put(der));
  }
}

function parse({ certPem, keyPem, caPem }: QuicCredentials) {
  try {
    const chain = certificates(certPem, 'the certificate chain');
    const authorities = certificates(caPem, 'the authorities');
    const key = createPrivateKey(keyPem);
    const leaf = new X509Certificate(chain[0]);
    if (!leaf.checkPrivateKey(key)) {
      throw new Error('the private key does not belong to the certificate');
    }
    // rustls refuses such a peer; a program that starts with it would be refused by everybody.
    if (leaf.ca) throw new Error('the certificate is one of an authority, which may only sign');
    return { chain, authorities, key };
  } catch (error) {
    throw badCredentials(errorMessage(error), error);
  }
}

function certificates(pem: string, what: string): [Buffer, ...Buffer[]] {
  const found = [...pem.matchAll(PEM_CERTIFICATE)].map(([, body = '']) =>
    Buffer.from(body, 'base64'),
  );
  const [first, ...rest] = found;
  if (first === undefined) throw new Error(`${what} hold no certificate`);
  return [first, ...rest];
}

function isP256(der: Buffer): boolean {
  const { publicKey } = new X509Certificate(der);
  return publicKey.asymmetricKeyDetails?.namedCurve === 'prime256v1';
}

function badCredentials(why: string, cause?: unknown): OperatingError {
  return new OperatingError('BAD_CREDENTIALS', `cannot use TLS credentials: ${why}`, { cause });
}
