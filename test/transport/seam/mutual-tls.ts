/** Whose certificate is accepted, and how each side learns that it is not. */
import { webcrypto } from 'node:crypto';
import 'reflect-metadata'; // The container inside @peculiar/x509 refuses to load without it.
import * as x509 from '@peculiar/x509';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  createAuthority,
  issueCertificate,
} from '../../../src/collector/cli/development-certificates.ts';
import type { QuicCredentials, QuicStack } from '../../../src/transport/quic-endpoint.ts';
import { BareClient } from '../../helpers/bare-client.ts';
import { eventually } from '../../helpers/eventually.ts';
import { QuicTestBed, type TestClientOptions } from '../../helpers/quic-pair.ts';
import { createTestAuthorities, type TestAuthorities } from '../../helpers/test-credentials.ts';

const TLS = (alert: number) => 256 + alert;
const YEAR_MS = 365 * 86_400_000;

/** The suite, over a stack. */
export function mutualTlsSuite(stack: QuicStack): void {
  describe('mutual TLS', () => {
    const bed = new QuicTestBed(stack);
    let authorities: TestAuthorities;

    beforeAll(async () => {
      authorities = await createTestAuthorities();
    });
    afterEach(() => bed.close());

    /** Connects until either both sides are connected for good or both have closed. */
    async function connect(credentials: QuicCredentials, options: TestClientOptions = {}) {
      const server = await bed.server(authorities.server);
      const client = await bed.client(server.endpoint.address, credentials, options);
      await eventually('the server has made up its mind', () => {
        return server.recorder.connected.length + server.recorder.closed.length > 0;
      });
      const wasAccepted = server.recorder.connected.length > 0;
      const isSettled = () =>
        wasAccepted ? client.recorder.connected.length > 0 : client.recorder.closed.length > 0;
      await eventually('the client has heard of it', isSettled);
      return { server, client, wasAccepted };
    }

    async function expectRejected(
      credentials: QuicCredentials,
      alert: number,
      options: TestClientOptions = {},
    ) {
      const { server, client, wasAccepted } = await connect(credentials, options);
      expect(wasAccepted).toBe(false);
      const code = TLS(alert);
      const atServer = { by: 'local', isApplication: false, code, wasConnected: false };
      expect(server.recorder.lastReason).toMatchObject(atServer);
      expect(client.recorder.lastReason).toMatchObject({ by: 'peer', isApplication: false, code });
      expect(server.endpoint.connections).toBe(0);
      expect(server.endpoint.handshakes).toBe(0);
      expect(server.recorder.streams.size).toBe(0);
    }

    test('accepts a certificate of the right authority', async () => {
      expect((await connect(await authorities.agent('gpu-001'))).wasAccepted).toBe(true);
    });

    test('accepts a chain through an intermediate authority', async () => {
      const intermediate = await createAuthority('Rack CA', { parent: authorities.agents });
      const leaf = await issueCertificate(intermediate, {
        commonName: 'gpu-002',
        dnsNames: ['gpu-002'],
        usages: ['clientAuth'],
      });
      const certPem = leaf.certPem + intermediate.certPem;
      const caPem = authorities.collectors.certPem;
      const { server, wasAccepted } = await connect({ certPem, keyPem: leaf.keyPem, caPem });
      expect(wasAccepted).toBe(true);
      expect(server.recorder.connected[0]!.peerCertificates()).toHaveLength(2);
    });

    test('accepts a certificate without any extended key usage', async () => {
      const credentials = await authorities.agent('gpu-003', { usages: [] });
      expect((await connect(credentials)).wasAccepted).toBe(true);
    });

    test('rejects a certificate of an unknown authority', async () => {
      const stranger = await createAuthority('Other CA');
      const leaf = await issueCertificate(stranger, {
        commonName: 'gpu-001',
        dnsNames: ['gpu-001'],
      });
      await expectRejected({ ...leaf, caPem: authorities.collectors.certPem }, 48);
    });

    test('rejects a certificate whose intermediate authority is not in the chain', async () => {
      const intermediate = await createAuthority('Rack CA', { parent: authorities.agents });
      const leaf = await issueCertificate(intermediate, { commonName: 'gpu-002' });
      await expectRejected({ ...leaf, caPem: authorities.collectors.certPem }, 48);
    });

    test('rejects a self-signed certificate', async () => {
      const self = await createSelfSigned('gpu-001');
      await expectRejected({ ...self, caPem: authorities.collectors.certPem }, 48);
    });

    test('rejects a client without a certificate, which had believed itself connected', async () => {
      const server = await bed.server(authorities.server);
      const { certPem: caPem } = authorities.collectors;
      const client = await BareClient.connect(server.endpoint.address, { caPem });
      await eventually('it is told', () => client.quiche.peerError() !== null);
      expect(client.quiche.isEstablished()).toBe(true);
      expect(client.quiche.peerError()).toMatchObject({ isApp: false, errorCode: TLS(116) });
      client.close();
      expect(server.recorder.connected).toHaveLength(0);
      const reason = { by: 'local', code: TLS(116), wasConnected: false };
      expect(server.recorder.lastReason).toMatchObject(reason);
    });

    test('rejects an expired certificate', async () => {
      const nowMs = Date.now();
      const credentials = await authorities.agent('gpu-001', {
        notBefore: new Date(nowMs - YEAR_MS),
        notAfter: new Date(nowMs - 60_000),
      });
      await expectRejected(credentials, 45);
    });

    test('rejects a certificate that is not valid yet', async () => {
      const nowMs = Date.now();
      const credentials = await authorities.agent('gpu-001', {
        notBefore: new Date(nowMs + 3_600_000),
        notAfter: new Date(nowMs + YEAR_MS),
      });
      await expectRejected(credentials, 45);
    });

    test('rejects a certificate that is for servers only', async () => {
      await expectRejected(await authorities.agent('gpu-001', { usages: ['serverAuth'] }), 43);
    });

    test('rejects a client that speaks another protocol', async () => {
      const credentials = await authorities.agent('gpu-001');
      await expectRejected(credentials, 120, { transport: { alpn: 'h3' } });
    });

    test('never resumes a session, whose certificate would not be checked again', async () => {
      const server = await bed.server(authorities.server);
      const pair = await authorities.agent('gpu-001');
      const { address } = server.endpoint;
      server.recorder.react = {
        onData: (connection, streamId) => connection.write(streamId, Buffer.from('answer'), true),
      };
      const first = await BareClient.connect(address, { caPem: pair.caPem, pair });
      await eventually('it connects', () => first.quiche.isEstablished());
      first.quiche.streamSend(0, Buffer.from('question'), true);
      first.flush();
      await eventually('an answer comes', () => first.quiche.isReadable());
      const session = first.quiche.session();
      if (session === null) {
        // No ticket came before the answer: there is nothing to resume.
        first.close();
        return;
      }
      const second = await BareClient.connect(address, { caPem: pair.caPem, pair, session });
      await eventually('the second connects', () => server.recorder.connected.length === 2);
      expect(second.quiche.isResumed()).toBe(false);
      const certless = await BareClient.connect(address, { caPem: pair.caPem, session });
      await eventually('without a certificate it is refused', () => {
        return certless.quiche.peerError()?.errorCode === TLS(116);
      });
      for (const client of [first, second, certless]) client.close();
    });

    test('a client that distrusts the server says so and is not connected', async () => {
      const credentials = await authorities.agent('gpu-001');
      const other = await createAuthority('Other CA');
      const { server, client, wasAccepted } = await connect({
        ...credentials,
        caPem: other.certPem,
      });
      expect(wasAccepted).toBe(false);
      expect(client.recorder.connected).toHaveLength(0);
      const reason = { isApplication: false, code: TLS(48), wasConnected: false };
      expect(client.recorder.lastReason).toMatchObject({ by: 'local', ...reason });
      expect(server.recorder.lastReason).toMatchObject({ by: 'peer', ...reason });
    });

    test('a client that expected another server name says so and is not connected', async () => {
      const credentials = await authorities.agent('gpu-001');
      const options = { connect: { serverName: 'elsewhere.test' } };
      const { server, client, wasAccepted } = await connect(credentials, options);
      expect(wasAccepted).toBe(false);
      const reason = { isApplication: false, code: TLS(42), wasConnected: false };
      expect(client.recorder.lastReason).toMatchObject({ by: 'local', ...reason });
      expect(server.recorder.lastReason).toMatchObject({ by: 'peer', ...reason });
    });

    test('unusable PEM fails where it is given, not later', async () => {
      const credentials = await authorities.agent('gpu-001');
      const target = { host: '127.0.0.1', port: 9 };
      const broken = { ...credentials, certPem: 'not a certificate' };
      await expect(bed.client(target, broken)).rejects.toThrow('cannot use TLS credentials');
    });
  });
}

async function createSelfSigned(name: string): Promise<{ certPem: string; keyPem: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    keys,
    signingAlgorithm: algorithm,
  });
  const key = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    certPem: certificate.toString('pem'),
    keyPem: x509.PemConverter.encode(key, 'PRIVATE KEY'),
  };
}
