/**
 * The feed of the real daemon, read by real programs that are stopped and killed.
 */
import path from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { SendResult, TelemetryClient } from '../../src/client/client.ts';
import { FeedClient, type FeedEvent } from '../../src/feed/feed-client.ts';
import { nodeFileSystem } from '../../src/lib/filesystem.ts';
import { sleep, systemClock } from '../../src/lib/clock.ts';
import { listWarehouse } from '../../src/warehouse/warehouse.ts';
import type { StatusMessage } from '../../src/feed/feed-contract.ts';
import type { DaemonProcess } from '../../trials/harness/daemon-process.ts';
import { FeedReading } from '../../trials/harness/feed-reading.ts';
import { countedSamples } from '../helpers/counted-samples.ts';
import { Scenario } from '../helpers/scenario.ts';
import { seededRandom } from '../helpers/seeded-random.ts';

const SERIES = 20;
const NODES = ['gpu-001', 'gpu-002', 'gpu-003'];

let scenario: Scenario;
afterEach(() => scenario.close());

/** Sends batches until told to stop; a batch is known by its node and its time. */
class Sender {
  readonly acked = new Set<string>();
  readonly #done: Promise<void>;
  #stopping = false;

  constructor(client: TelemetryClient, nodeId: string, startMs: number) {
    this.#done = this.#run(client, nodeId, startMs);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#done;
  }

  async #run(client: TelemetryClient, nodeId: string, startMs: number): Promise<void> {
    const samples = countedSamples(SERIES, startMs);
    const results: Promise<void>[] = [];
    for (let round = 0; !this.#stopping; round += 1) {
      const sent = client.send(samples.table, samples.next());
      results.push(sent.then((result) => this.#keep(result, `${nodeId}@${startMs + round}`)));
      await sleep(systemClock, 4);
    }
    await Promise.all(results);
  }

  #keep({ status }: SendResult, batch: string): void {
    if (status === 'accepted' || status === 'duplicate') this.acked.add(batch);
  }
}

async function setUp(parquet: Readonly<Record<string, unknown>>, feed = {}) {
  scenario = await Scenario.open({ feed: { enabled: true, ...feed }, parquet });
  const startMs = systemClock.nowMs() - 600_000;
  const daemon = await scenario.startDaemon();
  const clients = await Promise.all(NODES.map((node) => scenario.openClient(node)));
  const senders = clients.map((client, index) => new Sender(client, NODES[index]!, startMs));
  return { daemon, senders };
}

function openReading(name = 'reader'): FeedReading {
  const socketPath = path.join(scenario.deployment.warehouseDir, 'feed.sock');
  const reading = new FeedReading(socketPath, path.join(scenario.deployment.dir, `${name}.jsonl`));
  scenario.onClose(() => reading.kill());
  reading.start();
  return reading;
}

function ackedBatches(senders: readonly Sender[]): string[] {
  return senders.flatMap((sender) => [...sender.acked]).sort();
}

function waitForAcks(daemon: DaemonProcess, senders: readonly Sender[], each: number) {
  const have = () => senders.every((sender) => sender.acked.size >= each);
  return daemon.waitFor(`${each} acknowledged batches of each node`, have, 60_000);
}

test('over kills of daemon and reader, a reader gets what is acknowledged, once', async () => {
  const random = seededRandom();
  let { daemon, senders } = await setUp({ rotation_interval_secs: 3600 });
  const reading = openReading();
  for (let round = 1; round <= 8; round += 1) {
    await waitForAcks(daemon, senders, round * 40);
    if (random.chance(0.6)) {
      await reading.kill();
      reading.start();
    } else {
      await daemon.kill();
      daemon = await scenario.startDaemon();
    }
  }
  await waitForAcks(daemon, senders, 9 * 40);
  await Promise.all(senders.map((sender) => sender.stop()));
  const acked = ackedBatches(senders);
  const received = () => reading.batches().map(nameOf);
  await daemon.waitFor('the reader to have them all', () => received().length >= acked.length);
  expect(received().sort(), `SEED=${random.seed}`).toEqual(acked);
  expect(reading.batches().every(({ samples }) => samples === SERIES)).toBe(true);
});

