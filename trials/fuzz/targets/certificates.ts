/**
 * Certificates: as peers show them (DER) and as operators put them into files (PEM).
 */
import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { checkCertificates } from '../../../src/collector/cli/checks/check-certificates.ts';
import {
  createAuthority,
  issueCertificate,
  type KeyPairPem,
} from '../../../src/collector/cli/development-certificates.ts';
import { configSchema } from '../../../src/config/schema.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { OperatingError } from '../../../src/lib/errors.ts';
import { quicheStack } from '../../../src/transport/quiche/quiche-endpoint.ts';
import {
  parseAlternativeNames,
  readPeerIdentity,
} from '../../../src/collector/listener/peer-identity.ts';
import { TlsCredentials } from '../../../src/collector/listener/tls-credentials.ts';
import { type FuzzTarget, must } from '../fuzz-target.ts';

const TRANSPORT = {
  alpn: 'fuzz',
  idleTimeoutMs: 1000,
  maxStreamsBidi: 1,
  maxStreamsUni: 1,
  streamWindowBytes: 16_384,
  connectionWindowBytes: 16_384,
  maxUdpPayloadBytes: 1350,
};

/** Names in a verified certificate. */
export async function sanTarget(): Promise<FuzzTarget> {
  const authority = await createAuthority('Fuzz CA');
  const requests = [
    { commonName: 'gpu-001' },
    { commonName: 'x', dnsNames: ['gpu-001', 'a, DNS:victim'], uris: ['spiffe://h/node/gpu-9'] },
    { commonName: 'x', dnsNames: ['*.example'], ipAddresses: ['192.0.2.1'] },
  ];
  const leaves = await Promise.all(requests.map((one) => issueCertificate(authority, one)));
  return {
    name: 'certificate-names',
    what: 'identities in certificates, alternative names as text',
    seeds: [
      ...leaves.map(({ certPem }) => new X509Certificate(certPem).raw),
      Buffer.from('DNS:a, URI:spiffe://x/node/b, IP Address:::1, DNS:"a, DNS:b"'),
    ],
    tokens: [
      ', DNS:',
      'URI:spiffe://h/node/',
      '"',
      '\\"',
      '\\u0000',
      ':',
      'othername:<x>',
      '*.',
    ].map((text) => Buffer.from(text)),
    run(input) {
      const result = readPeerIdentity(input);
      if (result.ok) {
        const { nodeIds } = result.identity;
        must(nodeIds.length > 0 && nodeIds.length <= 100, 'there are 1 to 100 identities');
        must(
          nodeIds.every((one) => /^[\x21-\x7e]{1,255}$/.test(one)),
          'identities are printable',
        );
      } else must(result.reason !== '', 'a refusal has a reason');
      for (const { type } of parseAlternativeNames(input.toString('utf8'))) {
        must(type !== '', 'a name has a type');
      }
    },
  };
}

/** The trio of files that the daemon starts from and reloads. */
export async function pemTarget(): Promise<FuzzTarget> {
  const authority = await createAuthority('Fuzz CA');
  const leaf = await issueCertificate(authority, { commonName: 'c', dnsNames: ['localhost'] });
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'fuzz-pem-'));
  const paths = {
    tls_cert_path: path.join(folder, 'cert.pem'),
    tls_key_path: path.join(folder, 'key.pem'),
    tls_ca_path: path.join(folder, 'ca.pem'),
  };
  const security = configSchema.parse({ security: paths }).security;
  return {
    name: 'pem-files',
    what: 'certificate, key and authority files, at start and in check-config',
    seeds: [leaf.certPem, leaf.keyPem, authority.certPem, leaf.certPem + authority.certPem].map(
      (text) => Buffer.from(text),
    ),
    tokens: [
      ...[
        '-----BEGIN CERTIFICATE-----\n',
        '-----END CERTIFICATE-----\n',
        '-----BEGIN PRIVATE KEY-----',
      ],
      ...['-----BEGIN RSA PRIVATE KEY-----\n', '-----', '=', '\n\n', 'Proc-Type: 4,ENCRYPTED\n'],
    ].map((text) => Buffer.from(text)),
    run(input) {
      const files = writeTrio(paths, input, leaf, authority);
      const findings = checkCertificates(security, systemClock.nowMs());
      must(findings.length > 0, 'check-config has an answer');
      const error = tryCredentials(paths);
      if (error === undefined) return;
      must(error instanceof OperatingError, `only an OperatingError is thrown, not ${error}`);
      must(error.code === 'BAD_CREDENTIALS', 'its code is BAD_CREDENTIALS');
      must(!error.message.includes(files.secret), 'no key is printed');
    },
    close: () => fs.rmSync(folder, { recursive: true, force: true }),
  };
}

type Trio = Record<'tls_cert_path' | 'tls_key_path' | 'tls_ca_path', string>;

/** Puts the input in the place of the file that it looks like; the others are sound. */
function writeTrio(paths: Trio, input: Buffer, leaf: KeyPairPem, authority: KeyPairPem) {
  const isKey = input.includes('PRIVATE KEY');
  const isAuthority = !isKey && input.length % 2 === 0;
  fs.writeFileSync(paths.tls_cert_path, isKey || isAuthority ? leaf.certPem : input);
  fs.writeFileSync(paths.tls_key_path, isKey ? input : leaf.keyPem, { mode: 0o600 });
  fs.writeFileSync(paths.tls_ca_path, isAuthority ? input : authority.certPem);
  return { secret: leaf.keyPem.split('\n')[1] ?? '' };
}

function tryCredentials(paths: Trio): unknown {
  const observer = { onLoaded() {}, onReloadFailed() {} };
  try {
    new TlsCredentials(paths, systemClock, observer, (trio) =>
      quicheStack.checkCredentials(TRANSPORT, trio),
    );
    return undefined;
  } catch (error) {
    return error ?? new Error('nothing was thrown');
  }
}
