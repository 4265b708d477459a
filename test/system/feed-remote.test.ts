/**
 * Readers of the feed on other hosts: the real daemon, real TLS, and certificates of all kinds.
 */
import { afterEach, expect, test } from 'vitest';
import {
  createAuthority,
  issueCertificate,
} from '../../src/collector/cli/development-certificates.ts';
import { FeedClient, type FeedEvent } from '../../src/feed/feed-client.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { QuicCredentials } from '../../src/transport/quic-endpoint.ts';
import { freePort } from '../../trials/harness/free-port.ts';
import { countedSamples } from '../helpers/counted-samples.ts';
import { Scenario } from '../helpers/scenario.ts';

let scenario: Scenario;
afterEach(() => scenario.close());

async function setUp() {
  const port = await freePort();
  const feed = { enabled: true, listen_addr: `127.0.0.1:${port}` };
  scenario = await Scenario.open({ feed, security: { readers: ['gateway-1'] } });
  const daemon = await scenario.startDaemon();
  const open = (credentials: QuicCredentials) => {
    const closing = new AbortController();
    scenario.onClose(() => closing.abort());
    const client = new FeedClient(systemClock, {
      tls: { host: '127.0.0.1', port, serverName: 'localhost', ...credentials },
      ...{ reader: 'test', start: { at: 'cursor' } },
    });
    return client.events(closing.signal);
  };
  return { daemon, feed, open };
}

async function next<K extends FeedEvent['kind']>(
  events: AsyncGenerator<FeedEvent>,
  kind: K,
): Promise<Extract<FeedEvent, { kind: K }>> {
  for await (const event of events) {
    if (event.kind === kind) return event as Extract<FeedEvent, { kind: K }>;
  }
  throw new Error(`the feed ended before ${kind}`);
}

/** The next event of that kind, with the iteration left open. */
async function until(events: AsyncGenerator<FeedEvent>, kind: FeedEvent['kind']) {
  for (;;) {
    const { value } = await events.next();
    if (value?.kind === kind) return value;
  }
}

test('a reader that is named gets the records, until it is named no more', async () => {
  const { daemon, feed, open } = await setUp();
  const events = open(await scenario.deployment.nodeCredentials('gateway-1'));
  await until(events, 'welcome');
  const client = await scenario.openClient('gpu-001');
  const samples = countedSamples(10, systemClock.nowMs());
  expect((await client.send(samples.table, samples.next())).status).toBe('accepted');
  expect(await until(events, 'records')).toMatchObject({ records: [{ nodeId: 'gpu-001' }] });
  // A renewed certificate is shown to whoever comes next, and the open feed goes on.
  await scenario.deployment.renewServerCertificate();
  await daemon.waitFor('the certificate is taken up', () => {
    return daemon.log.filter(({ msg }) => msg === 'TLS credentials loaded').length === 2;
  });
  const another = open(await scenario.deployment.nodeCredentials('gateway-1'));
  await until(another, 'welcome');
  await client.send(samples.table, samples.next());
  await until(events, 'records');
  scenario.deployment.configure({ feed, security: { readers: ['gateway-2'] } });
  daemon.signal('SIGHUP');
  expect(await until(events, 'disconnected')).toMatchObject({
    word: 'denied',
    message: 'gateway-1 is not among security.readers',
  });
});

test('who is not named, or of another authority, gets nothing', async () => {
  const { daemon, open } = await setUp();
  const unnamed = await next(
    open(await scenario.deployment.nodeCredentials('gpu-001')),
    'disconnected',
  );
  expect(unnamed).toMatchObject({
    word: 'denied',
    message: 'gpu-001 is not among security.readers',
  });
  const authority = await createAuthority('Somebody else');
  const pair = await issueCertificate(authority, {
    ...{ commonName: 'gateway-1', dnsNames: ['gateway-1'], usages: ['clientAuth'] },
  });
  const credentials = { ...pair, caPem: scenario.deployment.authority.certPem };
  expect(await next(open(credentials), 'disconnected')).toMatchObject({ word: 'cut' });
  await daemon.waitFor('the refusal is counted', async () => {
    return (await daemon.metrics()).sum('feed_dropped_readers_total', { reason: 'denied' }) > 0;
  });
  expect((await daemon.metrics()).sum('feed_readers')).toBe(0);
});
