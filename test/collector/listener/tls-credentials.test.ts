import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  createAuthority,
  issueCertificate,
} from '../../../src/collector/cli/development-certificates.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import type { OperatingError } from '../../../src/lib/errors.ts';
import type { QuicCredentials } from '../../../src/transport/quic-endpoint.ts';
import {
  type CertificateFacts,
  TlsCredentials,
} from '../../../src/collector/listener/tls-credentials.ts';
import { eventually } from '../../helpers/eventually.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { ListenerBed } from '../../helpers/listener-bed.ts';
import {
  createTestAuthorities,
  SERVER_NAME,
  type TestAuthorities,
} from '../../helpers/test-credentials.ts';

describe('TLS credentials', () => {
  const bed = new ListenerBed();
  let authorities: TestAuthorities;

  beforeAll(async () => {
    authorities = await createTestAuthorities();
  });
  afterEach(() => bed.close());

  async function newPair(request: { notBefore?: Date; notAfter?: Date } = {}) {
    const names = { commonName: SERVER_NAME, dnsNames: [SERVER_NAME] };
    return issueCertificate(authorities.collectors, { ...names, ...request });
  }

  function load(change: Partial<QuicCredentials> = {}, clock = systemClock) {
    const files = bed.credentialFiles({ ...authorities.server, ...change });
    const loaded: CertificateFacts[] = [];
    const failures: OperatingError[] = [];
    const observer = {
      onLoaded: (facts: CertificateFacts) => loaded.push(facts),
      onReloadFailed: (error: OperatingError) => failures.push(error),
    };
    const credentials = new TlsCredentials(files.paths, clock, observer, () => {});
    return { credentials, files, loaded, failures };
  }

  test('are read from their three files', () => {
    const { credentials, loaded } = load();
    expect(credentials.current.certPem).toBe(authorities.server.certPem);
    expect(loaded[0]).toMatchObject({ subject: `CN=${SERVER_NAME}` });
  });

  test('name the setting, the file and the reason when they are unusable', async () => {
    const other = await newPair();
    const past = new Date(Date.now() - 60_000);
    const future = new Date(Date.now() + 3_600_000);
    const longPast = new Date(Date.now() - 7_200_000);
    const expired = await newPair({ notBefore: longPast, notAfter: past });
    const early = await newPair({ notBefore: future });
    expect(() => load({ keyPem: other.keyPem })).toThrow(
      /cannot use security\.tls_key_path \S+server-key\.pem: it is not the key of .*server\.pem/,
    );
    expect(() => load(expired)).toThrow(/security\.tls_cert_path \S+: the certificate expired on/);
    expect(() => load(early)).toThrow(/security\.tls_cert_path \S+: .* is not valid before/);
    expect(() => load({ certPem: 'x' })).toThrow(/tls_cert_path \S+: it holds no PEM certificate/);
    expect(() => load({ caPem: '' })).toThrow(/tls_ca_path \S+: it holds no PEM certificate/);
    expect(() => load({ keyPem: 'x' })).toThrow(/tls_key_path \S+: it holds no private key/);
    const garbled = authorities.server.certPem.replace(/[A-Za-z]{20}/, 'AAAAAAAAAAAAAAAAAAAA');
    expect(() => load({ certPem: garbled })).toThrow(/tls_cert_path \S+: it (holds|is)/);
  });

  test('name the file that is missing', () => {
    const files = bed.credentialFiles(authorities.server);
    fs.rmSync(files.paths.tls_ca_path);
    const observer = { onLoaded: () => {}, onReloadFailed: () => {} };
    expect(() => new TlsCredentials(files.paths, systemClock, observer, () => {})).toThrow(
      /cannot use security\.tls_ca_path \S+ca\.pem: ENOENT/,
    );
  });

  test('are refused when the TLS library would not take them', async () => {
    // Node takes a certificate of an authority; rustls refuses a peer that shows one.
    const authority = await createAuthority(SERVER_NAME);
    const files = { ...authority, caPem: authorities.agents.certPem };
    await expect(bed.listener(files)).rejects.toThrow('cannot use TLS credentials');
  });

  test('are taken up when the files change, once the change has settled', async () => {
    const clock = new FakeClock(Date.now());
    const { credentials, files, loaded, failures } = load({}, clock);
    credentials.watch();
    const { certPem, keyPem } = await newPair();
    files.write({ certPem });
    await turn(clock);
    expect(loaded).toHaveLength(1);
    // Now the key arrives: the half-written pair was never tried.
    files.write({ keyPem });
    await turn(clock);
    await turn(clock);
    expect(loaded).toHaveLength(2);
    expect(failures).toHaveLength(0);
    expect(credentials.current).toMatchObject({ certPem, keyPem });
    credentials.close();
  });

  test('are taken up when a directory behind a symlink is swapped', async () => {
    const clock = new FakeClock(Date.now());
    const files = bed.credentialFiles(authorities.server);
    const folder = path.dirname(files.paths.tls_cert_path);
    const next = bed.credentialFiles({ ...(await newPair()), caPem: authorities.agents.certPem });
    fs.symlinkSync(folder, path.join(folder, 'current'));
    const inLink = (file: string) => path.join(folder, 'current', path.basename(file));
    const paths = {
      tls_cert_path: inLink(files.paths.tls_cert_path),
      tls_key_path: inLink(files.paths.tls_key_path),
      tls_ca_path: inLink(files.paths.tls_ca_path),
    };
    const loaded: CertificateFacts[] = [];
    const observer = { onLoaded: (facts: CertificateFacts) => loaded.push(facts) };
    const onReloadFailed = () => {};
    const all = { ...observer, onReloadFailed };
    const credentials = new TlsCredentials(paths, clock, all, () => {});
    credentials.watch();
    fs.symlinkSync(path.dirname(next.paths.tls_cert_path), path.join(folder, 'next'));
    fs.renameSync(path.join(folder, 'next'), path.join(folder, 'current'));
    await turn(clock);
    await turn(clock);
    expect(loaded).toHaveLength(2);
    credentials.close();
  });

  test('stay as they are when the new ones are bad, and recover', async () => {
    const clock = new FakeClock(Date.now());
    const { credentials, files, loaded, failures } = load({}, clock);
    credentials.watch();
    files.write({ keyPem: 'rubbish' });
    await turn(clock);
    await turn(clock);
    await turn(clock);
    expect(failures).toHaveLength(1);
    expect(failures[0]?.message).toContain('security.tls_key_path');
    expect(credentials.current.keyPem).toBe(authorities.server.keyPem);
    expect(credentials.reload()).toMatchObject({ ok: false, error: { code: 'BAD_CREDENTIALS' } });
    files.write({ keyPem: authorities.server.keyPem });
    expect(credentials.reload()).toEqual({ ok: true });
    expect(loaded).toHaveLength(2);
    credentials.close();
  });

  test('reload under connections that go on, and serve those that come', async () => {
    const server = await bed.listener(authorities.server);
    const agentCredentials = await authorities.agent('gpu-001');
    const old = await bed.agent(server.address, agentCredentials);
    await eventually('it connects', () => old.isConnected);
    const before = old.client.connection.peerCertificates()[0]!;

    server.files.write({ keyPem: 'rubbish' });
    await expect(server.listener.prepareReload()).rejects.toThrow('security.tls_');
    expect(await server.metric('tls_credentials_valid')).toBe(0);
    expect(await server.metric('tls_reload_failures_total')).toBe(1);
    expect(server.log.lines.some(({ level }) => level === 50)).toBe(true);
    const meanwhile = await bed.agent(server.address, agentCredentials);
    await eventually('others still connect', () => meanwhile.isConnected);
    expect(meanwhile.client.connection.peerCertificates()[0]).toEqual(before);

    const notAfter = new Date(Date.now() + 86_400_000);
    server.files.write(await newPair({ notAfter }));
    (await server.listener.prepareReload())();
    const young = await bed.agent(server.address, agentCredentials);
    await eventually('a new one connects', () => young.isConnected);
    expect(young.client.connection.peerCertificates()[0]).not.toEqual(before);
    expect(await server.metric('tls_credentials_valid')).toBe(1);
    expect(await server.metric('tls_reloads_total')).toBe(1);
    const expiry = await server.metric('tls_certificate_expiry_timestamp_seconds');
    expect(Math.abs(expiry - notAfter.getTime() / 1000)).toBeLessThan(2);
    old.send(old.open(), 'on');
    await eventually('the old one goes on', () => old.acks.length === 1);
  });

  test('a running listener notices changed files by itself', async () => {
    const server = await bed.listener(authorities.server);
    server.files.write(await newPair());
    const reloaded = () => server.log.lines.filter(({ msg }) => msg === LOADED).length === 2;
    await eventually('it reloads', reloaded);
  });
});

const LOADED = 'TLS credentials loaded';

/** One look at the files; the next is planned a microtask after the last. */
async function turn(clock: FakeClock): Promise<void> {
  clock.advance(1000);
  await new Promise((resolve) => setImmediate(resolve));
}
