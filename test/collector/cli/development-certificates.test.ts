import { execFileSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  createAuthority,
  issueCertificate,
} from '../../../src/collector/cli/development-certificates.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

describe('development certificates', () => {
  it('form chains that openssl accepts to the letter', async () => {
    const root = await createAuthority('root, of "all" €');
    const intermediate = await createAuthority('intermediate', { parent: root });
    const leaf = await issueCertificate(intermediate, {
      commonName: 'localhost',
      dnsNames: ['localhost'],
      ipAddresses: ['127.0.0.1', '::1'],
      usages: ['serverAuth'],
    });
    const directory = tempDir();
    const write = (name: string, pem: string) => {
      fs.writeFileSync(path.join(directory, name), pem);
      return name;
    };
    const words = ['verify', '-x509_strict', '-purpose', 'sslserver'];
    words.push('-CAfile', write('root.pem', root.certPem));
    words.push(
      '-untrusted',
      write('mid.pem', intermediate.certPem),
      write('leaf.pem', leaf.certPem),
    );
    const printed = execFileSync('openssl', words, { cwd: directory, encoding: 'utf8' });
    expect(printed).toBe('leaf.pem: OK\n');
  });

  it('say what was asked for and nothing else', async () => {
    const authority = await createAuthority('authority');
    const bare = await issueCertificate(authority, { commonName: 'bare', usages: [] });
    const certificate = new X509Certificate(bare.certPem);
    expect(certificate.subject).toBe('CN=bare');
    expect(certificate.subjectAltName).toBe(undefined);
    expect(certificate.keyUsage).toBe(undefined);
    expect(certificate.ca).toBe(false);
    expect(certificate.checkPrivateKey(createPrivateKey(bare.keyPem))).toBe(true);
    expect(bare.certPem.match(/BEGIN/g)).toHaveLength(1);
  });

  it('are valid exactly from and until the given dates', async () => {
    const authority = await createAuthority('authority');
    const notBefore = new Date('2020-01-01T00:00:00Z');
    const notAfter = new Date('2020-02-01T00:00:00Z');
    const { certPem } = await issueCertificate(authority, {
      commonName: 'old',
      notBefore,
      notAfter,
    });
    const certificate = new X509Certificate(certPem);
    expect(Date.parse(certificate.validFrom)).toBe(notBefore.getTime());
    expect(Date.parse(certificate.validTo)).toBe(notAfter.getTime());
  });

  it('never share a serial number', async () => {
    const authority = await createAuthority('authority');
    const serials = new Set<string>();
    for (let count = 0; count < 20; count++) {
      const { certPem } = await issueCertificate(authority, { commonName: 'same' });
      serials.add(new X509Certificate(certPem).serialNumber);
    }
    expect(serials.size).toBe(20);
  });
});
