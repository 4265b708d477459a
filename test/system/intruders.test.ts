import { afterEach, expect, test } from 'vitest';
import type { DaemonProcess } from '../../trials/harness/daemon-process.ts';
import {
  createAuthority,
  issueCertificate,
} from '../../src/collector/cli/development-certificates.ts';
import { encodeBatch } from '../../src/codec/encode-batch.ts';
import { encodeFrame } from '../../src/codec/framing.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { QuicCloseReason, QuicCredentials } from '../../src/transport/quic-endpoint.ts';
import { BareClient } from '../helpers/bare-client.ts';
import { countedSamples } from '../helpers/counted-samples.ts';
import { connectRaw } from '../helpers/raw-connection.ts';
import { Scenario } from '../helpers/scenario.ts';

const DAY_MS = 86_400_000;

let scenario: Scenario;
afterEach(() => scenario.close());

/** Connects, sends a good batch at once without waiting for anything, and says how it ended. */
async function intrude(credentials: QuicCredentials, alpn?: string): Promise<QuicCloseReason> {
  const raw = await connectRaw(scenario.deployment.listen, credentials, alpn);
  const samples = countedSamples(5, systemClock.nowMs());
  const batch = {
    nodeId: '',
    epoch: 1,
    sequence: 1,
    table: samples.table,
    samples: samples.next(),
  };
  raw.writeWhenConnected(encodeFrame(encodeBatch(batch)));
  const reason = await raw.closed;
  await raw.close();
  return reason;
}

async function expectNothingGotIn(daemon: DaemonProcess): Promise<void> {
  const metrics = await daemon.metrics();
  expect(metrics.sum('samples_received_total')).toBe(0);
  expect(metrics.sum('samples_accepted_total')).toBe(0);
}

test('a client of another authority, an expired one and one without certificate get nothing in', async () => {
  scenario = await Scenario.open();
  const daemon = await scenario.startDaemon();
  const { authority } = scenario.deployment;
  const caPem = authority.certPem;
  const stranger = await createAuthority('Somebody else');
  const asNode = { commonName: 'gpu-001', dnsNames: ['gpu-001'], usages: ['clientAuth' as const] };
  const nowMs = systemClock.nowMs();
  const expired = {
    notBefore: new Date(nowMs - 2 * DAY_MS),
    notAfter: new Date(nowMs - DAY_MS),
  };
  const cases = [
    {
      why: 'unknown_ca',
      code: 304,
      credentials: { ...(await issueCertificate(stranger, asNode)), caPem },
    },
    {
      why: 'certificate_expired',
      code: 301,
      credentials: { ...(await issueCertificate(authority, { ...asNode, ...expired })), caPem },
    },
    {
      why: 'unsupported_certificate',
      code: 299,
      credentials: {
        ...(await issueCertificate(authority, { ...asNode, usages: ['serverAuth'] })),
        caPem,
      },
    },
  ];
  for (const { why, code, credentials } of cases) {
    expect(await intrude(credentials)).toMatchObject({ by: 'peer', isApplication: false, code });
    const metrics = await daemon.metrics();
    expect(metrics.sum('listener_handshake_failures_total', { reason: why })).toBe(1);
  }
  const certless = await BareClient.connect(scenario.deployment.listen, {
    caPem,
    serverName: 'localhost',
  });
  await daemon.waitFor('the refusal', () => certless.quiche.peerError() !== null);
  certless.close();
  const labels = { reason: 'certificate_required' };
  expect((await daemon.metrics()).sum('listener_handshake_failures_total', labels)).toBe(1);

  const good = await scenario.deployment.nodeCredentials('gpu-001');
  expect(await intrude(good, 'h3')).toMatchObject({ code: 376 });
  await expectNothingGotIn(daemon);
});

test('a node that claims to be another one is rejected and counted, and may still speak for itself', async () => {
  scenario = await Scenario.open();
  const daemon = await scenario.startDaemon();
  const credentials = await scenario.deployment.nodeCredentials('gpu-001');
  const samples = countedSamples(5, systemClock.nowMs());

  const spoofer = await scenario.openClient('gpu-002', credentials);
  const spoofed = await spoofer.send(samples.table, samples.next());
  expect(spoofed).toMatchObject({
    status: 'rejected',
    ack: { rejections: [{ reason: 'identity', count: 5 }] },
  });
  let metrics = await daemon.metrics();
  expect(metrics.sum('samples_rejected_total', { reason: 'identity' })).toBe(5);
  expect(metrics.sum('samples_accepted_total')).toBe(0);

  const honest = await scenario.openClient('gpu-001', credentials);
  expect(await honest.send(samples.table, samples.next())).toMatchObject({ status: 'accepted' });
  metrics = await daemon.metrics();
  expect(metrics.ledger(['parquet'])).toMatchObject({
    received: 10,
    accepted: 5,
    rejected: 5,
    admission: 0,
    unaccounted: [0],
  });
});

test('a delegate may send for any node', async () => {
  scenario = await Scenario.open({ security: { delegates: ['gateway-1'] } });
  const daemon = await scenario.startDaemon();
  const gateway = await scenario.deployment.nodeCredentials('gateway-1');
  const client = await scenario.openClient('gpu-777', gateway);
  const samples = countedSamples(5, systemClock.nowMs());
  expect(await client.send(samples.table, samples.next())).toMatchObject({ status: 'accepted' });
  await daemon.stop();
  expect(await scenario.warehouse.rows('SELECT DISTINCT node_id FROM m')).toEqual([
    { node_id: 'gpu-777' },
  ]);
});