test('files up to the cursor and records beyond it are what is acknowledged, once', async () => {
  let { daemon, senders } = await setUp({ rotation_interval_secs: 1 });
  const reading = openReading();
  for (let round = 1; round <= 6; round += 1) {
    await waitForAcks(daemon, senders, round * 60);
    if (round % 2 === 0) {
      await daemon.kill();
      daemon = await scenario.startDaemon();
    } else {
      await reading.kill();
      await waitForAcks(daemon, senders, round * 60 + 60);
      reading.start();
    }
  }
  await Promise.all(senders.map((sender) => sender.stop()));
  const acked = ackedBatches(senders);
  const head = (await daemon.metrics()).sum('journal_head_seq');
  await daemon.waitFor('the reader to be there', () => reading.seq() >= head);
  // Nothing settles any more: the cut must be right at any moment.
  await daemon.kill();
  const cursor = reading.cursor();
  expect(cursor).toBeGreaterThan(0);
  const hot = reading.batches().filter(({ seq }) => seq > cursor);
  const cold = await batchesInFiles(cursor);
  expect([...hot.map(nameOf), ...cold].sort()).toEqual(acked);
});

function nameOf({ nodeId, firstMs }: { readonly nodeId: string; readonly firstMs: number }) {
  return `${nodeId}@${firstMs}`;
}

/** The batches in files whose last record is not beyond `cursor`; each must be whole. */
async function batchesInFiles(cursor: number): Promise<string[]> {
  const files = listWarehouse(nodeFileSystem, scenario.deployment.warehouseDir)
    .filter(({ lastSeq }) => lastSeq <= cursor)
    .map((file) => file.path);
  const sql = 'SELECT node_id, epoch_ms(ts)::DOUBLE AS ms, count(*)::INT AS n FROM m GROUP BY ALL';
  const rows = await scenario.warehouse.rows(sql, files);
  expect(rows.every(({ n }) => n === SERIES)).toBe(true);
  return rows.map(({ node_id, ms }) => `${node_id}@${ms}`);
}

test('a stopped reader costs agents and writers nothing, and hears what it missed', async () => {
  const settings = { max_queue_bytes: 65_536, stall_timeout_secs: 2 };
  const { daemon, senders } = await setUp({ rotation_interval_secs: 1 }, settings);
  const reading = openReading();
  await daemon.waitFor('the reader follows', () => reading.seq() > 0);
  reading.pause();
  await waitForAcks(daemon, senders, 100);
  await daemon.waitFor('the feed to give it up', async () => {
    const page = await daemon.metrics();
    return page.sum('feed_dropped_readers_total', { reason: 'stalled' }) === 1;
  });
  // Its position does not hold up the journal.
  const stoppedAt = reading.seq();
  await daemon.waitFor('the journal to let go of what the reader lacks', async () => {
    return (await daemon.metrics()).sum('journal_tail_seq') > stoppedAt + 300;
  });
  reading.resume();
  await daemon.waitFor('it goes on behind the files', () => {
    const lines = reading.lines();
    const gone = lines.some((line) => line.kind === 'disconnected');
    return gone && lines.at(-1)?.kind === 'records';
  });
  await Promise.all(senders.map((sender) => sender.stop()));
  expect((await daemon.metrics()).ledger(['parquet'])).toMatchObject({ admission: 0 });
});

test('the feed tells how nodes, writers and the books are', async () => {
  const { daemon, senders } = await setUp({ rotation_interval_secs: 3600 });
  await waitForAcks(daemon, senders, 5);
  const socketPath = path.join(scenario.deployment.warehouseDir, 'feed.sock');
  const client = new FeedClient(systemClock, {
    ...{ socketPath, reader: 'test', start: { at: 'cursor' } },
  });
  const closing = new AbortController();
  const status = await firstStatus(client.events(closing.signal));
  closing.abort();
  await Promise.all(senders.map((sender) => sender.stop()));
  expect(status.nodes.map(({ nodeId }) => nodeId).sort()).toEqual(NODES);
  for (const node of status.nodes) {
    expect(node).toMatchObject({ connections: 1, transport: 'quic', series: SERIES, knownGaps: 0 });
    expect(node.sequence).toBeGreaterThan(0);
    expect(node.remoteAddress).toMatch(/^127\.0\.0\.1:\d+$/);
    // The samples are ten minutes old.
    expect(node.lastSampleAheadMs).toBeLessThan(-500_000);
  }
  const { received, accepted, writers } = status.ledger;
  expect(accepted).toBeGreaterThanOrEqual(5 * NODES.length * SERIES);
  expect(received).toBe(accepted);
  expect(writers).toMatchObject([{ name: 'parquet', state: 'running', pending: accepted }]);
  expect(status.checks.map(({ name }) => name)).toContain('journal');
});

async function firstStatus(events: AsyncIterable<FeedEvent>): Promise<StatusMessage> {
  for await (const event of events) {
    if (event.kind === 'status') return event;
  }
  throw new Error('the feed ended without a status');
}
