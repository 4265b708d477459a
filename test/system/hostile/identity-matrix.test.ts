import { webcrypto } from 'node:crypto';
import 'reflect-metadata'; // The container inside @peculiar/x509 refuses to load without it.
import * as x509 from '@peculiar/x509';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DaemonProcess } from '../../../trials/harness/daemon-process.ts';
import {
  type CertificateRequest,
  createAuthority,
  issueCertificate,
} from '../../../src/collector/cli/development-certificates.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import type { QuicCredentials } from '../../../src/transport/quic-endpoint.ts';
import { BareClient } from '../../helpers/bare-client.ts';
import { countedSamples } from '../../helpers/counted-samples.ts';
import { connectRaw, type RawConnection } from '../../helpers/raw-connection.ts';
import { Scenario } from '../../helpers/scenario.ts';

const DAY_MS = 86_400_000;
/** A frame that is answered, whatever it holds. */
const FRAME = Buffer.from([0, 0, 0, 2, 0x08, 0x07]);
const TLS_ALERT = (alert: number) => 256 + alert;
const BAD_CERTIFICATE = TLS_ALERT(42);
const UNKNOWN_CA = TLS_ALERT(48);
const EXPIRED = TLS_ALERT(45);

let scenario: Scenario;
let daemon: DaemonProcess;
let caPem: string;

beforeAll(async () => {
  scenario = await Scenario.open({ server: { max_connections_per_node: 2 } });
  daemon = await scenario.startDaemon();
  caPem = scenario.deployment.authority.certPem;
});
afterAll(() => scenario.close());

async function credentialsOf(request: Partial<CertificateRequest>): Promise<QuicCredentials> {
  const { authority } = scenario.deployment;
  const pair = await issueCertificate(authority, {
    commonName: 'x',
    usages: ['clientAuth'],
    ...request,
  });
  return { ...pair, caPem };
}

/** The node that the daemon greets, or the code with which it ends the connection. */
async function greetedAs(credentials: QuicCredentials): Promise<string | number> {
  const raw = await connectRaw(scenario.deployment.listen, credentials);
  raw.writeWhenConnected(FRAME);
  const outcome = await outcomeOf(raw);
  await raw.close();
  return outcome;
}

async function outcomeOf(raw: RawConnection): Promise<string | number> {
  let code: number | undefined;
  void raw.closed.then((reason) => {
    code = reason.code;
  });
  await daemon.waitFor('an answer', () => raw.hellos.length > 0 || code !== undefined);
  return raw.hellos[0]?.nodeId ?? code ?? -1;
}

describe('a certificate of the right authority', () => {
  test.each<[form: string, names: Partial<CertificateRequest>, nodeId: string]>([
    ['one DNS name', { dnsNames: ['gpu-001'] }, 'gpu-001'],
    ['several DNS names: the first counts', { dnsNames: ['gpu-002', 'gpu-003'] }, 'gpu-002'],
    ['a SPIFFE id', { uris: ['spiffe://horizon/node/gpu-004'] }, 'gpu-004'],
    [
      'a SPIFFE id and a DNS name: the DNS name counts',
      { uris: ['spiffe://horizon/node/gpu-005'], dnsNames: ['gpu-006'] },
      'gpu-006',
    ],
    ['upper case, which is kept', { dnsNames: ['GPU-007.Example'] }, 'GPU-007.Example'],
    ['a wildcard, which is a name like any other', { dnsNames: ['*.example'] }, '*.example'],
    ['an international name in its ASCII form', { dnsNames: ['xn--gpu-8na'] }, 'xn--gpu-8na'],
    ['a quoted name and a plain one', { dnsNames: ['a, DNS:victim', 'gpu-008'] }, 'gpu-008'],
    ['a common name alone', { commonName: 'gpu-009' }, 'gpu-009'],
    ['no key purpose', { commonName: 'gpu-010', usages: [] }, 'gpu-010'],
  ])('with %s is greeted', async (_form, names, nodeId) => {
    expect(await greetedAs(await credentialsOf(names))).toBe(nodeId);
  });

  test.each<[form: string, names: Partial<CertificateRequest>]>([
    ['an IP address alone', { commonName: 'gpu-001', ipAddresses: ['192.0.2.1'] }],
    ['an empty common name', { commonName: '' }],
    ['a name that contains another', { dnsNames: ['a, DNS:victim'] }],
    ['a URI that is no SPIFFE node id', { uris: ['spiffe://horizon/pod/gpu-001'] }],
    ['a common name that is not ASCII', { commonName: 'gpu-ä' }],
  ])('with %s names no node and is turned away with 0x1002', async (_form, names) => {
    expect(await greetedAs(await credentialsOf(names))).toBe(0x1002);
  });

  test('may come by way of an intermediate authority, if it shows it', async () => {
    const rack = await createAuthority('Rack CA', { parent: scenario.deployment.authority });
    const leaf = await issueCertificate(rack, { commonName: 'gpu-011', dnsNames: ['gpu-011'] });
    const certPem = leaf.certPem + rack.certPem;
    expect(await greetedAs({ certPem, keyPem: leaf.keyPem, caPem })).toBe('gpu-011');
    expect(await greetedAs({ ...leaf, caPem })).toBe(UNKNOWN_CA);
  });

  test('that is not valid yet is refused', async () => {
    const nowMs = systemClock.nowMs();
    const notBefore = new Date(nowMs + DAY_MS);
    expect(await greetedAs(await credentialsOf({ dnsNames: ['gpu-012'], notBefore }))).toBe(
      EXPIRED,
    );
  });

  test('that expires while connected is shown the door with 0x1005, and not let in again', async () => {
    const notAfter = new Date(systemClock.nowMs() + 4000);
    const credentials = await credentialsOf({ dnsNames: ['gpu-013'], notAfter });
    const raw = await connectRaw(scenario.deployment.listen, credentials);
    raw.writeWhenConnected(FRAME);
    expect(await outcomeOf(raw)).toBe('gpu-013');
    expect(await raw.closed).toMatchObject({ by: 'peer', isApplication: true, code: 0x1005 });
    await raw.close();
    // TLS takes a certificate until its last second is over.
    await daemon.waitFor('the refusal', async () => (await greetedAs(credentials)) === EXPIRED);
  });
});

