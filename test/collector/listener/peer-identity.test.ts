import { X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  type CertificateRequest,
  createAuthority,
  issueCertificate,
  type KeyPairPem,
} from '../../../src/collector/cli/development-certificates.ts';
import {
  parseAlternativeNames,
  readPeerIdentity,
} from '../../../src/collector/listener/peer-identity.ts';

describe('the identity in a certificate', () => {
  let authority: KeyPairPem;

  beforeAll(async () => {
    authority = await createAuthority('Agents CA');
  });

  async function identityOf(request: CertificateRequest) {
    const { certPem } = await issueCertificate(authority, request);
    return readPeerIdentity(new X509Certificate(certPem).raw);
  }

  async function nodeIdsOf(request: CertificateRequest) {
    const result = await identityOf(request);
    return result.ok ? result.identity.nodeIds : result.reason;
  }

  test('is every DNS name, then every SPIFFE node id, in order', async () => {
    const nodeIds = await nodeIdsOf({
      commonName: 'ignored',
      uris: ['spiffe://horizon/rack/7/node/gpu-9', 'https://x/node/no', 'spiffe://horizon/pod/x'],
      dnsNames: ['gpu-001.dc1.example', 'gpu-001'],
    });
    expect(nodeIds).toEqual(['gpu-001.dc1.example', 'gpu-001', 'gpu-9']);
  });

  test('is the common name only where there is no alternative name at all', async () => {
    expect(await nodeIdsOf({ commonName: 'gpu-001' })).toEqual(['gpu-001']);
    const withAddress = { commonName: 'gpu-001', ipAddresses: ['192.0.2.1'] };
    expect(await nodeIdsOf(withAddress)).toContain('names no node');
  });

  test('carries what logs and deny lists need', async () => {
    const notAfter = new Date('2033-01-02T03:04:05Z');
    const result = await identityOf({ commonName: 'a', dnsNames: ['a'], notAfter });
    expect(result).toMatchObject({
      ok: true,
      identity: {
        validToMs: notAfter.getTime(),
        fingerprint256: expect.stringMatching(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/),
        serialNumber: expect.stringMatching(/^[0-9A-F]+$/),
      },
    });
  });

  test('cannot be forged by a name that contains another', async () => {
    const nodeIds = await nodeIdsOf({ commonName: 'x', dnsNames: ['mine', 'a, DNS:victim'] });
    expect(nodeIds).toEqual(['mine']);
    const uri = 'spiffe://h/node/mine, DNS:victim';
    expect(await nodeIdsOf({ commonName: 'x', uris: [uri] })).toContain('names no node');
  });

  test.each([
    ['empty', ''],
    ['over 255 characters', 'a'.repeat(256)],
    ['with a space', 'a b'],
    ['with a line break', 'a\nb'],
    ['with a NUL', 'a\0b'],
    ['not ASCII', 'gpu-ä'],
  ])('is not a common name that is %s', async (_, commonName) => {
    expect(await nodeIdsOf({ commonName })).toMatch(/names no node|cannot be read/);
  });

  test.each([
    'spiffe://horizon/node/',
    'spiffe://horizon/node/a/b',
    'spiffe://horizon/node/a?x',
    'spiffe://horizon/node/a#b',
    'spiffe://horizon/node/a%2fb',
    'spiffe:///node/a',
    'spiffe://horizon/nodes/a',
    'SPIFFE://horizon/node/a',
  ])('is not %s', async (uri) => {
    expect(await nodeIdsOf({ commonName: 'x', uris: [uri] })).toContain('names no node');
  });

  test('is a reason where the bytes are no certificate', () => {
    expect(readPeerIdentity(undefined)).toMatchObject({ ok: false });
    expect(readPeerIdentity(Buffer.from('rubbish'))).toMatchObject({ ok: false });
  });

  test.each([
    ['', []],
    ['DNS:a', ['DNS=a']],
    [
      'DNS:a, URI:spiffe://x/node/b, IP Address:::1',
      ['DNS=a', 'URI=spiffe://x/node/b', 'IP Address=::1'],
    ],
    ['DNS:"a, DNS:b", DNS:c', ['DNS=a, DNS:b', 'DNS=c']],
    ['DNS:"quote\\" and \\\\", DNS:c', ['DNS=quote" and \\', 'DNS=c']],
    [
      'DirName:"CN = a", othername:<unsupported>, DNS:b',
      ['DirName=CN = a', 'othername=<unsupported>', 'DNS=b'],
    ],
    ['DNS:a"b, DNS:c', []],
    ['DNS:"never closed, DNS:c', []],
    ['DNS:"bad \\x escape", DNS:c', []],
    ['DNS:a,DNS:b', []],
  ])('names are read from %j', (text, names) => {
    expect(parseAlternativeNames(text).map(({ type, value }) => `${type}=${value}`)).toEqual(names);
  });
});