test('a self-signed certificate is refused', async () => {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=gpu-001',
    keys,
    signingAlgorithm: algorithm,
  });
  const key = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  const keyPem = x509.PemConverter.encode(key, 'PRIVATE KEY');
  const credentials = { certPem: certificate.toString('pem'), keyPem, caPem };
  expect(await greetedAs(credentials)).toBe(UNKNOWN_CA);
});

test('a client that distrusts the collector, or expected another name, is counted as leaving', async () => {
  const credentials = await scenario.deployment.nodeCredentials('gpu-001');
  const other = await createAuthority('Other CA');
  const raw = await connectRaw(scenario.deployment.listen, {
    ...credentials,
    caPem: other.certPem,
  });
  expect(await raw.closed).toMatchObject({ by: 'local', code: UNKNOWN_CA, wasConnected: false });
  await raw.close();
  const misled = await BareClient.connect(scenario.deployment.listen, {
    caPem,
    pair: credentials,
    serverName: 'elsewhere.test',
  });
  await daemon.waitFor('both to be counted', async () => {
    const metrics = await daemon.metrics();
    const left = (reason: string) =>
      metrics.sum('listener_handshake_failures_total', { by: 'peer', reason });
    return left('unknown_ca') === 1 && left('bad_certificate') === 1;
  });
  expect(misled.quiche.localError()).toMatchObject({ isApp: false, errorCode: BAD_CERTIFICATE });
  misled.close();
});

test('a session cannot be resumed: no ticket for it is given', async () => {
  const pair = await scenario.deployment.nodeCredentials('gpu-014');
  const { listen } = scenario.deployment;
  const client = await BareClient.connect(listen, { caPem, serverName: 'localhost', pair });
  await daemon.waitFor('the handshake', () => client.quiche.isEstablished());
  client.quiche.streamSend(0, FRAME.subarray(0, 1), false);
  client.flush();
  // Tickets would come before the first answer.
  await daemon.waitFor('the greeting', () => client.quiche.isReadable());
  expect(client.quiche.session()).toBeNull();
  client.close();
});

test('connections are counted by identity, whatever certificate shows it', async () => {
  const credentials = await Promise.all(
    [1, 2, 3].map(() => credentialsOf({ dnsNames: ['gpu-015'] })),
  );
  const raws: RawConnection[] = [];
  const outcomes: (string | number)[] = [];
  for (const one of credentials) {
    const raw = await connectRaw(scenario.deployment.listen, one);
    raw.writeWhenConnected(FRAME);
    raws.push(raw);
    outcomes.push(await outcomeOf(raw));
  }
  expect(outcomes).toEqual(['gpu-015', 'gpu-015', 0x1003]);
  for (const raw of raws) await raw.close();
});

test('names are compared letter by letter: another case, a wildcard and a suffix are other nodes', async () => {
  const samples = countedSamples(3, systemClock.nowMs());
  for (const [certified, claimed] of [
    ['GPU-016', 'gpu-016'],
    ['*.example', 'gpu-016.example'],
    ['gpu-016.example', 'gpu-016'],
  ] as const) {
    const credentials = await credentialsOf({ dnsNames: [certified] });
    const client = await scenario.openClient(claimed, credentials);
    const result = await client.send(samples.table, samples.next());
    expect(result, `${certified} as ${claimed}`).toMatchObject({
      status: 'rejected',
      ack: { rejections: [{ reason: 'identity' }] },
    });
    await client.close();
  }
});

test('a node may speak under any of its names, and under no other', async () => {
  const names = { dnsNames: ['gpu-017', 'gpu-017.example'], uris: ['spiffe://h/node/gpu-17'] };
  const credentials = await credentialsOf(names);
  const samples = countedSamples(3, systemClock.nowMs());
  for (const claimed of ['gpu-017', 'gpu-017.example', 'gpu-17']) {
    const client = await scenario.openClient(claimed, credentials);
    const result = await client.send(samples.table, samples.next());
    expect(result, claimed).toMatchObject({ status: 'accepted' });
    await client.close();
  }
});
